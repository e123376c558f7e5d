"""Office formats one by one: what is shown and what is hidden, what is a header, and what an archive may hold."""

import zipfile
from collections.abc import Callable, Iterable
from io import BytesIO

import pytest

from carrel.adapters.parsers import html, markdown, office, tables
from carrel.adapters.parsers.archive import ENTRIES, FLOOR, Archive
from carrel.adapters.parsers.extents import demand_room
from carrel.adapters.parsers.markup import steps_of, tree_of
from carrel.adapters.parsers.titles import sensible
from carrel.domain.errors import Unreadable
from carrel.domain.text import ParsedDocument
from support import offices
from support.evil.packages import SAID, W, a_shape, relations, said_in_word, sheet, slides, word, zipped


def blocks(document: ParsedDocument) -> list[tuple[str, str]]:
    return [(block.kind, document.text[block.start : block.end]) for block in document.blocks]


def in_word(body: str, **members: bytes | str) -> list[tuple[str, str]]:
    document = f'<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>'
    return blocks(office.parse(zipped(word(document, **members)), key="a"))


SHOWN = "<w:vanish w:val='0'/>"


def run(text: str, properties: str) -> str:
    return f"<w:r><w:rPr>{properties}</w:rPr><w:t>{text}</w:t></w:r>"


def p(text: str, properties: str = "") -> str:
    return f"<w:p>{f'<w:pPr>{properties}</w:pPr>' if properties else ''}<w:r><w:t>{text}</w:t></w:r></w:p>"


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (f"<w:sdt><w:sdtContent>{p('In a control.')}</w:sdtContent></w:sdt>", ["In a control."]),
        ("<w:p><w:ins><w:r><w:t>New</w:t></w:r></w:ins><w:del><w:r><w:t>old</w:t></w:r></w:del></w:p>", ["New"]),
        ("<w:p><w:hyperlink><w:r><w:t>Go</w:t></w:r></w:hyperlink><w:r><w:tab/><w:t>x</w:t></w:r></w:p>", ["Go\tx"]),
        (f"<w:p>{run('no', '<w:vanish/>')}{run('yes', SHOWN)}</w:p>", ["yes"]),
        (f"<w:p><w:r><w:t>Out</w:t><w:txbxContent>{p('In a box.')}</w:txbxContent></w:r></w:p>", ["Out", "In a box."]),
        ("<w:p><w:r><w:instrText>PAGE</w:instrText><w:t>7</w:t></w:r></w:p>", ["7"]),
        (p("Heading", "<w:outlineLvl w:val='1'/>") + p("text", "<w:outlineLvl w:val='9'/>"), ["Heading", "text"]),
    ],
    ids=["a control", "tracked changes", "a link", "hidden text", "a text box", "a field", "outline levels"],
)  # fmt: skip
def test_word_is_read_as_it_is_shown(body: str, read: list[str]) -> None:
    assert [text for _, text in in_word(body)] == read


