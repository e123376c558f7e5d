"""The lines of a PDF page, and the paragraphs that they make."""

import ctypes
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from carrel.adapters.parsers import pdfium

# PDFium joins a word that was divided at the end of a line, and leaves this mark where the hyphen was.
_DIVIDED = re.compile("(?<=\\w)[\x02\ufffe\xad](?:\r\n)?(?=(\\w))")
_MARKS = re.compile("[\x02\ufffe]")
_GAP = 1.35  # times the usual distance between two lines of this page
_WIDEST = 1.6  # times the height of a line; with the gap above, double-spaced text still holds together
_SAME_SIZE = 0.8


@dataclass(frozen=True, slots=True)
class Line:
    """Heights in points from the foot of the page; None where PDFium's two views of the text differ.

    `top` and `bottom` are those of the first character; `foot` is the last one's, lower if a divided word was joined.
    """

    text: str
    top: float | None = None
    bottom: float | None = None
    foot: float | None = None

    @property
    def height(self) -> float:
        return (self.top or 0) - (self.bottom or 0)


def lines_of(page: pdfium.TextPage) -> list[Line]:
    """In PDFium's order. What stands outside the page is left out: nobody sees it."""
    texts = page.get_text_bounded().split("\r\n")
    raw = page.get_text_range().split("\r\n")  # these indices fit the character boxes; characters beyond UCS-2 do not
    if len(texts) != len(raw):
        return [Line(_mended(text)) for text in texts]
    return [Line(_mended(text), *box) for text, box in zip(texts, _boxes(page, raw), strict=True)]


def _boxes(page: pdfium.TextPage, raw: Sequence[str]) -> Iterator[tuple[float | None, float | None, float | None]]:
    position = 0
    for line in raw:
        top, bottom = _box(page, position)
        yield top, bottom, _box(page, position + len(line) - 1)[1] if _MARKS.search(line) else bottom
        position += len(line) + 2


def _box(page: pdfium.TextPage, position: int) -> tuple[float, float] | tuple[None, None]:
    box = pdfium.raw.FS_RECTF()
    index = pdfium.raw.FPDFText_GetCharIndexFromTextIndex(page, position)
    found = index >= 0 and pdfium.raw.FPDFText_GetLooseCharBox(page, index, ctypes.byref(box))
    return (box.top, box.bottom) if found else (None, None)


def _mended(text: str) -> str:
    """A divided word is one word again; before a capital or a digit the hyphen was part of it."""
    return _MARKS.sub("-", _DIVIDED.sub(lambda mark: "" if mark[1].islower() else "-", text))


def paragraphs_of(lines: Sequence[Line], *, apart: Callable[[Line], bool]) -> list[list[Line]]:
    """Lines that belong together, in order. A line that is `apart` stands alone."""
    written = [line for line in lines if line.text.strip()]
    usual = _usual_distance(written)
    paragraphs: list[list[Line]] = []
    for line in written:
        before = paragraphs[-1][-1] if paragraphs else None
        if before and _continues(before, line, usual) and not apart(before) and not apart(line):
            paragraphs[-1].append(line)
        else:
            paragraphs.append([line])
    return paragraphs


def _distance(above: Line, below: Line) -> float:
    return (above.foot or 0) - (below.bottom or 0)


def _usual_distance(lines: Sequence[Line]) -> float:
    """Bounded by the height of the lines: a page with a few distant ones has no usual distance."""
    distances = [_distance(above, below) for above, below in pairwise(lines)]
    heights = [line.height for line in lines]
    return min(median([distance for distance in distances if distance > 1] or [0]), _WIDEST * median(heights or [0]))


def _continues(above: Line, below: Line, usual: float) -> bool:
    """Neither a gap, nor a jump upwards into the next column, nor a change of the letters' size."""
    if above.foot is None or below.bottom is None or not usual:
        return True
    sizes = sorted((above.height, below.height))
    return -usual / 2 < _distance(above, below) < _GAP * usual and sizes[0] >= _SAME_SIZE * sizes[1]
