"""Rows of cells between commas, semicolons, tabs or bars, each with the line of the file on which it begins."""

import csv
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Final, Literal, NamedTuple, TypeAlias

from carrel.adapters.parsers.characters import squeezed
from carrel.domain.errors import Unreadable

DELIMITERS: Final = (",", ";", "\t", "|")
_SAMPLE: Final = 50  # rows by which the notation is judged
_COLUMNS: Final = 20_000
_NEARLY_ALL: Final = 0.9


Quoting: TypeAlias = Literal[0, 3]
"""`csv.QUOTE_MINIMAL` or `csv.QUOTE_NONE`."""


class Row(NamedTuple):
    """`line` is the first of the `lines` of the file that it fills. `raw` are the cells with their line ends."""

    line: int
    lines: int
    cells: list[str]
    raw: list[str]


def columns_of(text: str, delimiter: str, quoting: Quoting = csv.QUOTE_MINIMAL) -> int:
    """How many columns nearly all of the first rows have; 0 when they do not agree."""
    widths = Counter(len(row.cells) for row in islice(read(text, delimiter, quoting), _SAMPLE))
    width, count = max(widths.items(), key=lambda one: one[1], default=(0, 0))
    return width if count >= _NEARLY_ALL * widths.total() else 0


def read(text: str, delimiter: str, quoting: Quoting, begin: int = 1) -> Iterator[Row]:
    reader = csv.reader(_lines(text), delimiter=delimiter, quoting=quoting, skipinitialspace=True)
    done = 0
    try:
        for cells in reader:
            named = [squeezed(cell) for cell in cells]
            if len(named) > _COLUMNS:
                raise Unreadable(f"A row has more than {_COLUMNS:,} columns.", code="parser_output")
            if any(named):
                yield Row(begin + done, reader.line_num - done, named, cells)
            done = reader.line_num
    except csv.Error as error:
        raise Unreadable("The rows cannot be told apart.") from error


def _lines(text: str) -> Iterator[str]:
    """With their ends. Not `split`, which would hold them all at once."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end
