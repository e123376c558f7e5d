"""A PDF's outline (its bookmarks), asked by place: under which headings does this line stand?"""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice

from carrel.adapters.parsers import pdfium
from carrel.adapters.parsers.characters import clean, squeezed
from carrel.adapters.parsers.draft import HEADING_DEPTH, HEADING_LENGTH

_ENTRIES = 10_000
_TOLERANCE = 3.0  # points that a bookmark may point below the foot of its line
_HEIGHT_AT = {pdfium.raw.PDFDEST_VIEW_XYZ: 1, pdfium.raw.PDFDEST_VIEW_FITH: 0, pdfium.raw.PDFDEST_VIEW_FITBH: 0}
_TOP = float("inf")


class Outline:
    """Empty when the author gave none; entries that lead nowhere are left out."""

    def __init__(self, pdf: pdfium.Document) -> None:
        entries = sorted(_entries(pdf), key=lambda entry: entry[0])  # stable: equal places keep the author's order
        self._places = [place for place, _ in entries]
        self._paths = [path for _, path in entries]
        self._names = {(page, path[-1].casefold()) for (page, _), path in entries}

    def path(self, page: int, height: float | None) -> tuple[str, ...]:
        """The headings above a line of this page (0-based) whose foot is at `height`; None is the foot of the page."""
        last = bisect_right(self._places, (page, _TOLERANCE - (height or 0)))
        return self._paths[last - 1] if last else ()

    def names(self, page: int, text: str) -> bool:
        """Whether the line is itself a heading."""
        return (page, squeezed(text)[:HEADING_LENGTH].casefold()) in self._names


def _entries(pdf: pdfium.Document) -> Iterator[tuple[tuple[int, float], tuple[str, ...]]]:
    """Places sort in reading order: the page, then downwards from its top."""
    above: list[str] = []
    for bookmark in islice(pdf.get_toc(max_depth=HEADING_DEPTH), _ENTRIES):
        name = _name(bookmark)
        above = [*above[: bookmark.level], name]
        place = _place(bookmark)
        if name and place:
            yield place, tuple(heading for heading in above if heading)


def _name(bookmark: pdfium.Bookmark) -> str:
    try:
        return squeezed(clean(bookmark.get_title()))[:HEADING_LENGTH]
    except UnicodeDecodeError:
        return ""


def _place(bookmark: pdfium.Bookmark) -> tuple[int, float] | None:
    destination = bookmark.get_dest()
    page = destination.get_index() if destination else None
    if destination is None or page is None:
        return None
    mode, numbers = destination.get_view()
    at = _HEIGHT_AT.get(mode)
    height = numbers[at] if at is not None and at < len(numbers) else 0
    return page, -(height or _TOP)  # writers leave 0 when they mean the whole page
