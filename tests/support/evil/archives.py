"""Evil archives: bombs, names that lead out, links, passwords, and tables of contents that lie."""

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from types import MappingProxyType
from typing import Any, Final

from support import offices
from support.evil.packages import SAID, said_in_word, word, zipped

_DOCUMENT: Final = "word/document.xml"


def _with(name: str, content: bytes = b"evil", **fields: Any) -> Callable[[], bytes]:
    """A sound document, and one more member with these fields."""

    def make() -> bytes:
        target = BytesIO(zipped(word()))
        with zipfile.ZipFile(target, "a") as archive:
            member = zipfile.ZipInfo(name)
            for field, value in fields.items():
                setattr(member, field, value)
            archive.writestr(member, content)
        return target.getvalue()

    return make


def _packed(pieces: Iterable[bytes]) -> tuple[bytes, int, int]:
    """Raw deflated bytes, with the sum and the size of what was packed; it never stands in memory."""
    press, crc, size, done = zlib.compressobj(9, zlib.DEFLATED, -15), 0, 0, []
    for piece in pieces:
        crc, size = zlib.crc32(piece, crc), size + len(piece)
        done.append(press.compress(piece))
    return b"".join([*done, press.flush()]), crc, size


def _by_hand(members: Iterable[tuple[str, bytes, int, int]], *, shared: bool = False) -> bytes:
    """Name, packed bytes, sum, size. `shared`: every line of the table of contents leads to the first member."""
    body, table, count = bytearray(), bytearray(), 0
    for name, packed, crc, size in members:
        count += 1
        raw, place = name.encode(), 0 if shared else len(body)
        fields = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0, crc, len(packed), size & 0xFFFFFFFF, len(raw), 0)
        if not (shared and body):
            body += b"PK\x03\x04" + fields + raw + packed
        table += b"PK\x01\x02\x14\0" + fields + struct.pack("<HHHII", 0, 0, 0, 0, place) + raw
    end = struct.pack("<HHHHIIH", 0, 0, count & 0xFFFF, count & 0xFFFF, len(table), len(body), 0)
    return bytes(body + table + b"PK\x05\x06" + end)


def _members(members: Mapping[str, bytes | str]) -> Iterable[tuple[str, bytes, int, int]]:
    for name, content in members.items():
        yield name, *_packed([content.encode() if isinstance(content, str) else content])


def _bomb(megabytes: int) -> bytes:
    letters = b"<w:p><w:r><w:t>evil evil evil</w:t></w:r></w:p>" * 22_000
    begin, end = said_in_word().encode().split(b"</w:body>")
    pieces = (begin, *[letters] * megabytes, b"</w:body>" + end)
    parts = {name: content for name, content in word().items() if name != _DOCUMENT}
    return _by_hand([*_members(parts), (_DOCUMENT, *_packed(pieces))])


def _bomb_that_lies() -> bytes:
    packed, crc, _ = _packed([b"x" * 1_000_000] * 300)
    parts = {name: content for name, content in word().items() if name != _DOCUMENT}
    return _by_hand([*_members(parts), (_DOCUMENT, packed, crc, 100)])


def _many_bombs() -> bytes:
    packed, crc, size = _packed([b"x" * 1_000_000] * 15)
    return _by_hand([*_members(word()), *[(f"word/media/{number}.png", packed, crc, size) for number in range(60)]])


def _overlapping() -> bytes:
    packed, crc, size = _packed([said_in_word("<w:p/>" * 100_000).encode()])
    return _by_hand([(f"word/{number}.xml", packed, crc, size) for number in range(9_000)], shared=True)


def _of_absurd_size() -> bytes:
    packed, crc, _ = _packed([said_in_word().encode()])
    parts = {name: content for name, content in word().items() if name != _DOCUMENT}
    return _by_hand([*_members(parts), (_DOCUMENT, packed, crc, 0xFFFFFFFE)])


def _within_each_other(depth: int) -> bytes:
    inner = zipped({"evil": b"evil"})
    for _ in range(depth):
        inner = zipped({"evil.zip": inner})
    return zipped(word(word__embeddings__evil_zip=inner))


def _same_name_twice() -> bytes:
    return _by_hand([*_members(word()), *_members(word(said_in_word("<w:p/>")))])


