"""Chunking along structure: sections stay together, long blocks are cut at line and sentence ends, nothing is lost."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from carrel.domain.library import ChunkRules
from carrel.domain.text import Block, Chunk, ParsedDocument
from carrel.ports.embedder import Tokens

_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+|\n+")
_SMALL: Final = 4


@dataclass(frozen=True, slots=True)
class _Piece:
    """Tokens `first` to `last` (exclusive) of the document, all of one block."""

    first: int
    last: int
    block: Block

    @property
    def length(self) -> int:
        return self.last - self.first


def chunk(document: ParsedDocument, tokens: Tokens, rules: ChunkRules) -> list[Chunk]:
    """The same text, tokens and rules always give the same chunks, so indexing can be repeated.

    `tokens` are those of the whole text; no chunk has more than `rules.size` of them, and every one is in some chunk.
    """
    starts = [start for start, _ in tokens.spans]
    pieces = [piece for block in document.blocks for piece in _cut(document.text, block, starts, rules)]
    groups = _pack(pieces, rules.size)
    return [_chunk(document.text, tokens, group, ordinal) for ordinal, group in enumerate(groups)]


def _cut(text: str, block: Block, starts: list[int], rules: ChunkRules) -> Iterator[_Piece]:
    first, last = bisect_left(starts, block.start), bisect_left(starts, block.end)
    if last - first <= rules.size:
        if last > first:
            yield _Piece(first, last, block)
        return
    ends = [bisect_left(starts, block.start + match.end()) for match in _matches(text, block)]
    while last - first > rules.size:
        end = _best_end(ends, first, rules.size)
        yield _Piece(first, end, block)
        first = max(end - rules.overlap, first + 1)
    yield _Piece(first, last, block)


def _matches(text: str, block: Block) -> Iterator[re.Match[str]]:
    return _SENTENCE_END.finditer(text[block.start : block.end])


def _best_end(ends: list[int], first: int, size: int) -> int:
    """The last sentence end in the second half of the window, or the window's end."""
    place = bisect_left(ends, first + size + 1) - 1
    if place >= 0 and ends[place] > first + size // 2:
        return ends[place]
    return first + size


def _pack(pieces: list[_Piece], size: int) -> Iterator[list[_Piece]]:
    """Pieces of one section together; a section that is small takes the next one in, so that no chunk is a crumb."""
    group: list[_Piece] = []
    length = 0
    for piece in pieces:
        new_section = bool(group) and piece.block.kind == "heading" and length >= size // _SMALL
        if group and (new_section or length + piece.length > size or _overlaps(group[-1], piece)):
            heading = _trailing_heading(group)
            yield group[: len(group) - len(heading)] or group
            group = heading if len(heading) < len(group) else []
            length = sum(held.length for held in group)
            if group and length + piece.length > size:
                yield group
                group, length = [], 0
        group.append(piece)
        length += piece.length
    if group:
        yield group


def _overlaps(before: _Piece, piece: _Piece) -> bool:
    return piece.first < before.last


def _trailing_heading(group: list[_Piece]) -> list[_Piece]:
    """Headings at the end of a group belong to what follows."""
    count = 0
    while count < len(group) and group[-1 - count].block.kind == "heading":
        count += 1
    return group[len(group) - count :] if count else []


def _chunk(text: str, tokens: Tokens, group: list[_Piece], ordinal: int) -> Chunk:
    first, last = group[0].first, group[-1].last
    start, end = tokens.spans[first][0], tokens.spans[last - 1][1]
    body = next((piece.block for piece in group if piece.block.kind != "heading"), group[0].block)
    return Chunk(
        ordinal=ordinal,
        text=text[start:end],
        heading_path=body.heading_path,
        page=group[0].block.page,
        start=start,
        end=end,
        tokens=_ids(tokens, group),
    )


def _ids(tokens: Tokens, group: list[_Piece]) -> tuple[int, ...]:
    return tuple(token for piece in group for token in tokens.ids[piece.first : piece.last])
