"""Recognises what is written in pictures, with Tesseract. Loaded by the zygote: a fork could read no language data."""

import os
import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final

from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.wire import PAGES
from carrel.domain.errors import Unreadable
from carrel.domain.text import ParsedDocument

MOST_PIXELS: Final = 25_000_000
_FORMATS: Final = ("PNG", "JPEG", "TIFF", "WEBP")
_SURE: Final = 40  # of 100, on average over the words: below it a photograph is taken for letters
_DPI: Final = 200
_LEAST: Final = 3  # pixels: Tesseract takes no smaller picture
_EMPTY_LINES: Final = re.compile(r"\n\s*\n")
_WORD: Final = re.compile(r"\w")
_engine: list[Any] = []  # one, once it is loaded


def load(folder: str, languages: str) -> None:
    """Raises OSError for language data that Tesseract does not take."""
    os.putenv("OMP_THREAD_LIMIT", "1")  # for the C library: a fork may start no thread
    import tesserocr
    from PIL import Image

    modes: dict[str, Any] = {"oem": tesserocr.OEM.LSTM_ONLY, "psm": tesserocr.PSM.AUTO}
    try:
        api = tesserocr.PyTessBaseAPI(path=folder, lang=languages, **modes)
    except RuntimeError as error:
        raise OSError(f"Tesseract does not take the language data in {folder}") from error
    _engine.append(api)
    Image.init()
    for name in _FORMATS:  # each loads its codec when it is first used
        written = BytesIO()
        Image.new("RGB", (32, 32), "white").save(written, name)
        for _ in _pages(written.getvalue()):
            pass


def is_loaded() -> bool:
    return bool(_engine)


def parse(content: bytes, *, key: str) -> ParsedDocument:  # noqa: ARG001 - all formats have one signature
    """Each picture of a file (a fax has several) is a page. Raises Unreadable `image_too_large`, `damaged_document`."""
    draft = Draft()
    for number, text in enumerate(_pages(content), 1):
        write(draft, text, page=number)
    return draft.finish()


def write(draft: Draft, text: str, *, page: int, path: tuple[str, ...] | None = None) -> None:
    for paragraph in _EMPTY_LINES.split(text):
        if _WORD.search(paragraph):
            draft.block("paragraph", paragraph, page=page, path=path)


def text_of(pixels: bytes, *, width: int, height: int, stride: int, dpi: int = _DPI) -> str:
    """`pixels` are grey, a byte each, and a row every `stride` bytes."""
    if width < _LEAST or height < _LEAST:
        return ""
    [api] = _engine
    api.SetImageBytes(pixels, width, height, 1, stride)
    api.SetSourceResolution(dpi)
    text = api.GetUTF8Text()
    sure = api.MeanTextConf()
    api.Clear()
    return text if sure >= _SURE else ""


def _pages(content: bytes) -> Iterator[str]:
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = None  # ours is smaller, and is judged before anything is unpacked
    try:
        with Image.open(BytesIO(content), formats=_FORMATS) as image:
            for number in range(min(getattr(image, "n_frames", 1), PAGES)):
                image.seek(number)
                _judge(image.width, image.height)
                grey = ImageOps.exif_transpose(image).convert("L")
                yield text_of(grey.tobytes(), width=grey.width, height=grey.height, stride=grey.width)
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise Unreadable("The picture is damaged.") from error  # so many, since each decoder has its own


def _judge(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise Unreadable(f"The picture has more than {MOST_PIXELS:,} pixels.", code="image_too_large")
