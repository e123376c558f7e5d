"""Parts of a page that stay one block: a list, a table, preformatted text. Whatever stands inside becomes its lines."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from carrel.adapters.parsers import tables
from carrel.adapters.parsers.characters import squeezed

LISTS = frozenset({"ul", "ol", "menu"})
HEADINGS = {f"h{level}": level for level in range(1, 7)}
BREAKING = frozenset({
    *HEADINGS, *LISTS, "address", "article", "blockquote", "body", "br", "caption", "center", "dd", "details", "dialog",
    "div", "dl", "dt", "fieldset", "figcaption", "figure", "form", "header", "hgroup", "hr", "legend", "li", "main",
    "option", "p", "pre", "search", "section", "summary", "table", "tr",
})  # fmt: skip
_SPACES = re.compile(r"[ \t\n\r\f]+")
_DEEPEST = 9  # indenting for every level would let 100,000 lists in each other write gigabytes
_CELLS = frozenset({"td", "th"})


def collapsed(text: str) -> str:
    """Text as a browser sets it: any white space is one space."""
    return _SPACES.sub(" ", text)


@dataclass(frozen=True, slots=True)
class Written:
    """A block, how many lines behind its region's first it begins, and `repeated` as for `Block`.

    The lines are Markdown's, which rules one below the header of a table and writes each row as one.
    """

    text: str
    after: int = 0
    repeated: int = 0


class Region(Protocol):
    """Takes the tags and the text between its own opening and closing tag, both included."""

    kind: str

    def text(self, text: str) -> None: ...
    def enter(self, tag: str, *, start: int) -> None: ...
    def leave(self, tag: str) -> None: ...
    def blocks(self) -> Iterable[Written]: ...


class ListRegion:
    """One line per item, indented by its depth, with `-` or its number."""

    kind = "list"

    def __init__(self) -> None:
        self._words: list[str] = []
        self._numbers: list[int | None] = []  # per open list its next number, None without numbers
        self._preformatted = 0
        self._fresh = False  # nothing stands behind the mark yet: `<li><p>` opens no second line

    def text(self, text: str) -> None:
        if not self._preformatted:
            text = collapsed(text).lstrip() if self._fresh else collapsed(text)
        self._words.append(text)
        self._fresh = self._fresh and not text

    def enter(self, tag: str, *, start: int) -> None:
        if tag == "li":
            self._words.append(self._mark())
            self._fresh = True
        elif tag in BREAKING:
            self._break()
        if tag in LISTS:
            self._numbers.append(start if tag == "ol" else None)
        self._preformatted += tag == "pre"

    def leave(self, tag: str) -> None:
        if tag in LISTS:
            self._numbers.pop()
        self._preformatted -= tag == "pre"
        if tag in BREAKING and tag != "br":
            self._break()

    def blocks(self) -> Iterable[Written]:
        yield Written("\n".join(line.rstrip() for line in "".join(self._words).split("\n") if line.strip()))

    def _break(self) -> None:
        if not self._fresh:
            self._words.append("\n")

    def _mark(self) -> str:
        indent = "\n" + "  " * min(len(self._numbers) - 1, _DEEPEST)
        number = self._numbers[-1]
        if number is None:
            return f"{indent}- "
        self._numbers[-1] = number + 1
        return f"{indent}{number}. "


class TableRegion:
    """One line per row, ` | ` between its cells. A table inside a cell is part of the cell's text."""

    kind = "table"

    def __init__(self) -> None:
        self._rows: list[list[str]] = []
        self._header: int | None = None  # its place among the rows
        self._named = True  # nothing but cells with names stands in this row
        self._cells: list[str] = []
        self._words: list[str] = []
        self._depth = 0

    def text(self, text: str) -> None:
        self._words.append(text)

    def enter(self, tag: str, *, start: int) -> None:  # noqa: ARG002 - lists have numbers
        if tag in _CELLS:
            if self._depth == 0:
                self._stray()
                self._named = self._named and tag == "th"
            self._depth += 1
        elif tag in BREAKING:
            self._words.append(" ")

    def leave(self, tag: str) -> None:
        if tag in _CELLS:
            self._depth -= 1
            self._words.append(" ")
            if self._depth == 0:
                self._cells.append(self._taken())
        elif self._depth == 0 and tag in BREAKING:
            self._row()

    def blocks(self) -> Iterable[Written]:
        """A long table is several, each with the header."""
        self._row()
        if self._header is None:
            return map(Written, tables.blocks_of(self._rows, None))
        captions, header, rows = self._rows[: self._header], self._rows[self._header], self._rows[self._header + 1 :]
        first, *others = tables.blocks_of(rows, header)
        above = "\n".join([*map(tables.line_of, captions), first])
        return [Written(above, repeated=-1), *_below(first, others)]

    def _row(self) -> None:
        self._stray()
        if any(self._cells):
            self._rows.append(self._cells.copy())
            if self._named and self._header is None:
                self._header = len(self._rows) - 1
        self._named = True
        self._cells.clear()

    def _stray(self) -> None:
        """A caption, or text that its author put between the cells."""
        if words := self._taken():
            self._rows.append([words])

    def _taken(self) -> str:
        words = squeezed("".join(self._words))
        self._words.clear()
        return words


def _below(first: str, others: Sequence[str]) -> Iterator[Written]:
    """What follows a table's first block: rows below the header again, or one row, a line for each value."""
    rows = first.count("\n")
    is_wide = not rows
    for text in others:
        lines = text.count("\n")
        yield Written(text, after=2 + rows, repeated=lines + 1 if is_wide else 1)
        rows += 1 if is_wide else lines


class PreRegion:
    """The text as it is written."""

    kind = "code"

    def __init__(self) -> None:
        self._words: list[str] = []

    def text(self, text: str) -> None:
        self._words.append(text)

    def enter(self, tag: str, *, start: int) -> None:  # noqa: ARG002 - lists have numbers
        if tag == "br":
            self._words.append("\n")

    def leave(self, tag: str) -> None:
        """Nothing inside ends a line but a line end."""

    def blocks(self) -> Iterable[Written]:
        yield Written("".join(self._words))
