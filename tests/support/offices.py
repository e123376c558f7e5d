"""Office documents, made by the libraries that others use and by hand, and the containers around them."""

import datetime as dt
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from types import MappingProxyType
from typing import Any

import docx
import openpyxl
import pptx
from pptx.util import Inches

ROWS = (("Year", "Days"), ("2024", "30"))
_NAMES = {
    "office": "urn:oasis:names:tc:opendocument:xmlns:office:1.0",
    "text": "urn:oasis:names:tc:opendocument:xmlns:text:1.0",
    "table": "urn:oasis:names:tc:opendocument:xmlns:table:1.0",
    "style": "urn:oasis:names:tc:opendocument:xmlns:style:1.0",
    "draw": "urn:oasis:names:tc:opendocument:xmlns:drawing:1.0",
    "presentation": "urn:oasis:names:tc:opendocument:xmlns:presentation:1.0",
    "fo": "urn:oasis:names:tc:opendocument:xmlns:xsl-fo-compatible:1.0",
    "svg": "urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0",
    "dc": "http://purl.org/dc/elements/1.1/",
    "meta": "urn:oasis:names:tc:opendocument:xmlns:meta:1.0",
}
_SPACES = " ".join(f'xmlns:{name}="{space}"' for name, space in _NAMES.items())


def zipped(members: Mapping[str, bytes | str], *, packed: bool = True) -> bytes:
    target = BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content, zipfile.ZIP_STORED if name == "mimetype" else None)
    return target.getvalue()


def members_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def changed(content: bytes, members: Mapping[str, bytes | str]) -> bytes:
    """The archive with some members replaced or added."""
    return zipped({**members_of(content), **members})


def a_docx(*, title: str = "Staff handbook", rows: Iterable[Sequence[str]] = ROWS) -> bytes:
    document = docx.Document()
    document.core_properties.title = title
    document.add_heading("Leave", 1)
    document.add_paragraph("Thirty days a year.")
    document.add_paragraph("Ask", style="List Number")
    document.add_paragraph("Wait", style="List Number")
    document.add_paragraph("a day", style="List Bullet 2")
    document.add_heading("Carry-over", 2)
    table = document.add_table(rows=0, cols=2)
    for row in rows:
        for cell, text in zip(table.add_row().cells, row, strict=True):
            cell.text = text
    document.add_paragraph("Ends in March.")
    return _saved(document)


def a_pptx(*, title: str = "") -> bytes:
    show = pptx.Presentation()
    show.core_properties.title = title
    slide = show.slides.add_slide(show.slide_layouts[1])
    slide.shapes.title.text = "Leave"
    frame = slide.placeholders[1].text_frame
    frame.text = "Thirty days"
    more = frame.add_paragraph()
    more.text, more.level = "a year", 1
    slide.notes_slide.notes_text_frame.text = "Say it slowly."
    slide = show.slides.add_slide(show.slide_layouts[5])
    slide.shapes.title.text = "Days"
    table = slide.shapes.add_table(2, 2, Inches(1), Inches(1), Inches(4), Inches(1)).table
    for at, row in enumerate(ROWS):
        for place, text in enumerate(row):
            table.cell(at, place).text = text
    show.slides.add_slide(show.slide_layouts[6]).shapes.add_textbox(0, 0, 99, 99).text_frame.text = "No title here."
    return _saved(show)


def an_xlsx(*, rows: int = 3) -> bytes:
    book: Any = openpyxl.Workbook()  # type: ignore[attr-defined, no-untyped-call]
    sheet = book.active
    sheet.title = "Sales"
    sheet.append(["Sales of the year"])
    sheet.append([])
    sheet.append(["Day", "City", "Amount"])
    for number in range(rows):
        sheet.append([dt.date(2024, 1, 1) + dt.timedelta(number), "Köln", number * 1.5])
    hidden = book.create_sheet("Secret")
    hidden["A1"] = "hidden words"
    hidden.sheet_state = "hidden"
    other = book.create_sheet("Other")
    other["B3"], other["D3"], other["D4"] = "Open", True, dt.datetime(2024, 1, 1, 12, 30)  # noqa: DTZ001 - as in a cell
    return _saved(book)


