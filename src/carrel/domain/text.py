"""A document as text: what a parser returns and what chunking cuts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Block:
    """One paragraph, list, table, code block or heading: `text[start:end]` of the document, with its place.

    `heading_path` holds the headings above it, outermost first (a heading block's own text is the last of its path).
    `page` is 1-based where the format has pages, `line` where people cite lines: that of the block's first one. Each
    further one is the next of the file, but `repeated` of them are not (a table's header that is written once more),
    or, below zero, as many more of the file come before them.
    """

    start: int
    end: int
    kind: str
    heading_path: tuple[str, ...] = ()
    page: int | None = None
    line: int | None = None
    repeated: int = 0

    def line_after(self, ends: int) -> int | None:
        """The line of the file behind so many line ends of this block."""
        return self.line and self.line + (max(ends - self.repeated, 0) if ends else 0)


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """Blocks are in reading order and do not overlap. The text holds no control character but newline and tab."""

    text: str
    blocks: tuple[Block, ...]
    title: str | None = None


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
