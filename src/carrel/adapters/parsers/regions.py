"""Parts of a page that stay one block: a list, a table, preformatted text. Whatever stands inside becomes its lines."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from carrel.adapters.parsers import tables
from carrel.adapters.parsers.characters import squeezed
from carrel.adapters.parsers.trail import Mark, Trail, marks_of

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


class Written(NamedTuple):
    """A block, and where in the file its parts stand, if that was told."""

    text: str
    marks: Sequence[Mark] = ()


class Region(Protocol):
    """Takes the tags and the text between its own opening and closing tag, both included."""

    kind: str

    def at(self, line: int) -> None: ...
    def text(self, text: str) -> None: ...
    def enter(self, tag: str, *, start: int) -> None: ...
    def leave(self, tag: str) -> None: ...
    def blocks(self) -> Iterable[Written]: ...


class ListRegion:
    """One line per item, indented by its depth, with `-` or its number."""

    kind = "list"

    def __init__(self) -> None:
        self._words = Trail()
        self._numbers: list[int | None] = []  # per open list its next number, None without numbers
        self._preformatted = 0
        self._fresh = False  # nothing stands behind the mark yet: `<li><p>` opens no second line

    def at(self, line: int) -> None:
        self._words.at(line)

    def text(self, text: str) -> None:
        if not self._preformatted:
            text = collapsed(text).lstrip() if self._fresh else collapsed(text)
        self._words.add(text)
        self._fresh = self._fresh and not text

    def enter(self, tag: str, *, start: int) -> None:
        if tag == "li":
            self._words.add(self._mark())
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
        words, marks = self._words.taken()
        yield Written("\n".join(line.rstrip() for line in words.split("\n") if line.strip()), marks)

    def _break(self) -> None:
        if not self._fresh:
            self._words.add("\n")

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
        self._lines: list[int | None] = []  # of the rows, where they are told
        self._line: int | None = None  # on which this row begins
        self._header: int | None = None  # its place among the rows
        self._named = True  # nothing but cells with names stands in this row
        self._cells: list[str] = []
        self._words: list[str] = []
        self._depth = 0

    def at(self, line: int) -> None:
        if self._line is None:
            self._line = line

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
        above = 0 if self._header is None else self._header + 1
        captions = list(map(tables.line_of, self._rows[: max(above - 1, 0)]))
        for part in tables.parts_of(self._rows[above:], self._rows[above - 1] if above else None):
            text = "\n".join([*captions, part.text])
            yield Written(text, self._marks(text, [above + row for row in part.rows], is_first=part.is_first))
            captions = []

    def _marks(self, text: str, rows: Sequence[int], *, is_first: bool) -> Sequence[Mark]:
        """A header that is there again leads to what stands below it."""
        above = text.count("\n") + 1 - len(rows)
        places = [*(range(above) if is_first else [rows[0]] * above), *rows]
        return marks_of(text, (self._lines[place] for place in places))

    def _row(self) -> None:
        self._stray()
        if any(self._cells):
            self._add(self._cells.copy())
            if self._named and self._header is None:
                self._header = len(self._rows) - 1
        self._named = True
        self._line = None
        self._cells.clear()

    def _stray(self) -> None:
        """A caption, or text that its author put between the cells."""
        if words := self._taken():
            self._add([words])

    def _add(self, row: list[str]) -> None:
        self._rows.append(row)
        self._lines.append(self._line)

    def _taken(self) -> str:
        words = squeezed("".join(self._words))
        self._words.clear()
        return words


class PreRegion:
    """The text as it is written."""

    kind = "code"

    def __init__(self) -> None:
        self._words: list[str] = []

    def at(self, line: int) -> None:
        """Its lines are those of the file."""

    def text(self, text: str) -> None:
        self._words.append(text)

    def enter(self, tag: str, *, start: int) -> None:  # noqa: ARG002 - lists have numbers
        if tag == "br":
            self._words.append("\n")

    def leave(self, tag: str) -> None:
        """Nothing inside ends a line but a line end."""

    def blocks(self) -> Iterable[Written]:
        yield Written("".join(self._words))