def an_odt(body: str | None = None, *, styles: str = "", title: str = "Staff handbook") -> bytes:
    text = body or (
        '<text:p text:style-name="Title">Handbook</text:p>'
        '<text:h text:outline-level="1">Leave</text:h><text:p>Thirty<text:s text:c="2"/>days<text:line-break/>a '
        "<text:a>year</text:a>.<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>Not in "
        "March.</text:p></text:note-body></text:note></text:p>"
        '<text:list text:style-name="L1"><text:list-item><text:p>Ask</text:p><text:list><text:list-item><text:p>now'
        "</text:p></text:list-item></text:list></text:list-item><text:list-item><text:p>Wait</text:p></text:list-item>"
        '</text:list><text:h text:outline-level="2">Carry-over</text:h><table:table><table:table-header-rows>'
        f"{_row('Year', 'Days')}</table:table-header-rows>{_row('2024', '30')}</table:table>"
        '<text:p text:style-name="P1">hidden words</text:p>'
    )
    automatic = (
        '<text:list-style style:name="L1"><text:list-level-style-number text:level="1" style:num-format="1"/>'
        '<text:list-level-style-bullet text:level="2"/></text:list-style><style:style style:name="P1">'
        f'<style:text-properties text:display="none"/></style:style>{styles}'
    )
    return an_odf("text", f"<office:text>{text}</office:text>", styles=automatic, title=title)


def an_odp() -> bytes:
    return an_odf(
        "presentation",
        '<office:presentation><draw:page><draw:frame presentation:class="title"><draw:text-box><text:p>Leave</text:p>'
        '</draw:text-box></draw:frame><draw:frame presentation:class="outline"><draw:text-box><text:list>'
        "<text:list-item><text:p>Thirty days</text:p></text:list-item></text:list></draw:text-box></draw:frame>"
        '<presentation:notes><draw:frame presentation:class="notes"><draw:text-box><text:p>Say it slowly.</text:p>'
        '</draw:text-box></draw:frame></presentation:notes></draw:page><draw:page draw:style-name="dp1">'
        "<draw:frame><draw:text-box><text:p>hidden words</text:p></draw:text-box></draw:frame></draw:page><draw:page>"
        '<draw:frame presentation:class="title"><draw:text-box><text:p>Days</text:p></draw:text-box></draw:frame>'
        f"<draw:frame><table:table>{_row('Year', 'Days')}{_row('2024', '30')}</table:table></draw:frame></draw:page>"
        "</office:presentation>",
        styles='<style:style style:name="dp1"><style:drawing-page-properties presentation:visibility="hidden"/>'
        "</style:style>",
    )


def an_ods(sheets: str | None = None) -> bytes:
    given = sheets or (
        f'<table:table table:name="Sales">{_row("Day", "City", "Amount")}{_row("2024-01-01", "Köln", "1,50 €")}'
        '<table:table-row table:number-rows-repeated="2"><table:table-cell table:number-columns-repeated="3">'
        "<text:p>same</text:p></table:table-cell></table:table-row>"
        '<table:table-row table:number-rows-repeated="1048573">'
        '<table:table-cell table:number-columns-repeated="16384"/></table:table-row></table:table>'
        f'<table:table table:name="Secret" table:style-name="ta2">{_row("hidden words")}</table:table>'
        f'<table:table table:name="Other">{_row("Only")}</table:table>'
    )
    return an_odf(
        "spreadsheet",
        f"<office:spreadsheet>{given}</office:spreadsheet>",
        styles='<style:style style:name="ta2"><style:table-properties table:display="false"/></style:style>',
    )


def an_odf(kind: str, body: str, *, styles: str = "", title: str = "") -> bytes:
    return zipped(
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "content.xml": f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {_SPACES}>'
            f"<office:automatic-styles>{styles}</office:automatic-styles><office:body>{body}</office:body>"
            "</office:document-content>",
            "meta.xml": f"<office:document-meta {_SPACES}><office:meta><dc:title>{title}</dc:title></office:meta>"
            "</office:document-meta>",
            "META-INF/manifest.xml": "<manifest/>",
        }
    )


