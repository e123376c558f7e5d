"""Tokens whose ids are the text itself, for models whose own tokenizer lies elsewhere.

An id holds up to four letters, three digits, two other signs, or fewer characters of a larger alphabet, and says what
stands after them: nothing, a space, a line's end, an empty line. So chunking counts in the order of a provider's
tokens, the ids are enough to write the text again, and white space is all that differs.

Bits of an id: 0 to 27 the characters, 28 and 29 what stands after them, 30 and 31 the width of a character.
"""

from array import array
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carrel.domain.errors import Unreadable
from carrel.ports.embedder import MOST_TOKENS, Spans, Tokens

_Numbers = NDArray[np.uint32]

_PIECE: Final = 50_000  # characters read at once: bounds memory
_SPACE, _LETTER, _DIGIT, _SIGN, _ALPHABET, _OTHER = range(6)
_MOST: Final = np.array([1, 4, 3, 2, 2, 1], np.int32)  # characters of a kind in one token
_WIDTH: Final = np.array([0, 0, 0, 0, 1, 2], np.uint32)
_BITS: Final = np.array([7, 14, 21, 21], np.uint32)
_HELD: Final = np.array([4, 2, 1, 1], np.uint32)
_WIDE: Final = 0x4000  # from here on a character takes an id for itself
_SPACES: Final = (0x1680, *range(0x2000, 0x200C), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF)
_NEWLINE, _UNKNOWN, _LAST_ASCII, _LAST_CONTROL = 10, ord("?"), 127, 0xA0
_HALF: Final = 0xD800 >> 11
_AFTER: Final = np.array([[0, 0], [32, 0], [10, 0], [10, 10]], np.uint32)


def _kinds() -> NDArray[np.int8]:
    """Of each character below _WIDE."""
    kinds = np.full(_WIDE, _ALPHABET, np.int8)
    kinds[: _LAST_ASCII + 1] = [
        _LETTER if chr(code).isalpha() else _DIGIT if chr(code).isdigit() else _SIGN for code in range(_LAST_ASCII + 1)
    ]
    kinds[:33] = _SPACE
    kinds[_LAST_ASCII : _LAST_CONTROL + 1] = _SPACE
    kinds[[code for code in _SPACES if code < _WIDE]] = _SPACE
    return kinds


_KINDS: Final = _kinds()


def tokenize(text: str) -> Tokens:
    """Raises Unreadable `too_long` beyond MOST_TOKENS."""
    ids, spans, count = [], [np.empty((0, 2), np.int32)], 0
    last: _Numbers | None = None
    for offset in range(0, len(text), _PIECE):
        codes = _codes(text[offset : offset + _PIECE])
        found, places, before = _tokens(codes)
        if last is not None and before > last[-1] >> 28 & 3:
            last[-1] = last[-1] & ~np.uint32(3 << 28) | np.uint32(before << 28)
        if not len(found):
            continue
        count += len(found)
        if count > MOST_TOKENS:
            raise Unreadable(f"The text has more than {MOST_TOKENS:,} tokens.", code="too_long")
        ids.append(found)
        spans.append(places + np.int32(offset))
        last = found
    return Tokens(array("i", b"".join(part.tobytes() for part in ids)), np.concatenate(spans))


def text_of(ids: Sequence[int]) -> str:
    """What the ids were made of, with its white space made plain and none around it."""
    numbers = np.array(ids, np.int32).view(np.uint32)
    width = numbers >> 30
    bits, held = _BITS[width], _HELD[width]
    mask = (np.uint32(1) << bits) - np.uint32(1)
    payload = numbers & np.uint32((1 << 28) - 1)
    slots = np.zeros((len(numbers), 6), np.uint32)
    for place in range(4):
        shift = np.minimum(bits * np.uint32(place), np.uint32(31))
        slots[:, place] = np.where(place < held, (payload >> shift) & mask, 0)
    slots[:, 4:] = _AFTER[(numbers >> 28) & 3]
    flat = slots.reshape(-1)
    return flat[flat > 0].astype("<u4").tobytes().decode("utf-32-le", "replace").strip()


def _codes(text: str) -> _Numbers:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32)
    codes[codes >> 11 == _HALF] = _UNKNOWN  # half a surrogate pair; the mark keeps its place
    return codes


def _tokens(codes: _Numbers) -> tuple[_Numbers, Spans, int]:
    """Their ids, the characters of each, and what stands before the first."""
    size = len(codes)
    kinds = np.where(codes < _WIDE, _KINDS[np.minimum(codes, _WIDE - 1)], _OTHER)
    kinds[np.isin(codes, _SPACES)] = _SPACE
    begins = np.flatnonzero(np.concatenate(([True], kinds[1:] != kinds[:-1])))
    lengths = np.diff(np.append(begins, size))
    place = np.arange(size) - np.repeat(begins, lengths)
    starts = np.flatnonzero((kinds > _SPACE) & (place % _MOST[kinds] == 0))
    run = np.searchsorted(begins, starts, "right") - 1
    ends = np.minimum(starts + _MOST[kinds[starts]], begins[run] + lengths[run])
    lines = np.concatenate(([0], np.cumsum(codes == _NEWLINE)))
    following = np.append(starts[1:], size)
    after = _gap(following - ends, lines[following] - lines[ends])
    width = _WIDTH[kinds[starts]]
    ids = _packed(codes, starts, ends, _BITS[width]) | (after << np.uint32(28)) | (width << np.uint32(30))
    first = int(starts[0]) if len(starts) else size
    before = int(_gap(np.array([first]), lines[[first]])[0])
    return ids.astype(np.uint32), np.column_stack((starts, ends)).astype(np.int32), before


def _packed(codes: _Numbers, starts: NDArray[np.int64], ends: NDArray[np.int64], bits: _Numbers) -> _Numbers:
    packed = np.zeros(len(starts), np.uint32)
    for place in range(4):
        there = starts + place < ends
        shift = np.where(there, bits * np.uint32(place), 0).astype(np.uint32)
        packed |= np.where(there, codes[np.minimum(starts + place, len(codes) - 1)], 0).astype(np.uint32) << shift
    return packed


def _gap(characters: NDArray[np.int64], lines: NDArray[np.int64]) -> _Numbers:
    """Nothing, a space, a line's end or an empty line."""
    return np.where(lines > 0, np.minimum(lines, 2) + 1, np.minimum(characters, 1)).astype(np.uint32)
