"""Which line of the file each part of a text stands on, however the text was put together from it.

A mark says how many visible characters come before it: white space may be collapsed, added or taken away afterwards,
and invisible characters too, without moving any mark.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

from carrel.adapters.parsers.characters import clean

_WORD: Final = re.compile(r"\S+")


class Mark(NamedTuple):
    """Behind so many visible characters the text stands on this line."""

    seen: int
    line: int


class Trail:
    """Text that is being written, and where in the file its parts stand."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._counted = 0  # pieces whose characters are in `_seen`
        self._seen = 0
        self._marks: list[Mark] = []

    def add(self, text: str) -> None:
        self._pieces.append(text)

    def at(self, line: int) -> None:
        """What is added from here on stands on this line."""
        self._seen += sum(visible(piece) for piece in self._pieces[self._counted :])
        self._counted = len(self._pieces)
        if self._marks and self._marks[-1].seen == self._seen:
            self._marks.pop()
        self._marks.append(Mark(self._seen, line))

    def taken(self) -> tuple[str, Sequence[Mark]]:
        """All of it; then the trail is empty."""
        text, marks = "".join(self._pieces), self._marks
        self._pieces, self._marks, self._counted, self._seen = [], [], 0, 0
        return text, marks


class Seeker:
    """Finds parts of a text that begins on `line`; they are asked for in their order."""

    def __init__(self, source: str, line: int) -> None:
        self._source = source
        self._line = line
        self._place = 0

    def line_of(self, part: str) -> int | None:
        """None for a part that is not written like this."""
        words = part.strip()
        place = self._source.find(words, self._place) if words else -1
        if place < 0:
            return None
        self._line += self._source.count("\n", self._place, place)
        self._place = place + len(words)
        return self._line


def visible(text: str) -> int:
    return len("".join(clean(text).split()))


def marks_of(text: str, lines: Iterable[int | None]) -> list[Mark]:
    """For a text whose lines are told one by one, as far as they are known."""
    marks, seen = [], 0
    for part, line in zip(text.split("\n"), lines, strict=True):
        if line is not None:
            marks.append(Mark(seen, line))
        seen += visible(part)
    return marks


def turns_of(text: str, marks: Iterable[Mark], line: int) -> Iterator[tuple[int, int]]:
    """Places of the text, which begins on `line`, where its line is not what one gets by counting line ends."""
    counted = 0
    for place, told in _places(text, marks):
        line += text.count("\n", counted, place)
        counted = place
        if line != told:
            line = told
            yield place, told


def _places(text: str, marks: Iterable[Mark]) -> Iterator[tuple[int, int]]:
    """Of several marks at one place the last one counts: nothing was said behind the others."""
    words, seen, start, end = _WORD.finditer(text), 0, 0, 0
    for behind, same in groupby(marks, key=itemgetter(0)):
        *_, mark = same
        while behind >= seen + end - start:
            word = next(words, None)
            if word is None:
                return
            seen += end - start
            start, end = word.span()
        yield start + behind - seen, mark.line