def _row(*texts: str) -> str:
    cells = "".join(f"<table:table-cell><text:p>{text}</text:p></table:table-cell>" for text in texts)
    return f"<table:table-row>{cells}</table:table-row>"


CHAPTERS: Mapping[str, str] = {
    "one.xhtml": "<html><head><title/></head><body><h1>Leave</h1><p>Thirty <a id='x'/>days.</p></body></html>",
    "two.xhtml": "<!DOCTYPE html><html><body><p>Ends in March.</p></body></html>",
}


def an_epub(chapters: Mapping[str, str] = CHAPTERS, members: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """The second chapter has a name in the table of contents only. The spine goes the other way than the manifest."""
    items = "".join(
        f'<item id="{name}" href="text/{name}" media-type="application/xhtml+xml"/>'
        for name in reversed(list(chapters))
    )
    spine = "".join(f'<itemref idref="{name}"/>' for name in chapters)
    entries = "".join(f"<li><a href='text/{name}#top'>Of {name}</a></li>" for name in chapters)
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>',
            "OEBPS/book.opf": '<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/'
            'elements/1.1/"><dc:title>The handbook</dc:title></metadata><manifest><item id="nav" href="nav.xhtml" '
            f'properties="nav" media-type="application/xhtml+xml"/>{items}</manifest><spine>{spine}</spine></package>',
            "OEBPS/nav.xhtml": f"<html><body><nav><ol>{entries}</ol></nav></body></html>",
            **{f"OEBPS/text/{name}": text for name, text in chapters.items()},
            **members,
        }
    )


AN_RTF = (
    rb"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0\fcharset0 Arial;}{\f1\fcharset204 Arial;}}{\stylesheet{\s0 Normal;}"
    rb"{\s1\outlinelevel0 heading 1;}}{\info{\title Staff handbook}{\author Nobody}}\pard\s1 Leave\par\pard Drei\'dfig "
    rb"Tage \u26085?{\f1\'e4\'ed\'e8}{\v hidden}{\footnote\pard Not in March.}{\*\unknown gone}{\pict\bin4 }}}}}.\par"
    rb"{\listtext\pard 1.\tab}\pard\ls1 Ask\par{\listtext\pard 2.\tab}\pard\ls1 Wait\par\pard\trowd\intbl Year\cell "
    rb"Days\cell\row\trowd 2024\cell 30\cell\row\pard The \{end\}\u-10179?\u-8704?.\par}"
)