def test_the_numbers_of_headings_and_lists_are_those_that_word_shows() -> None:
    levels = "".join(
        f'<w:lvl w:ilvl="{at}"><w:start w:val="1"/><w:numFmt w:val="{kind}"/><w:lvlText w:val="{text}"/></w:lvl>'
        for at, (kind, text) in enumerate([("decimal", "%1."), ("lowerLetter", "%1%2)"), ("upperRoman", "%3")])
    )
    numbering = (
        f'<w:numbering xmlns:w="{W}"><w:abstractNum w:abstractNumId="0">{levels}</w:abstractNum>'
        '<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num></w:numbering>'
    )

    def item(level: int, more: str = "") -> str:
        return p("x", f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="1"/></w:numPr>{more}')

    read = in_word(
        item(0, '<w:outlineLvl w:val="0"/>') + item(1) + item(1) + item(2) + item(0) + item(1),
        word__numbering_xml=numbering,
        word___rels__document_xml_rels=relations(("a", "numbering", "numbering.xml")),
    )

    assert read == [("heading", "1. x"), ("list", "1a) x\n  1b) x\n    I x\n2. x\n  2a) x")]


def test_a_note_stands_behind_its_paragraph_once() -> None:
    read = in_word(
        "<w:p><w:r><w:t>Said</w:t><w:footnoteReference w:id='2'/><w:footnoteReference w:id='2'/></w:r></w:p>"
        + p("Next"),
        word__footnotes_xml=f"<w:footnotes xmlns:w='{W}'><w:footnote w:id='0' w:type='separator'>{p('x')}</w:footnote>"
        f"<w:footnote w:id='2'>{p('The source.')}</w:footnote></w:footnotes>",
        word___rels__document_xml_rels=relations(("a", "footnotes", "footnotes.xml")),
    )

    assert [text for _, text in read] == ["Said", "[1] The source.", "Next"]


def test_a_hidden_slide_and_a_hidden_shape_are_not_read() -> None:
    made = slides(
        a_shape("One"), a_shape("Two"), a_shape("Three") + a_shape("no").replace("id='2'", "id='2' hidden='1'")
    )
    made["ppt/slides/slide2.xml"] = str(made["ppt/slides/slide2.xml"]).replace("<p:sld ", '<p:sld show="0" ')

    document = office.parse(zipped(made), key="a")

    assert [(document.text[one.start : one.end], one.page) for one in document.blocks] == [
        ("Slide 1", 1),
        ("One", 1),
        ("Slide 3", 3),
        ("Three", 3),
    ]


def test_slides_and_sheets_on_which_nothing_stands_are_no_text() -> None:
    for empty in (zipped(slides("", "")), zipped(sheet("")), offices.an_ods('<table:table table:name="x"/>')):
        with pytest.raises(Unreadable) as refused:
            office.parse(empty, key="a")
        assert refused.value.code == "no_text"


def test_slides_of_one_title_are_told_apart() -> None:
    title = a_shape("Agenda").replace("<p:nvPr/>", "<p:nvPr><p:ph type='title'/></p:nvPr>")

    document = office.parse(zipped(slides(title, title + a_shape("More"), a_shape("No title"), title)), key="a")

    headings = [block.heading_path for block in document.blocks if block.kind == "heading"]
    assert headings == [("Agenda",), ("Agenda (2)",), ("Slide 3",), ("Agenda",)]


# Tables


@pytest.mark.parametrize(
    ("parse", "content"),
    [
        (office.parse, offices.a_docx(rows=[("City", "People"), *((f"City {n}", str(n)) for n in range(100))])),
        (html.parse, "<table><tr><th>City<th>People</tr>" + "".join(f"<tr><td>City {n}<td>{n}" for n in range(100))),
        (markdown.parse, "| City | People |\n|--|--|\n" + "".join(f"| City {n} | {n} |\n" for n in range(100))),
    ],
    ids=["Word", "HTML", "Markdown"],
)
def test_a_long_table_says_in_every_block_what_its_columns_are(
    parse: Callable[..., ParsedDocument], content: bytes | str
) -> None:
    document = parse(content.encode() if isinstance(content, str) else content, key="a")
    parts = [text for kind, text in blocks(document) if kind == "table"]

    assert len(parts) > 3
    assert all(part.startswith("City | People\nCity ") for part in parts)
    assert all(len(part) <= tables.BLOCK + 40 for part in parts)
    assert [line for part in parts for line in part.split("\n")[1:]] == [f"City {n} | {n}" for n in range(100)]


@pytest.mark.parametrize(
    ("cells", "is_header"),
    [
        (["City", "People"], True),
        (["", "2023 total", "People"], True),
        (["City", "12.5 %"], False),
        (["2024", "2025"], False),
        (["Only one"], False),
        (["One of", "", "", "", "", ""], False),
    ],
)
def test_a_header_has_words_and_no_numbers(cells: list[str], is_header: bool) -> None:  # noqa: FBT001 - a case
    assert tables.looks_like_header(cells) is is_header


def test_below_a_wide_header_each_value_has_the_name_of_its_column() -> None:
    header = [f"The measure of kind {number}" for number in range(30)]

    above, *records = [part.text for part in tables.parts_of([["1", "", *["2"] * 28], ["", "3"]], header)]

    assert above == " | ".join(header)
    assert records[0].startswith("The measure of kind 0: 1\nThe measure of kind 2: 2\n")
    assert records[1] == "The measure of kind 1: 3"


def test_names_without_end_are_not_repeated_without_end() -> None:
    rows = [["y"] * 10] * 1_000

    written = [part.text for part in tables.parts_of(rows, ["x" * 100_000] * 10)]

    assert sum(map(len, written)) < 1_100_000 + 1_000 * 10 * 44


# Archives


def an_archive(members: Iterable[tuple[zipfile.ZipInfo | str, bytes]], packed: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = BytesIO()
    with zipfile.ZipFile(target, "w", packed) as archive:
        for member, content in members:
            archive.writestr(member, content, packed)
    return target.getvalue()


def refusal(content: bytes, name: str = "a") -> str:
    with pytest.raises(Unreadable) as refused:
        Archive(content).read(name)
    return refused.value.code


def a_link() -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("a")
    member.external_attr, member.create_system = 0o120777 << 16, 3
    return member


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (an_archive([("a", b"\0" * (FLOOR + 1))]), "archive_refused"),
        (an_archive([(str(n), b"\0" * (1 << 20)) for n in range(40)]), "archive_refused"),
        (an_archive([(str(n), b"") for n in range(ENTRIES + 1)]), "archive_refused"),
        (an_archive([("../a", b"")]), "archive_refused"),
        (an_archive([("a/../../b", b"")]), "archive_refused"),
        (an_archive([("/a", b"")]), "archive_refused"),
        (an_archive([("..\\a", b"")]), "archive_refused"),
        (an_archive([("c:a", b"")]), "archive_refused"),
        (an_archive([(a_link(), b"/etc/passwd")]), "archive_refused"),
        (an_archive([("a", b"x")], zipfile.ZIP_BZIP2), "archive_refused"),
        (an_archive([("a", b"x")], zipfile.ZIP_LZMA), "archive_refused"),
        (an_archive([("a", b"abc")], zipfile.ZIP_STORED).replace(b"abc", b"abd"), "damaged_document"),
        (an_archive([("b", b"x")]), "damaged_document"),
        (an_archive([("a", b"x")])[:-10], "damaged_document"),
    ],
    ids=[
        "a bomb", "many bombs", "many members", "climbs", "climbs inside", "the root", "back strokes", "a drive",
        "a link", "bzip2", "LZMA", "a wrong sum", "a missing member", "cut short",
    ],
)  # fmt: skip
def test_an_archive_that_is_dangerous_or_damaged_is_refused(content: bytes, code: str) -> None:
    assert refusal(content) == code


