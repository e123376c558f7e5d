"""Turns tags and text, in order, into a document's blocks. HTML has such tags, and so has parsed Markdown."""

import re
from collections.abc import Callable

from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.regions import (
    BREAKING,
    HEADINGS,
    LISTS,
    ListRegion,
    PreRegion,
    Region,
    TableRegion,
    collapsed,
)
from carrel.adapters.parsers.trail import Trail

_REGIONS: dict[str, Callable[[], Region]] = {"pre": PreRegion, "table": TableRegion, **dict.fromkeys(LISTS, ListRegion)}
_AROUND_LINE_ENDS = re.compile(r" ?\n ?")


class TagWriter:
    """Every `enter` has its `leave`, as in a tree. Call `flush` at the end."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._words = Trail()
        self._region: Region | None = None
        self._depth = 0  # open tags since the region began, its own included
        self._line: int | None = None

    def at(self, line: int) -> None:
        """A block begins here, and stands on this line of the file."""
        if self._region is None:
            self.flush()
            self._line = line
        self.go_on(line)

    def go_on(self, line: int) -> None:
        """Within a block: what is written from here on stands on this line of the file."""
        if self._line is not None:
            (self._region or self._words).at(line)

    def text(self, text: str) -> None:
        if self._region:
            self._region.text(text)
        else:
            self._words.add(collapsed(text))

    def enter(self, tag: str, *, start: int = 1) -> None:
        """`start` is the number of an ordered list's first item."""
        if self._region is None and tag in _REGIONS:
            self.flush()
            self._region = _REGIONS[tag]()
        if self._region:
            self._region.enter(tag, start=start)
            self._depth += 1
        elif tag == "br":
            self._words.add("\n")
        elif tag in BREAKING:
            self.flush()

    def leave(self, tag: str) -> None:
        if self._region:
            self._region.leave(tag)
            self._depth -= 1
            self._close()
        elif tag in HEADINGS:
            words, marks = self._words.taken()
            self._draft.heading(HEADINGS[tag], words, line=self._line, marks=marks)
        elif tag in BREAKING and tag != "br":
            self.flush()

    def flush(self) -> None:
        words, marks = self._words.taken()
        self._draft.block("paragraph", _AROUND_LINE_ENDS.sub("\n", words), line=self._line, marks=marks)

    def _close(self) -> None:
        if self._region and self._depth == 0:
            for written in self._region.blocks():
                self._draft.block(self._region.kind, written.text, line=self._line, marks=written.marks)
            self._region = None
