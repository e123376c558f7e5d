"""Tables as rows of text, in blocks that each begin with the header: a passage from the middle says what it shows."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from typing import Final, NamedTuple

from carrel.adapters.parsers.characters import squeezed
from carrel.adapters.parsers.draft import Draft

BLOCK: Final = 400
"""Characters of one block, about: a chunk of the usual size has room for it."""

_WIDE: Final = BLOCK // 2  # a longer header would leave too little room for its rows
_NAME: Final = 40  # characters of a column's name, where it stands before each value
_NUMBER: Final = re.compile(r"[\d\s.,:;%€$£¥+\-/()]+")
_LEAST: Final = 2  # cells of a header


def write(draft: Draft, rows: Iterable[Sequence[str]], *, header: Sequence[str] | None = None) -> None:
    """Without a header the first row is taken for one, if it looks like it."""
    remaining = (cells for cells in rows if any(cells) and cells != header)
    first = next(remaining, None) if header is None else None
    if first is not None and looks_like_header(first):
        header, first = first, None
    for part in parts_of(remaining if first is None else chain((first,), remaining), header):
        draft.block("table", part.text)


class Part(NamedTuple):
    """A block of a table. Its last lines are of these rows, counted below the header; of a row, one or several.

    The lines before them are the header's, which `is_first` says to be there for the first time.
    """

    text: str
    rows: Sequence[int]
    is_first: bool


def parts_of(rows: Iterable[Sequence[str]], header: Sequence[str] | None) -> Iterator[Part]:
    """Below a wide header each row is a block, with the name of its column before each value.

    A header without rows is a block too.
    """
    above = line_of(header) if header else ""
    if header and len(above) > _WIDE:
        names = [squeezed(name)[:_NAME] for name in header]
        yield Part(above, (), is_first=True)
        for number, cells in enumerate(rows):
            if text := _record(cells, names):
                yield Part(text, [number] * (text.count("\n") + 1), is_first=False)
        return
    place = 0
    for number, block in enumerate(_grouped(map(line_of, rows), [above] if above else [])):
        count = len(block) - (1 if above else 0)
        yield Part("\n".join(block), range(place, place + count), is_first=not number)
        place += count


def _record(cells: Sequence[str], names: Sequence[str]) -> str:
    """A line for each value: where a long row is cut in two, it is cut between lines."""
    named = zip_longest(names, cells, fillvalue="")
    return "\n".join(f"{name}: {squeezed(cell)}".lstrip(": ") for name, cell in named if cell.strip())


def _grouped(lines: Iterable[str], above: list[str]) -> Iterator[list[str]]:
    block, length = list(above), sum(map(len, above))
    for line in lines:
        if len(block) > len(above) and length + len(line) > BLOCK:
            yield block
            block, length = list(above), sum(map(len, above))
        block.append(line)
        length += len(line) + 1
    if block:
        yield block


def line_of(cells: Sequence[str]) -> str:
    return " | ".join(squeezed(cell) for cell in cells).rstrip(" |")


def looks_like_header(cells: Sequence[str]) -> bool:
    """Words in most of at least two cells, and no number in any."""
    filled = [cell for cell in cells if cell.strip()]
    return len(filled) >= max(_LEAST, len(cells) // 2) and not any(_NUMBER.fullmatch(cell) for cell in filled)