@pytest.mark.parametrize("name", ["a", "a..b", "a/..b", "a b/ü.xml", "...", "ab:c"])
def test_a_small_archive_that_repeats_itself_and_odd_names_are_no_danger(name: str) -> None:
    assert len(Archive(an_archive([(name, b"\0" * 1_000_000)])).read(name)) == 1_000_000


def test_a_copy_holds_only_what_is_wanted_and_judged() -> None:
    judged: list[bytes] = []

    copy = Archive(an_archive([("a", b"1"), ("b", b"2")])).copied(
        lambda name: name == "b", lambda _, part: judged.append(part)
    )

    assert offices.members_of(copy) == {"b": b"2"}
    assert judged == [b"2"]


# XML


@pytest.mark.parametrize("read", [tree_of, lambda content: list(steps_of(content, "a"))], ids=["whole", "in steps"])
@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE a><a/>",
        b"<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>",
        "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>".encode("utf-16"),
        "<?xml version='1.0' encoding='cp037'?><!DOCTYPE a [<!ENTITY e 'x'>]><a/>".encode("cp037"),
        b"<a>" * 300 + b"</a>" * 300,
        b"<a>" + b"x" * 11_000_000 + b"</a>",
        b"<a>",
        b"",
        b"no XML",
        b"<a>&e;</a>",
    ],
    ids=["a type", "entities", "UTF-16", "EBCDIC", "depth", "length", "no end", "nothing", "text", "unknown"],
)
def test_xml_that_is_dangerous_or_damaged_is_refused(read: Callable[[bytes], object], content: bytes) -> None:
    with pytest.raises(Unreadable) as refused:
        read(content)

    assert refused.value.code == "damaged_document"


# Sheets


def test_a_sheet_with_cells_far_apart_is_refused_before_room_is_made_for_it() -> None:
    with pytest.raises(MemoryError):
        demand_room(
            b'<row r="1"><c r="A1"><v>1</v></c></row><row r="99999999"><c r="ZZZZZZ99999999"><v>1</v></c></row>'
        )


@pytest.mark.parametrize(
    "part",
    [
        b'<row r="1"><c r="A1"><v>1</v></c></row><row r="99999999"><c r="ZZZZZZ99999999" s="1"/></row>',
        b"<row><c><v>1</v></c></row>" * 10,
        b"<styleSheet/>",
        b"",
    ],
    ids=["an empty cell far away", "cells without places", "no sheet", "nothing"],
)
def test_a_sheet_of_which_little_is_filled_needs_little_room(part: bytes) -> None:
    demand_room(part)


# Titles


@pytest.mark.parametrize(
    ("given", "title"),
    [
        ("Staff handbook", "Staff handbook"),
        ("  Staff \n handbook ", "Staff handbook"),
        ("社員手帳", "社員手帳"),
        ("PowerPoint Presentation", None),
        ("PowerPoint-Präsentation", None),
        ("Slide 1", None),
        ("untitled", None),
        ("report.docx", None),
        ("Microsoft Word - x", None),
        ("2024-01", None),
        ("", None),
        (None, None),
    ],
)
def test_a_title_is_one_that_a_person_wrote(given: str | None, title: str | None) -> None:
    assert sensible(given) == title


@pytest.mark.parametrize("made", [word(), slides(a_shape()), sheet("<row><c r='A1' t='s'><v>0</v></c></row>")])
def test_a_package_whose_parts_have_no_type_is_known_by_its_folders(made: dict[str, bytes | str]) -> None:
    document = office.parse(zipped({**made, "[Content_Types].xml": "<Types/>"}), key="a")

    assert SAID in document.text


def test_a_package_says_its_own_title_unless_its_properties_are_evil() -> None:
    evil = {"docProps/core.xml": "<!DOCTYPE x [<!ENTITY e 'x'>]><x/>"}

    assert office.parse(offices.a_docx(), key="a").title == "Staff handbook"
    assert office.parse(offices.changed(offices.a_docx(), evil), key="a").title == "Leave"
    assert office.parse(zipped(word(said_in_word())), key="a").title is None
