"""How large the sheets of old and of binary workbooks are: their cells are records, each of which says its place.

The library makes room for every cell between the outermost two. Where that is more than is allowed it cannot say so,
and the process ends. So room is asked for here first, as for other workbooks in `extents`.
"""

import struct
from collections.abc import Iterator
from typing import Final

from carrel.adapters.parsers.extents import CELL_BYTES
from carrel.domain.errors import Unreadable

_BEGIN: Final = 0x0809  # of a sheet, in a workbook of before 2007
_OLD_CELLS: Final = frozenset({0x0006, 0x007E, 0x00BD, 0x00D6, 0x00FD, 0x0203, 0x0204, 0x0205, 0x027E})
_SEVERAL: Final = frozenset({0x00BD})  # cells in one record, which ends with the last one's column
_COLUMN: Final = struct.Struct("<H")
_MOST_COLUMNS: Final = 256
_PLACE: Final = struct.Struct("<HH")
_ROW: Final = 0  # in a sheet of an .xlsb
_LAST_CELL: Final = 18  # kinds 1 to 18 are cells
_MOST_ROWS: Final = 1_048_576
_MOST_WIDE: Final = 16_384


class _Extent:
    """The smallest rectangle in which all cells of a sheet lie."""

    def __init__(self) -> None:
        self._rows: tuple[int, int] | None = None
        self._columns = (0, 0)

    def add(self, row: int, column: int) -> None:
        if self._rows is None:
            self._rows, self._columns = (row, row), (column, column)
            return
        self._rows = min(self._rows[0], row), max(self._rows[1], row)
        self._columns = min(self._columns[0], column), max(self._columns[1], column)

    @property
    def cells(self) -> int:
        if self._rows is None:
            return 0
        return (self._rows[1] - self._rows[0] + 1) * (self._columns[1] - self._columns[0] + 1)


def demand_room_for_old(workbook: bytes) -> None:
    """Of the stream of a workbook of before 2007. Raises Unreadable for impossible columns, and MemoryError."""
    sheets = [extent := _Extent()]
    for kind, place, size in _old_records(workbook):
        if kind == _BEGIN:
            sheets.append(extent := _Extent())
        elif kind in _OLD_CELLS and size >= _PLACE.size:
            row, column = _PLACE.unpack_from(workbook, place)
            if column >= _MOST_COLUMNS:
                raise Unreadable("A cell stands in a column that there is not.")
            extent.add(row, column)
            if kind in _SEVERAL:
                extent.add(row, min(_COLUMN.unpack_from(workbook, place + size - 2)[0], _MOST_COLUMNS))
    cells = [sheet.cells for sheet in sheets]
    _demand(sum(cells) + max(cells))  # all are held, and the one that is read once more


def demand_room_for_binary(sheet: bytes) -> None:
    """Of a sheet in an .xlsb. Raises Unreadable for impossible rows and columns, and MemoryError."""
    extent, row = _Extent(), 0
    for kind, place, size in _binary_records(sheet):
        if kind > _LAST_CELL or size < 4:  # noqa: PLR2004 - a number of four bytes
            continue
        number = int.from_bytes(sheet[place : place + 4], "little")
        if kind == _ROW:
            row = number
        else:
            extent.add(row, number)
        if row >= _MOST_ROWS or (kind != _ROW and number >= _MOST_WIDE):
            raise Unreadable("A cell stands in a row or a column that there is not.")
    _demand(extent.cells)


def _demand(cells: int) -> None:
    bytearray(cells * CELL_BYTES)  # asked for and given back: nothing is written to it


def _old_records(stream: bytes) -> Iterator[tuple[int, int, int]]:
    """Kind, place and size."""
    place = 0
    while place + 4 <= len(stream):
        kind, size = _PLACE.unpack_from(stream, place)
        if place + 4 + size > len(stream):
            return
        yield kind, place + 4, size
        place += 4 + size


def _binary_records(part: bytes) -> Iterator[tuple[int, int, int]]:
    """Kind and size are numbers of which each byte has seven bits and says whether one more follows."""
    place = 0
    while place < len(part):
        kind, place = _number(part, place, 2)
        size, place = _number(part, place, 4)
        if place + size > len(part):
            return
        yield kind, place, size
        place += size


def _number(part: bytes, place: int, most: int) -> tuple[int, int]:
    number = 0
    for shift in range(most):
        if place == len(part):
            break
        byte = part[place]
        place += 1
        number |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that says so
            break
    return number, place