def a_compound(streams: Mapping[str, bytes]) -> bytes:
    """Microsoft's compound file with these streams at its top, each padded to the size that needs no small sectors."""
    contents = {name: content.ljust(4_096, b"\0") for name, content in streams.items()}
    chains: list[int] = [0xFFFFFFFD]  # sector 0 is the table itself
    entries = [_entry("Root Entry", 5, child=1 if contents else 0xFFFFFFFF, start=0xFFFFFFFE)]
    body = b""
    for number, (name, content) in enumerate(contents.items(), start=1):
        sectors = -(-len(content) // 512)
        start = len(chains)
        chains += [*range(start + 1, start + sectors), 0xFFFFFFFE]
        body += content.ljust(sectors * 512, b"\0")
        right = number + 1 if number < len(contents) else 0xFFFFFFFF
        entries.append(_entry(name, 2, right=right, start=start, size=len(content)))
    directory = b"".join(entries).ljust(-(-len(entries) // 4) * 512, b"\0")
    first = len(chains)
    chains += [*range(first + 1, first + len(directory) // 512), 0xFFFFFFFE]
    table = struct.pack("<128I", *chains, *[0xFFFFFFFF] * (128 - len(chains)))
    header = struct.pack(
        "<8s16xHHHHH6xIIIIIIIIII109I", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0x3E, 3, 0xFFFE, 9, 6,
        *(0, 1, first, 0, 4_096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0), 0, *[0xFFFFFFFF] * 108, 0,
    )  # fmt: skip
    return header[:512] + table + body + directory


def _entry(name: str, kind: int, **fields: int) -> bytes:
    given: dict[str, Any] = {"right": 0xFFFFFFFF, "child": 0xFFFFFFFF, "start": 0, "size": 0, **fields}
    raw = name.encode("utf-16-le") + b"\0\0"
    return struct.pack(
        "<64sHBBIII16xIQQIQ", raw, len(raw), kind, 1, 0xFFFFFFFF, given["right"], given["child"], 0, 0, 0,
        given["start"], given["size"],
    )  # fmt: skip


def an_xlsb(cells: Mapping[tuple[int, int], str] | None = None) -> bytes:
    """A binary workbook, record by record, with a sheet of these texts by row and column."""
    given = cells or {(row, column): text for row, texts in enumerate(ROWS) for column, text in enumerate(texts)}
    written = b"".join(
        _packed(0, struct.pack("<I13x", row)) + _packed(6, struct.pack("<II", column, 0) + _wide(text))
        for (row, column), text in given.items()
    )
    sheet = _packed(129) + _packed(148, struct.pack("<4I", 0, 9, 0, 9)) + _packed(145) + written
    named = struct.pack("<II", 0, 1) + _wide("rId1") + _wide("Leave")
    book = _packed(131) + _packed(143) + _packed(156, named) + _packed(144) + _packed(132)
    kind = "application/vnd.ms-excel.sheet.binary.macroEnabled.main"
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    space = "http://schemas.openxmlformats.org/package/2006"
    return zipped({
        "[Content_Types].xml": f"<Types xmlns='{space}/content-types'><Override PartName='/xl/workbook.bin'"
        f" ContentType='{kind}'/></Types>",
        "_rels/.rels": f"<Relationships xmlns='{space}/relationships'><Relationship Id='rId1'"
        f" Type='{relation}/officeDocument' Target='xl/workbook.bin'/></Relationships>",
        "xl/_rels/workbook.bin.rels": f"<Relationships xmlns='{space}/relationships'><Relationship Id='rId1'"
        f" Type='{relation}/worksheet' Target='worksheets/sheet1.bin'/></Relationships>",
        "xl/workbook.bin": book,
        "xl/worksheets/sheet1.bin": sheet + _packed(146) + _packed(130),
    })  # fmt: skip


def _packed(kind: int, content: bytes = b"") -> bytes:
    numbers = [kind] if kind < 128 else [kind & 0x7F | 0x80, kind >> 7]
    size = len(content)
    sizes = [size] if size < 128 else [size & 0x7F | 0x80, size >> 7]
    return bytes([*numbers, *sizes]) + content


def _wide(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode("utf-16-le")


def an_xls(cells: Mapping[tuple[int, int], str] | None = None) -> bytes:
    """A workbook of the old format, record by record."""
    given = cells or {(row, column): text for row, texts in enumerate(ROWS) for column, text in enumerate(texts)}
    written = b"".join(
        _record(0x0204, struct.pack("<HHHHB", row, column, 0, len(text), 0) + text.encode("latin-1"))
        for (row, column), text in given.items()
    )
    begin, end = _record(0x0809, struct.pack("<HHHHII", 0x0600, 5, 0, 0, 0, 0)), _record(0x000A, b"")
    name = b"Leave"
    place = len(begin) + 4 + 8 + len(name) + len(end)
    sheet = _record(0x0085, struct.pack("<IBBBB", place, 0, 0, len(name), 0) + name)
    inside = _record(0x0809, struct.pack("<HHHHII", 0x0600, 0x10, 0, 0, 0, 0))
    return a_compound({"Workbook": begin + sheet + end + inside + written + end})


def _record(kind: int, content: bytes) -> bytes:
    return struct.pack("<HH", kind, len(content)) + content


def _saved(document: Any) -> bytes:
    target = BytesIO()
    document.save(target)
    return target.getvalue()
