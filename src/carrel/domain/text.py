"""A document as text: what a parser returns and what chunking cuts."""

from bisect import bisect_right
from dataclasses import dataclass
from operator import itemgetter


@dataclass(frozen=True, slots=True)
class Block:
    """One paragraph, list, table, code block or heading: `text[start:end]` of the document, with its place.

    `heading_path` holds the headings above it, outermost first (a heading block's own text is the last of its path).
    `page` is 1-based where the format has pages, `line` where people cite lines: that of the block's first one. Each
    further line is the next of the file, unless a turn says otherwise: (characters behind `start`, the line there).
    """

    start: int
    end: int
    kind: str
    heading_path: tuple[str, ...] = ()
    page: int | None = None
    line: int | None = None
    turns: tuple[tuple[int, int], ...] = ()

    def counted_from(self, place: int) -> tuple[int, int] | None:
        """From which place of the text on lines are counted to get to this one, and that place's line."""
        if self.line is None:
            return None
        last = bisect_right(self.turns, place - self.start, key=itemgetter(0))
        behind, line = self.turns[last - 1] if last else (0, self.line)
        return self.start + behind, line


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """Blocks are in reading order and do not overlap. The text holds no control character but newline and tab.

    `scans` are pages that show something and hold no text: what is written there has to be recognised.
    """

    text: str
    blocks: tuple[Block, ...]
    title: str | None = None
    scans: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """What we index: a span of the document's text, and the token ids that the embedder gave it."""

    ordinal: int
    text: str
    heading_path: tuple[str, ...]
    page: int | None
    start: int
    end: int
    tokens: tuple[int, ...]
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """A word as the lexical index sees it: `stem` is what is compared, `surface` what a person wrote."""

    stem: str
    surface: str
