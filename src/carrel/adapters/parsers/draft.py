"""A document being written, block by block."""

from carrel.adapters.parsers.characters import clean, squeezed
from carrel.domain.errors import Unreadable
from carrel.domain.text import Block, ParsedDocument

HEADING_LENGTH = 200
HEADING_DEPTH = 8
_GAP = "\n\n"


class Draft:
    """Whatever a format hands in is cleaned once more: an entity such as `&#x202e;` appears only after decoding."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._blocks: list[Block] = []
        self._length = 0
        self._headings: list[tuple[int, str]] = []
        self.first_heading: str | None = None

    def heading(self, level: int, text: str) -> None:
        """Whatever follows stands below it, until a heading of the same or a higher rank."""
        name = squeezed(clean(text))
        if not name:
            return
        self._headings = [(rank, above) for rank, above in self._headings if rank < level]
        self._headings.append((level, name[:HEADING_LENGTH]))
        if level == 1 and self.first_heading is None:
            self.first_heading = name
        self.block("heading", name)

    def block(self, kind: str, text: str, *, path: tuple[str, ...] | None = None, page: int | None = None) -> None:
        """Adds the text unless nothing of it can be seen. `path` overrules the headings written so far."""
        text = clean(text)
        text = text.strip("\n").rstrip() if kind == "code" else text.strip()
        if not text.strip():
            return
        start = self._length + len(_GAP) if self._pieces else 0
        self._length = start + len(text)
        self._pieces.append(text)
        above = path if path is not None else tuple(name for _, name in self._headings)
        self._blocks.append(Block(start, self._length, kind, above[:HEADING_DEPTH], page))

    def finish(self, title: str | None = None) -> ParsedDocument:
        """Raises Unreadable `no_text` when nothing was written."""
        if not self._blocks:
            raise Unreadable("The document holds no text.", code="no_text")
        name = squeezed(clean(title or self.first_heading or ""))
        return ParsedDocument(_GAP.join(self._pieces), tuple(self._blocks), name[:HEADING_LENGTH] or None)
