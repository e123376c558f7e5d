"""How large a sheet of an Excel workbook is, before the library makes room for every cell between its outermost two.

That a stray cell far away asks for more memory than is allowed is told in time; the limits on the process hold anyway.
"""

import math
import re
from typing import Final

from carrel.adapters.parsers import markup

CELL_BYTES: Final = 32  # what the library holds for one, also for an empty one

# A row or a cell with its place, if it says one. Cells that close at once hold nothing, and make no room.
_PLACE: Final = re.compile(
    rb"<(?:\w+:)?(?:(row)|c)(?=[\s/>])(?:[^<>]*?\sr\s*=\s*[\"']([A-Za-z]{0,9})(\d{1,10})[\"'])?[^<>]*?(/?)>"
)
_LAST_ROW: Final = re.compile(rb"<row\b[^<>]*?\sr=[\"'](\d{1,10})[\"']")
_WIDE: Final = re.compile(rb"<c r=[\"']([A-Z]{2,9})\d")
_LETTERS: Final = 26
_FEW: Final = 3_000_000


def demand_room(part: bytes) -> None:
    """Raises Unreadable for XML with a document type, and MemoryError for a sheet that memory does not allow."""
    markup.demand_plain(part)
    if _at_most(part) > _FEW:
        bytearray(_cells(part) * CELL_BYTES)  # asked for and given back: nothing is written to it


def _at_most(part: bytes) -> float:
    """Cells of a sheet as programs write it: rows in their order, and every cell with its place."""
    begin = part.rfind(b"<row")
    row = _LAST_ROW.match(part, begin) if begin >= 0 else None
    if row is None:
        return math.inf if b"row" in part else 0
    wide = max(_WIDE.findall(part), key=lambda letters: (len(letters), letters), default=b"Z")
    return int(row[1]) * _number(wide)


def _cells(part: bytes) -> int:
    """Those of the smallest rectangle in which every cell lies that holds anything."""
    columns: dict[bytes, int] = {}
    row = column = 0
    first, last, left, right = None, 0, None, 0
    for is_row, letters, digits, closed in _PLACE.findall(part):
        if is_row:
            row, column = int(digits) if digits else row + 1, 0
            continue
        if letters:
            column = columns[letters] if letters in columns else columns.setdefault(letters, _number(letters))
        else:
            column += 1
        if not closed:
            place = int(digits) if letters else row
            first, last = min(place, first if first is not None else place), max(place, last)
            left, right = min(column, left if left is not None else column), max(column, right)
    return (last - first + 1) * (right - left + 1) if first is not None and left is not None else 0


def _number(letters: bytes) -> int:
    number = 0
    for letter in letters.upper():
        number = number * _LETTERS + letter - ord("A") + 1
    return number
