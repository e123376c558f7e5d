"""Microsoft's compound files: which streams stand at their top. Enough to know what a document is."""

import struct
from collections.abc import Collection, Iterator
from typing import Final

from carrel.domain.errors import Unreadable

MARK: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HEADER: Final = 512
_ENTRY: Final = 128
_FREE: Final = 0xFFFFFFFA  # from here on no number names a sector
_IN_HEADER: Final = 109  # sectors of the table that the header itself names
_LARGE: Final = 4_096
_SMALL: Final = 64
_SECTORS: Final = 4_096  # of the directory: 16,000 streams and more


def streams(content: bytes) -> set[str]:
    """The names in the directory's top level. Raises Unreadable for what is damaged."""
    try:
        entries = list(_directory(content))
        return set(_top(entries))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise Unreadable("The compound file is damaged.") from error


def stream(content: bytes, names: Collection[str]) -> bytes:
    """What is in the first stream of one of these names; nothing if there is none. Raises Unreadable."""
    try:
        entries = list(_directory(content))
        entry = next((one for one in entries if _name(one) in names), None)
        return b"" if entry is None else _stream(content, entries[0], entry)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise Unreadable("The compound file is damaged.") from error


def _stream(content: bytes, root: bytes, entry: bytes) -> bytes:
    """Small ones lie in small sectors, which lie in the root's own stream."""
    start, size = struct.unpack_from("<II", entry, 116)
    if size >= _LARGE:
        return b"".join(_sectors(content, start))[:size]
    inside = b"".join(_sectors(content, struct.unpack_from("<I", root, 116)[0]))
    table = b"".join(_sectors(content, struct.unpack_from("<I", content, 60)[0]))
    found = bytearray()
    while start < _FREE and len(found) < size:
        found += inside[start * _SMALL : (start + 1) * _SMALL]
        start = struct.unpack_from("<I", table, 4 * start)[0]
    return bytes(found[:size])


def _sectors(content: bytes, sector: int) -> Iterator[bytes]:
    size = 1 << struct.unpack_from("<H", content, 30)[0]
    for _ in range(len(content) // size):
        if sector >= _FREE:
            return
        yield content[(sector + 1) * size : (sector + 2) * size]
        sector = _next(content, sector, size)


def _directory(content: bytes) -> Iterator[bytes]:
    size = 1 << struct.unpack_from("<H", content, 30)[0]
    if size not in (512, 4096):
        raise Unreadable("The compound file is damaged.")
    sector = struct.unpack_from("<I", content, 48)[0]
    for _ in range(_SECTORS):
        if sector >= _FREE:
            return
        start = (sector + 1) * size
        for place in range(start, start + size, _ENTRY):
            yield content[place : place + _ENTRY]
        sector = _next(content, sector, size)


def _next(content: bytes, sector: int, size: int) -> int:
    """The sector that follows in the chain, from the table whose own sectors the header names."""
    block, place = divmod(sector, size // 4)
    if block < _IN_HEADER:
        table = struct.unpack_from("<I", content, 76 + 4 * block)[0]
    else:
        table = _listed(content, block - _IN_HEADER, size)
    return int(struct.unpack_from("<I", content, (table + 1) * size + 4 * place)[0])


def _listed(content: bytes, block: int, size: int) -> int:
    """The numbers of the table's sectors go on in a chain of sectors of their own, for files above 7 MB."""
    room = size // 4 - 1
    sector = struct.unpack_from("<I", content, 68)[0]
    for _ in range(block // room):
        sector = struct.unpack_from("<I", content, (sector + 1) * size + 4 * room)[0]
    return int(struct.unpack_from("<I", content, (sector + 1) * size + 4 * (block % room))[0])


def _top(entries: list[bytes]) -> Iterator[str]:
    """The root's children, which form a tree by their left and right neighbours."""
    waiting, seen = [struct.unpack_from("<I", entries[0], 76)[0]], set()
    while waiting:
        number = waiting.pop()
        if number >= len(entries) or number in seen:
            continue
        seen.add(number)
        entry = entries[number]
        yield _name(entry)
        waiting += struct.unpack_from("<II", entry, 68)


def _name(entry: bytes) -> str:
    length = struct.unpack_from("<H", entry, 64)[0]
    return entry[: max(0, min(length, 64) - 2)].decode("utf-16-le")