def _another_name_inside() -> bytes:
    whole = _by_hand(_members(word()))
    return whole.replace(b"word/document.xml", b"../../etc/passwds", 1)


def _end_record(**fields: int) -> Callable[[], bytes]:
    """A sound document whose end record says something else."""

    def make() -> bytes:
        whole = zipped(word())
        place = whole.rindex(b"PK\x05\x06")
        names = ("disk", "start", "here", "entries", "size", "offset", "comment")
        values = dict(zip(names, struct.unpack("<HHHHIIH", whole[place + 4 : place + 22]), strict=True))
        return whole[: place + 4] + struct.pack("<HHHHIIH", *{**values, **fields}.values())

    return make


def _with_a_password() -> bytes:
    marks = b"PK\x01\x02\x14\x03\x14\0"
    return zipped(word()).replace(marks + b"\0\0", marks + b"\1\0")


def _compressed_by(method: int) -> Callable[[], bytes]:
    def make() -> bytes:
        target = BytesIO()
        with zipfile.ZipFile(target, "w", method) as archive:
            for name, content in word().items():
                archive.writestr(name, content)
        return target.getvalue()

    return make


EVIL: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "a bomb of 400 MB": lambda: _bomb(400),
    "a bomb of 40 MB": lambda: _bomb(40),
    "a bomb that lies about its size": _bomb_that_lies,
    "sixty bombs in one archive": _many_bombs,
    "9,000 members that are one": _overlapping,
    "a member of 4 GB, it says": _of_absurd_size,
    "12,000 members": lambda: zipped({**word(), **{f"x/{number}": b"" for number in range(12_000)}}),
    "archives in archives in archives": lambda: _within_each_other(40),
    "a name that climbs": _with("../../../etc/passwd"),
    "a name that climbs inside": _with("word/../../evil"),
    "a name from the root": _with("/etc/passwd"),
    "a name with back strokes": _with("..\\..\\windows\\evil"),
    "a name on a drive": _with("C:\\evil"),
    "a name on another machine": _with("\\\\host\\share\\evil"),
    "a link to a file": _with("word/evil.xml", b"/etc/passwd", external_attr=0o120777 << 16, create_system=3),
    "a name of 60,000 letters": _with("x" * 60_000),
    "a name that is no Unicode": lambda: _with("evil\u00e4")().replace("evil\u00e4".encode(), b"evil\xff\xfe"),
    "a name with a null character": lambda: _with("word/evil0name")().replace(b"evil0name", b"evil\0name"),
    "a member with a password": _with_a_password,
    "bzip2 instead of deflate": _compressed_by(zipfile.ZIP_BZIP2),
    "LZMA instead of deflate": _compressed_by(zipfile.ZIP_LZMA),
    "two members of one name": _same_name_twice,
    "another name inside than outside": _another_name_inside,
    "only the first half": lambda: (whole := offices.a_docx())[: len(whole) // 2],
    "no table of contents": lambda: (whole := zipped(word()))[: whole.index(b"PK\x01\x02")],
    "a table of contents beyond the end": _end_record(offset=0x7FFFFFFF),
    "a table of contents of 4 GB": _end_record(size=0xFFFFFFF0),
    "a table of contents that begins before the file": _end_record(size=5_000_000, offset=0),
    "a comment that never comes": _end_record(comment=0xFFFF),
    "a comment with another end in it": lambda: zipped(word())[:-2] + b"\x16\0PK\x05\x06" + b"\0" * 18,
    "a wrong sum": lambda: _by_hand((n, p, c ^ (n == _DOCUMENT), s) for n, p, c, s in _members(word())),
    "packed bytes that are noise": lambda: _by_hand(
        (n, b"\xff" * len(p) if n == _DOCUMENT else p, c, s) for n, p, c, s in _members(word())
    ),
    "an empty archive": lambda: b"PK\x05\x06" + b"\0" * 18,
    "only the mark": lambda: b"PK\x03\x04",
    "a thousand marks": lambda: b"PK\x03\x04" * 1_000,
    "a hundred thousand marks of members": lambda: zipped(word()) + b"PK\x01\x02" * 100_000,
    "a program before it": lambda: b"MZ" + b"\0" * 2_000 + zipped(word()),
    "a text before it": lambda: SAID.encode() * 50 + zipped(word()),
})  # fmt: skip
