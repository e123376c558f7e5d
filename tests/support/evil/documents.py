"""Evil Word documents and presentations: circles, references, repetitions, and what only looks like text."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from support import offices
from support.evil.packages import SAID, A, R, W, a_shape, relations, said_in_word, slides, word, zipped

_DOC: Final = "word/document.xml"
_HUGE_PICTURE: Final = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x06\0\0\0" + b"\0" * 2_000


def _beside(more: str, **members: bytes | str) -> Callable[[], bytes]:
    return lambda: zipped(word(said_in_word(more), **members))


def _related(*listed: tuple[str, str, str], more: str = "", **members: bytes | str) -> Callable[[], bytes]:
    return _beside(more, word___rels__document_xml_rels=relations(*listed), **members)


def _styled(styles: str, style: str) -> Callable[[], bytes]:
    return _related(
        ("rId1", "styles", "styles.xml"),
        more=f"<w:p><w:pPr><w:pStyle w:val='{style}'/></w:pPr><w:r><w:t>evil</w:t></w:r></w:p>",
        word__styles_xml=f"<w:styles xmlns:w='{W}'>{styles}</w:styles>",
    )


def _style(name: str, based: str) -> str:
    return f"<w:style w:styleId='{name}'><w:name w:val='{name}'/><w:basedOn w:val='{based}'/></w:style>"


def _numbered(levels: str, level: str) -> Callable[[], bytes]:
    place = f"<w:pPr><w:numPr><w:ilvl w:val='{level}'/><w:numId w:val='1'/></w:numPr></w:pPr>"
    return _related(
        ("rId1", "numbering", "numbering.xml"),
        more=f"<w:p>{place}<w:r><w:t>evil</w:t></w:r></w:p>" * 100,
        word__numbering_xml=f"<w:numbering xmlns:w='{W}'><w:abstractNum w:abstractNumId='0'>{levels}</w:abstractNum>"
        "<w:num w:numId='1'><w:abstractNumId w:val='0'/></w:num></w:numbering>",
    )


def _level(kind: str, text: str, start: str) -> str:
    return f"<w:lvl w:ilvl='0'><w:start w:val='{start}'/><w:numFmt w:val='{kind}'/><w:lvlText w:val='{text}'/></w:lvl>"


def _notes() -> bytes:
    note = f"<w:footnotes xmlns:w='{W}'><w:footnote w:id='1'><w:p><w:r><w:t>{'evil ' * 20_000}</w:t></w:r></w:p>"
    return _related(
        ("rId1", "footnotes", "footnotes.xml"),
        more="<w:p><w:r><w:t>x</w:t><w:footnoteReference w:id='1'/></w:r></w:p>" * 20_000,
        word__footnotes_xml=f"{note}</w:footnote></w:footnotes>",
    )()


def _many_slides() -> bytes:
    made = slides(a_shape())
    listed = "".join(f'<p:sldId id="{n}" r:id="rId1"/>' for n in range(6_000))
    shown = str(made["ppt/presentation.xml"]).replace('<p:sldId id="256" r:id="rId1"/>', listed)
    return zipped({**made, "ppt/presentation.xml": shown})


def _in_groups(shape: str, depth: int) -> str:
    return "<p:grpSp>" * depth + shape + "</p:grpSp>" * depth


def _frame(inside: str) -> str:
    return f"<p:graphicFrame><a:graphic><a:graphicData>{inside}</a:graphicData></a:graphic></p:graphicFrame>"


def _cells(rows: int, columns: int) -> str:
    cell = "<a:tc><a:txBody><a:p><a:r><a:t>x</a:t></a:r></a:p></a:txBody></a:tc>"
    return _frame(f"<a:tbl>{('<a:tr>' + cell * columns + '</a:tr>') * rows}</a:tbl>")


def _diagram(target: str) -> Callable[[], bytes]:
    shape = _frame(f"<d:relIds xmlns:d='urn:d' xmlns:r='{R}' r:dm='rId9'/>")
    return lambda: zipped(
        slides(a_shape() + shape, ppt__slides___rels__slide1_xml_rels=relations(("rId9", "diagramData", target)))
    )


DOCX: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "styles that rest on each other": _styled(_style("a", "b") + _style("b", "a"), "a"),
    "a style that rests on itself": _styled(_style("a", "a"), "a"),
    "20,000 styles in a row": _styled("".join(_style(f"s{n}", f"s{n + 1}") for n in range(20_000)), "s0"),
    "a level of 999,999,999,999": _numbered(_level("decimal", "%1.", "1"), "999999999999"),
    "a level below nothing": _numbered(_level("decimal", "%1.", "1"), "-1"),
    "a list that starts at 99,999,999": _numbered(_level("upperRoman", "%1.", "99999999"), "0"),
    "letters beyond the alphabet": _numbered(_level("upperLetter", "%1%1%1", "99999999"), "0"),
    "a mark of a million letters": _numbered(_level("decimal", "%1" * 500_000, "1"), "0"),
    "a cell across 2,147,483,647 columns": _beside(
        "<w:tbl><w:tr><w:tc><w:tcPr><w:gridSpan w:val='2147483647'/></w:tcPr><w:p><w:r><w:t>x</w:t></w:r></w:p></w:tc>"
        "</w:tr></w:tbl>" * 100
    ),
    "a table of 50,000 cells": _beside(
        f"<w:tbl>{('<w:tr>' + '<w:tc><w:p><w:r><w:t>x</w:t></w:r></w:p></w:tc>' * 20 + '</w:tr>') * 2_500}</w:tbl>"
    ),
    "a header of 100,000 letters": _beside(
        "<w:tbl>" + "".join(
            f"<w:tr><w:tc><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>b</w:t></w:r></w:p></w:tc>"
            "</w:tr>" for text in ("evil " * 20_000, *["1"] * 5_000)
        ) + "</w:tbl>"
    ),
    "20,000 marks of one long note": _notes,
    "a note in itself": _related(
        ("rId1", "footnotes", "footnotes.xml"),
        more="<w:p><w:r><w:t>x</w:t><w:footnoteReference w:id='1'/></w:r></w:p>",
        word__footnotes_xml=f"<w:footnotes xmlns:w='{W}'><w:footnote w:id='1'><w:p><w:r><w:t>evil</w:t>"
        "<w:footnoteReference w:id='1'/></w:r></w:p></w:footnote></w:footnotes>",
    ),
    "styles from a file": _related(("rId1", "styles", "file:///etc/passwd")),
    "styles from above": _related(("rId1", "styles", "../../../../etc/passwd")),
    "styles from the metadata service": _related(("rId1", "styles", "http://169.254.169.254/latest/")),
    "styles that are the document": _related(("rId1", "styles", "document.xml")),
    "relations of relations": _related(("rId1", "styles", "_rels/document.xml.rels")),
    "100,000 relations": _related(*[(f"rId{n}", "image", f"media/{n}.png") for n in range(100_000)]),
    "a main part that is not there": lambda: zipped({
        **word(), "_rels/.rels": relations(("a", "officeDocument", "nothing")),
    }),
    "no relations at all": lambda: zipped({name: part for name, part in word().items() if not name.endswith(".rels")}),
    "macros": lambda: zipped(word(word__vbaProject_bin=offices.a_compound({"VBA": b"Sub AutoOpen()"}))),
    "a piece of HTML from outside": _related(("rId1", "aFChunk", "http://127.0.0.1:1/"), more="<w:altChunk/>"),
    "a picture of 2,147,483,647 squared": _related(
        ("rId1", "image", "media/image1.png"), word__media__image1_png=_HUGE_PICTURE
    ),
    "only what is hidden": lambda: zipped(
        word(f"<w:document xmlns:w='{W}'><w:body><w:p><w:r><w:rPr><w:vanish/></w:rPr><w:t>x</w:t></w:r></w:p></w:body>"
             "</w:document>")
    ),
    "a field that runs a program": _beside(
        "<w:p><w:r><w:instrText>DDEAUTO c:/cmd.exe</w:instrText></w:r><w:r><w:t>x</w:t></w:r></w:p>"
    ),
    "text that runs to the left": _beside("<w:p><w:r><w:t>\u202eevil\u2066\u200b</w:t></w:r></w:p>" * 1_000),
    "a workbook in it": lambda: zipped({**word(), "xl/workbook.xml": "<workbook/>"}),
})  # fmt: skip
PPTX: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "one slide 6,000 times": _many_slides,
    "a slide in 200 groups": lambda: zipped(slides(_in_groups(a_shape(), 200))),
    "a slide in 5,000 groups": lambda: zipped(slides(_in_groups(a_shape(), 5_000))),
    "a table of 50,000 cells": lambda: zipped(slides(a_shape() + _cells(500, 100))),
    "a table of 50,000 columns": lambda: zipped(slides(a_shape() + _cells(1, 50_000))),
    "a slide that is its own notes": lambda: zipped(
        slides(a_shape(), ppt__slides___rels__slide1_xml_rels=relations(("a", "notesSlide", "slide1.xml")))
    ),
    "a diagram that is the slide": _diagram("slide1.xml"),
    "a diagram from outside": _diagram("http://127.0.0.1:1/"),
    "a slide that is a list of slides": lambda: zipped({
        **slides(a_shape()), "ppt/_rels/presentation.xml.rels": relations(("rId1", "slide", "presentation.xml")),
    }),
    "a level of 99,999,999,999": lambda: zipped(
        slides(f"<p:sp><p:txBody><a:p><a:pPr lvl='99999999999'/><a:r><a:t>{SAID}</a:t></a:r></a:p></p:txBody></p:sp>")
    ),
    "20,000 shapes": lambda: zipped(slides(a_shape() * 20_000)),
    "shapes without anything": lambda: zipped(slides(a_shape() + "<p:sp/><p:graphicFrame/><p:grpSp/>" * 10_000)),
    "another language's names": lambda: zipped(slides(a_shape().replace("a:t>", "b:t>").replace(A, "urn:b"))),
    "no slides": lambda: zipped(slides()),
})  # fmt: skip
