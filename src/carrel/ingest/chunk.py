"""Chunking along structure: sections stay together, long blocks are cut at line and sentence ends, nothing is lost."""

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Final

import numpy as np

from carrel.domain.errors import Unreadable
from carrel.domain.library import ChunkRules
from carrel.domain.text import Block, Chunk, ParsedDocument
from carrel.ports.embedder import MOST_TOKENS, Tokens

_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+|\n+")
_SMALL: Final = 4  # a section below this part of the size takes its neighbour in
_TINY: Final = 12  # and below this part also the beginning of a long one
_LONG: Final = 32  # a token of more characters (a word that the embedder does not know) counts as several
_PART: Final = 8  # each of so many
_ROOM: Final = 16  # characters for each token of the size, white space included; plain text needs about five


@dataclass(frozen=True, slots=True)
class _Piece:
    """Tokens `first` to `last` (exclusive) of the document, all of one block. `announces`: it belongs to the next."""

    first: int
    last: int
    block: Block
    announces: bool = False

    @property
    def length(self) -> int:
        return self.last - self.first


_Group = list[_Piece]


def chunk(document: ParsedDocument, tokens: Tokens, rules: ChunkRules) -> list[Chunk]:
    """The same text, tokens and rules always give the same chunks, so indexing can be repeated.

    `tokens` are those of the whole text; no chunk has more than `rules.size` of them, and every one is in some chunk.
    Nor has one more than 16 characters for each token of that size. Raises Unreadable `too_long`.
    """
    tokens = _divided(tokens)
    cutter = _Cutter(document.text, tokens, rules)
    sections = [cutter.groups(section) for section in _sections(cutter.whole(document.blocks))]
    groups = (part for group in _joined(sections, rules.size) for part in cutter.parted(group))
    known: dict[int, int] = {}  # each id as one number, however often it occurs: a long text has millions
    lines = _Lines(document.text)
    return [
        replace(_chunk(document.text, tokens, group, ordinal, known=known), line=lines.first(group, tokens))
        for ordinal, group in enumerate(groups)
    ]


