"""A document being written, block by block."""

import re
from collections.abc import Sequence
from itertools import islice
from typing import Final

from carrel.adapters.parsers.characters import clean, squeezed
from carrel.adapters.parsers.trail import Mark, turns_of
from carrel.adapters.parsers.wire import TURNS
from carrel.domain.errors import Unreadable
from carrel.domain.text import Block, ParsedDocument

HEADING_LENGTH = 200
HEADING_DEPTH = 8
_GAP = "\n\n"
_EMPTY_LINES: Final = re.compile(r"\A(?:[ \t]*\n)+")


class Draft:
    """Whatever a format hands in is cleaned once more: an entity such as `&#x202e;` appears only after decoding."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._blocks: list[Block] = []
        self._length = 0
        self._turns = TURNS  # that may still be noted; beyond them lines are counted on
        self._headings: list[tuple[int, str]] = []
        self.first_heading: str | None = None
        self.page: int | None = None  # of the blocks that name none
        self.scans: list[int] = []
        self._unwritten: str | None = None  # a heading that waits for what stands below it

    @property
    def is_begun(self) -> bool:
        """Whether anything was written."""
        return bool(self._blocks)

    def heading(self, level: int, text: str, *, line: int | None = None, marks: Sequence[Mark] = ()) -> None:
        """Whatever follows stands below it, until a heading of the same or a higher rank."""
        name = squeezed(clean(text))
        if not name:
            return
        self.leave(level)
        self._headings.append((level, name[:HEADING_LENGTH]))
        if level <= 1 and self.first_heading is None:
            self.first_heading = name
        self.block("heading", name, line=line, marks=marks)

    def leave(self, level: int) -> None:
        """Whatever follows stands no longer below a heading of this rank or a lower one."""
        self._headings = [(rank, above) for rank, above in self._headings if rank < level]

    def turn_to(self, page: int, title: str, *, otherwise: str) -> None:
        """A new slide or sheet, with a heading of its own: passages are cut at headings, and must not mix two pages.

        `otherwise` names one without a title, once anything stands on it. One that is called as the one before is told
        apart by its number.
        """
        before = self._headings[0][1] if self._headings else None
        name = squeezed(clean(title))
        self.page, self._headings, self._unwritten = page, [], None if name else otherwise
        self.heading(1, f"{name} ({page})" if name[:HEADING_LENGTH] == before else name)

    def block(
        self,
        kind: str,
        text: str,
        *,
        path: tuple[str, ...] | None = None,
        page: int | None = None,
        line: int | None = None,
        marks: Sequence[Mark] = (),
    ) -> None:
        """Adds the text unless nothing of it can be seen. `path` overrules the headings written so far.

        `line` is that of the text's first line, also when that one is empty and left out. Where the others are not the
        next of the file, `marks` say which they are.
        """
        text = clean(text)
        above_it = text[: len(text) - len(text.lstrip())].count("\n")
        text = _EMPTY_LINES.sub("", text).rstrip() if kind == "code" else text.strip()
        if not text.strip():
            return
        if (name := self._unwritten) is not None:
            self._unwritten = None
            self.heading(1, name)
        start = self._length + len(_GAP) if self._pieces else 0
        self._length = start + len(text)
        self._pieces.append(text)
        above = path if path is not None else tuple(name for _, name in self._headings)
        place = page or self.page
        first = line and next((mark.line for mark in reversed(marks) if not mark.seen), line + above_it)
        turns = tuple(islice(turns_of(text, marks, first), self._turns)) if first else ()
        self._turns -= len(turns)
        self._blocks.append(Block(start, self._length, kind, above[:HEADING_DEPTH], place, first, turns))

    def finish(self, title: str | None = None) -> ParsedDocument:
        """Raises Unreadable `no_text` when nothing was written."""
        if not self._blocks:
            raise Unreadable("The document holds no text.", code="no_text")
        name = squeezed(clean(title or self.first_heading or ""))
        title = name[:HEADING_LENGTH] or None
        return ParsedDocument(_GAP.join(self._pieces), tuple(self._blocks), title, tuple(self.scans))
