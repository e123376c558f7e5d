"""What office documents become: headings, pages and tables that a citation can point at, and reasons for refusals."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from carrel.adapters.parsers import media, office
from carrel.adapters.parsers.media import media_type_of
from carrel.adapters.parsers.rtf_words import codec_of
from carrel.adapters.parsers.sandbox import SandboxedParser
from carrel.domain.errors import Unreadable, Unsupported
from carrel.domain.text import ParsedDocument
from support import offices

MADE: Mapping[str, Callable[[], bytes]] = {
    media.DOCX: offices.a_docx, media.PPTX: offices.a_pptx, media.XLSX: offices.an_xlsx, media.XLS: offices.an_xls,
    media.ODT: offices.an_odt, media.ODP: offices.an_odp, media.ODS: offices.an_ods, media.EPUB: offices.an_epub,
    media.RTF: lambda: offices.AN_RTF, media.XLSB: offices.an_xlsb,
}  # fmt: skip
WHAT_IS_THERE: Mapping[str, list[tuple[str, int | None, tuple[str, ...], str]]] = {
    media.DOCX: [
        ("heading", None, ("Leave",), "Leave"),
        ("paragraph", None, ("Leave",), "Thirty days a year."),
        ("list", None, ("Leave",), "1. Ask\n2. Wait\n- a day"),
        ("heading", None, ("Leave", "Carry-over"), "Carry-over"),
        ("table", None, ("Leave", "Carry-over"), "Year | Days\n2024 | 30"),
        ("paragraph", None, ("Leave", "Carry-over"), "Ends in March."),
    ],
    media.PPTX: [
        ("heading", 1, ("Leave",), "Leave"),
        ("list", 1, ("Leave",), "- Thirty days\n  - a year"),
        ("heading", 1, ("Leave", "Notes"), "Notes"),
        ("paragraph", 1, ("Leave", "Notes"), "Say it slowly."),
        ("heading", 2, ("Days",), "Days"),
        ("table", 2, ("Days",), "Year | Days\n2024 | 30"),
        ("heading", 3, ("Slide 3",), "Slide 3"),
        ("paragraph", 3, ("Slide 3",), "No title here."),
    ],
    media.XLSX: [
        ("heading", 1, ("Sales",), "Sales"),
        ("paragraph", 1, ("Sales",), "Sales of the year"),
        (
            "table", 1, ("Sales",),
            "Day | City | Amount\n2024-01-01 | Köln | 0\n2024-01-02 | Köln | 1.5\n2024-01-03 | Köln | 3",
        ),
        ("heading", 3, ("Other",), "Other"),
        ("table", 3, ("Other",), "Open | TRUE\n | 2024-01-01 12:30:00"),
    ],
    media.XLS: [("heading", 1, ("Leave",), "Leave"), ("table", 1, ("Leave",), "Year | Days\n2024 | 30")],
    media.XLSB: [("heading", 1, ("Leave",), "Leave"), ("table", 1, ("Leave",), "Year | Days\n2024 | 30")],
    media.ODT: [
        ("heading", None, ("Handbook",), "Handbook"),
        ("heading", None, ("Handbook", "Leave"), "Leave"),
        ("paragraph", None, ("Handbook", "Leave"), "Thirty days\na year."),
        ("paragraph", None, ("Handbook", "Leave"), "[1] Not in March."),
        ("list", None, ("Handbook", "Leave"), "1. Ask\n  - now\n2. Wait"),
        ("heading", None, ("Handbook", "Leave", "Carry-over"), "Carry-over"),
        ("table", None, ("Handbook", "Leave", "Carry-over"), "Year | Days\n2024 | 30"),
    ],
    media.ODP: [
        ("heading", 1, ("Leave",), "Leave"),
        ("list", 1, ("Leave",), "- Thirty days"),
        ("heading", 1, ("Leave", "Notes"), "Notes"),
        ("paragraph", 1, ("Leave", "Notes"), "Say it slowly."),
        ("heading", 3, ("Days",), "Days"),
        ("table", 3, ("Days",), "Year | Days\n2024 | 30"),
    ],
    media.ODS: [
        ("heading", 1, ("Sales",), "Sales"),
        (
            "table", 1, ("Sales",),
            "Day | City | Amount\n2024-01-01 | Köln | 1,50 €\nsame | same | same\nsame | same | same",
        ),
        ("heading", 3, ("Other",), "Other"),
        ("table", 3, ("Other",), "Only"),
    ],
    media.EPUB: [
        ("heading", None, ("Leave",), "Leave"),
        ("paragraph", None, ("Leave",), "Thirty days."),
        ("heading", None, ("Of two.xhtml",), "Of two.xhtml"),
        ("paragraph", None, ("Of two.xhtml",), "Ends in March."),
    ],
    media.RTF: [
        ("heading", None, ("Leave",), "Leave"),
        ("paragraph", None, ("Leave",), "Dreißig Tage 日дни."),
        ("paragraph", None, ("Leave",), "[*] Not in March."),
        ("list", None, ("Leave",), "1. Ask\n2. Wait"),
        ("table", None, ("Leave",), "Year | Days\n2024 | 30"),
        ("paragraph", None, ("Leave",), "The {end}😀."),
    ],
}  # fmt: skip
TITLES = {
    media.DOCX: "Staff handbook", media.PPTX: "Leave", media.XLSX: "Sales", media.XLS: "Leave",
    media.ODT: "Staff handbook", media.ODP: "Leave", media.ODS: "Sales", media.EPUB: "The handbook",
    media.RTF: "Staff handbook", media.XLSB: "Leave",
}  # fmt: skip


@pytest.fixture(scope="module")
async def parser() -> AsyncIterator[SandboxedParser]:
    parser = SandboxedParser(memory=256 << 20, seconds=5)
    yield parser
    await parser.close()


async def read(parser: SandboxedParser, folder: Path, content: bytes, media_type: str) -> ParsedDocument:
    path = folder / "content"
    path.write_bytes(content)
    return await parser.parse(path, media_type=media_type, key="document")


def places(document: ParsedDocument) -> list[tuple[str, int | None, tuple[str, ...], str]]:
    return [
        (block.kind, block.page, block.heading_path, document.text[block.start : block.end])
        for block in document.blocks
    ]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (offices.an_xls({(0, 0): "a", (65_535, 255): "b"}), "parser_memory"),
        (offices.an_xls({(0, 0): "a", (65_535, 65_535): "b"}), "damaged_document"),
        (offices.an_xlsb({(0, 0): "a", (1_000_000, 16_000): "b"}), "parser_memory"),
        (offices.an_xlsb({(0, 0): "a", (1_000_000, 16_384): "b"}), "damaged_document"),
        (offices.an_xlsb({(0, 0): "a", (1 << 31, 3): "b"}), "damaged_document"),
    ],
    ids=["old, far", "old, beyond", "binary, far", "binary, a column beyond", "binary, a row beyond"],
)
async def test_a_workbook_with_an_absurd_cell_says_why(
    parser: SandboxedParser, tmp_path: Path, content: bytes, code: str
) -> None:
    with pytest.raises(Unreadable) as refused:
        await read(parser, tmp_path, content, media.XLS)
    assert refused.value.code == code


@pytest.mark.parametrize("media_type", MADE)
async def test_every_block_says_where_it_stands(parser: SandboxedParser, tmp_path: Path, media_type: str) -> None:
    document = await read(parser, tmp_path, MADE[media_type](), media_type)

    assert places(document) == WHAT_IS_THERE[media_type]
    assert document.title == TITLES[media_type]


@pytest.mark.parametrize("media_type", MADE)
@pytest.mark.parametrize("name", ["a", "a.pdf", "a.txt", "a.docx", "a.xlsx", "a.png"])
async def test_a_document_is_what_it_is_whatever_it_is_called(media_type: str, name: str) -> None:
    head = MADE[media_type]()[:4096]

    if media_type == media.XLS:  # nothing in the head of a compound file says what it holds
        name = "a"
    assert media_type_of(name, None, head) == media_type


def test_an_office_document_whose_head_says_nothing_is_believed_until_it_is_read() -> None:
    content = offices.zipped({"odd.bin": b"\0" * 9_000, **offices.members_of(offices.a_docx())}, packed=False)

    assert media_type_of("a.xlsx", None, content[:4096]) == media.XLSX
    assert office.parse(content, key="a.xlsx").title == "Staff handbook"
    with pytest.raises(Unsupported) as refused:
        media_type_of("a.txt", None, content[:4096])
    assert refused.value.code == "type_mismatch"


def refusal(content: bytes) -> str:
    with pytest.raises(Unreadable) as refused:
        office.parse(content, key="document")
    return refused.value.code


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (offices.a_compound({"EncryptionInfo": b"x", "EncryptedPackage": b"x"}), "encrypted_document"),
        (offices.a_compound({"WordDocument": b"x"}), "legacy_format"),
        (offices.a_compound({"PowerPoint Document": b"x"}), "legacy_format"),
        (offices.a_compound({"Contents": b"x"}), "damaged_document"),
        (offices.a_compound({})[:600], "damaged_document"),
        (offices.zipped({"a": b"x"}), "damaged_document"),
        (offices.zipped({"mimetype": b"application/x", "[Content_Types].xml": b"<Types/>"}), "damaged_document"),
        (offices.a_docx()[:-30], "damaged_document"),
        (offices.a_docx()[:9_000], "damaged_document"),
        (b"PK\x03\x04 and so on", "damaged_document"),
        (b"", "damaged_document"),
        (offices.an_odt("<text:p/>"), "no_text"),
        (b"{\\rtf1}", "no_text"),
    ],
    ids=[
        "a password", "old Word", "old PowerPoint", "another compound file", "half a compound file", "an archive",
        "a package of nothing", "without a table of contents", "cut short", "only a mark", "nothing", "an empty text",
        "an empty RTF",
    ],
)  # fmt: skip
def test_a_document_that_cannot_be_read_says_why(content: bytes, code: str) -> None:
    assert refusal(content) == code


def test_an_encrypted_open_document_says_so() -> None:
    manifest = "<manifest><file-entry><encryption-data/></file-entry></manifest>"

    assert refusal(offices.changed(offices.an_odt(), {"META-INF/manifest.xml": manifest})) == "encrypted_document"


@pytest.mark.parametrize("charset", [0, 128, 129, 134, 136, 161, 204, 238])
async def test_the_alphabets_of_rtf_need_no_file_that_a_fork_cannot_open(
    parser: SandboxedParser, tmp_path: Path, charset: int
) -> None:
    words = {
        0: "Straße", 128: "日本語", 129: "한국어", 134: "中文文本", 136: "繁體中文", 161: "Ελληνικά", 204: "русский",
        238: "žluťoučký",
    }[charset]  # fmt: skip
    raw = "".join(f"\\'{byte:02x}" for byte in words.encode(codec_of(charset)))
    content = f"{{\\rtf1{{\\fonttbl{{\\f0\\fcharset{charset} x;}}}}\\f0 {raw}}}".encode()

    assert (await read(parser, tmp_path, content, media.RTF)).text == words


async def test_each_family_has_a_zygote_of_its_own_that_leaves_when_nothing_comes(tmp_path: Path) -> None:
    parser = SandboxedParser(rest=0.3)
    await read(parser, tmp_path, b"A text.", media.PLAIN)
    basic, office_family = parser._families
    assert basic.zygote
    assert office_family.zygote is None, "started when it is needed"

    await read(parser, tmp_path, offices.AN_RTF, media.RTF)
    assert office_family.zygote

    async with asyncio.timeout(60):
        while basic.zygote or office_family.zygote:  # noqa: ASYNC110 - a timer ends them
            await asyncio.sleep(0.05)
    assert (await read(parser, tmp_path, offices.AN_RTF, media.RTF)).title == "Staff handbook"
    await parser.close()