def _divided(tokens: Tokens) -> Tokens:
    """A token that stands for very many characters becomes several with the same id, each with its part of them."""
    lengths = tokens.spans[:, 1] - tokens.spans[:, 0]
    parts = np.where(lengths > _LONG, -(-lengths // _PART), 1)
    total = int(parts.sum())
    if total > MOST_TOKENS:
        raise Unreadable(f"The text has more than {MOST_TOKENS:,} tokens.", code="too_long")
    if total == len(parts):
        return tokens
    place = np.arange(total) - np.repeat(np.cumsum(parts) - parts, parts)
    starts, ends = np.repeat(tokens.spans, parts, axis=0).T
    starts = starts + place * _PART
    ends = np.where(np.repeat(parts > 1, parts), np.minimum(starts + _PART, ends), ends)
    ids = np.repeat(np.array(tokens.ids, np.int32), parts)
    return Tokens(array("i", ids.tobytes()), np.column_stack((starts, ends)).astype(np.int32))


def _sections(pieces: Iterator[_Piece]) -> Iterator[_Group]:
    """A section is a run of headings and what follows them."""
    section: _Group = []
    for piece in pieces:
        if _is_heading(piece) and section and not _is_heading(section[-1]):
            yield section
            section = []
        section.append(piece)
    if section:
        yield section


class _Cutter:
    """Packs sections into groups of at most `rules.size` tokens, and cuts the blocks that are longer."""

    def __init__(self, text: str, tokens: Tokens, rules: ChunkRules) -> None:
        self._text = text
        self._starts: Sequence[int] = array("i", tokens.spans[:, 0].tobytes())
        self._lasts: Sequence[int] = array("i", tokens.spans[:, 1].tobytes())
        self._size = rules.size
        self._most = max(rules.size * _ROOM, _LONG)
        self._overlap = min(rules.overlap, rules.size // 2)

    def whole(self, blocks: tuple[Block, ...]) -> Iterator[_Piece]:
        for block in blocks:
            piece = _Piece(self._place(block.start), self._place(block.end), block, self._announces(block))
            if piece.length:
                yield piece

    def _announces(self, block: Block) -> bool:
        return block.kind == "heading" or self._text[block.start : block.end].rstrip().endswith(":")

    def groups(self, section: _Group) -> list[_Group]:
        """What announces something (a heading, a line that ends in a colon) stays with it."""
        done: list[_Group] = []
        group: _Group = []
        for piece in section:
            if _length(group) + piece.length > self._size:
                carried = _announcing(group, self._size)
                done += [group[: len(group) - len(carried)]] if len(carried) < len(group) else []
                *full, group = self._with_parts(carried, piece)
                done += full
            else:
                group = [*group, piece]
        return _balanced([*done, group], self._size)

    def parted(self, group: _Group) -> Iterator[_Group]:
        """Cut before what goes beyond the characters of a chunk, as after a very long stretch of white space."""
        part: _Group = []
        begin = self._starts[group[0].first]
        for piece in group:
            first = piece.first
            while self._lasts[piece.last - 1] - begin > self._most:
                end = bisect_right(self._lasts, begin + self._most, first, piece.last)
                if end > first:
                    part.append(replace(piece, first=first, last=end))
                yield part
                part, first, begin = [], end, self._starts[end]
            part.append(replace(piece, first=first))
        yield part

    def _with_parts(self, group: _Group, piece: _Piece) -> Iterator[_Group]:
        """The piece cut into parts of about one length, each a group; the first joins the group, if there is room."""
        room = self._size - _length(group)
        if group and room < max(self._size // 2, 1):
            yield group
            group, room = [], self._size
        ends = [] if piece.length <= room else self._ends(piece.block)
        first = piece.first
        while piece.last - first > room:
            end = self._end(ends, first, piece.last - first, room)
            yield [*group, _Piece(first, end, piece.block)]
            group, room = [], self._size
            first = self._resume(ends, first, end)
        yield [*group, replace(piece, first=first)]

    def _end(self, ends: list[int], first: int, rest: int, room: int) -> int:
        """The line or sentence end that comes nearest to parts of one length."""
        parts = -(-max(rest - self._overlap, 1) // max(room - self._overlap, 1))
        wanted = first + min(-(-(rest + (parts - 1) * self._overlap) // parts), room)
        least, most = first + max(room // 2, self._overlap) + 1, first + room
        near = ends[bisect_left(ends, least) : bisect_right(ends, most)]
        return min(near, key=lambda end: abs(end - wanted), default=min(max(wanted, least), most))

    def _resume(self, ends: list[int], first: int, end: int) -> int:
        """The next part repeats what ended this one, in whole lines or sentences where there are any."""
        earliest = max(end - self._overlap, first + 1)
        place = bisect_left(ends, earliest)
        return ends[place] if place < len(ends) and ends[place] < end else earliest

    def _ends(self, block: Block) -> list[int]:
        matches = _SENTENCE_END.finditer(self._text, block.start, block.end)
        return [self._place(match.end()) for match in matches]

    def _place(self, character: int) -> int:
        return bisect_left(self._starts, character)


class _Lines:
    """Counts on from where it counted last: a block may be as long as the document, and be cut into thousands."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._begin: tuple[int, int] | None = None
        self._place = self._ends = 0

    def first(self, group: _Group, tokens: Tokens) -> int | None:
        """The line of the file on which the group begins."""
        place = int(tokens.spans[group[0].first, 0])
        begin = group[0].block.counted_from(place)
        if begin is None:
            return None
        if begin != self._begin or place < self._place:
            self._begin, self._place, self._ends = begin, begin[0], 0
        self._ends += self._text.count("\n", self._place, place)
        self._place = place
        return begin[1] + self._ends


def _announcing(group: _Group, size: int) -> _Group:
    """The headings and lead-ins that end a group; a long paragraph that ends in a colon says something itself."""
    count = 0
    while count < len(group) and _announces(group[-1 - count], size):
        count += 1
    return group[len(group) - count :]


def _announces(piece: _Piece, size: int) -> bool:
    return piece.announces and (_is_heading(piece) or piece.length <= size // _SMALL)


def _balanced(groups: list[_Group], size: int) -> list[_Group]:
    """A section does not end in a crumb while the group before has something to give."""
    if len(groups) < 2:  # noqa: PLR2004 - a pair
        return groups
    *done, before, last = groups
    while _length(last) < size // _SMALL and _may_give(before, last, size):
        before, last = before[:-1], [before[-1], *last]
    return [*done, before, last]


def _may_give(before: _Group, last: _Group, size: int) -> bool:
    given = before[-1]
    return (
        len(before) > 1
        and not _is_heading(before[-2])
        and given.last <= last[0].first
        and _length(last) + given.length <= min(size, _length(before) - given.length)
    )


def _joined(sections: list[list[_Group]], size: int) -> Iterator[_Group]:
    """A small section and the next one, where both belong under one heading."""
    small: _Group = []
    for section in sections:
        head, *others = section
        if small and not _may_join(small, section, size):
            yield small
            small = []
        head = [*small, *head]
        small = head if not others and _length(head) < size // _SMALL else []
        if not small:
            yield head
            yield from others
    if small:
        yield small


def _may_join(small: _Group, section: list[_Group], size: int) -> bool:
    fits = _length(small) + _length(section[0]) <= size
    above = small[-1].block.heading_path[:-1]
    related = bool(above) and section[0][-1].block.heading_path[: len(above)] == above
    below = section[0][-1].block.heading_path[: len(above) + 1] == small[-1].block.heading_path
    return fits and (related or below) and (len(section) == 1 or _length(small) < size // _TINY)


def _is_heading(piece: _Piece) -> bool:
    return piece.block.kind == "heading"


def _length(group: _Group) -> int:
    return sum(piece.length for piece in group)


def _chunk(text: str, tokens: Tokens, group: _Group, ordinal: int, *, known: dict[int, int]) -> Chunk:
    first, last = group[0].first, group[-1].last
    start, end = int(tokens.spans[first, 0]), int(tokens.spans[last - 1, 1])
    return Chunk(
        ordinal=ordinal,
        text=text[start:end],
        heading_path=_common_path(group),
        page=group[0].block.page,
        start=start,
        end=end,
        tokens=tuple(
            known.setdefault(token, token) for piece in group for token in tokens.ids[piece.first : piece.last]
        ),
    )


def _common_path(group: _Group) -> tuple[str, ...]:
    """The headings under which all of it stands; a heading alone stands under itself."""
    paths = [piece.block.heading_path for piece in group if not _is_heading(piece)] or [group[-1].block.heading_path]
    return tuple(same[0] for same in takewhile(lambda names: len(set(names)) == 1, zip(*paths, strict=False)))
