"""Zip files, judged before anything in them is opened. Nothing is unpacked to the disk, and no archive inside one."""

import codecs
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from stat import S_IFMT, S_ISLNK
from typing import Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from carrel.domain.errors import Unreadable

MARK: Final = b"PK\x03\x04"
ENTRIES: Final = 10_000
UNPACKED_BYTES: Final = 500_000_000
RATIO: Final = 200
FLOOR: Final = 16 << 20
"""Unpacked bytes up to which the ratio does not matter: a small file that repeats itself is no bomb."""

_ENTRY_MARK: Final = b"PK\x01\x02"  # before each line of the table of contents
_ENCRYPTED: Final = 0x41
_OUTSIDE: Final = re.compile(r"^[/\\]|^[A-Za-z]:|(?:^|[/\\])\.\.(?:[/\\]|$)|\0")
_PIECE: Final = 1 << 18


def prepare() -> None:
    """Loads what a fork of the zygote could not: names without a mark are in the alphabet of the first PCs."""
    codecs.lookup("cp437")


class Archive:
    """The members of a zip file, by name. Of two with one name the last counts.

    Raises Unreadable: `archive_refused` for what is dangerous to open, `encrypted_document`, `damaged_document`.
    """

    def __init__(self, content: bytes) -> None:
        if content.count(_ENTRY_MARK) > ENTRIES:
            raise _refused()
        with _translated():
            self._zip = ZipFile(BytesIO(content))
        self._unpacked = 0
        members = self._zip.infolist()
        for member in members:
            _demand_harmless(member)
        _demand_measure(sum(member.file_size for member in members), len(content))
        self._members = {member.filename: member for member in members if not member.is_dir()}

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def read(self, name: str) -> bytes:
        """Counts what really comes out, whatever the table of contents says. An absent member is a damaged document."""
        if name not in self._members:
            raise Unreadable("A part of the document is missing.")
        content = BytesIO()  # gives its bytes away without a copy
        with _translated(), self._zip.open(self._members[name]) as stream:
            while piece := stream.read(_PIECE):
                self._unpacked += len(piece)
                if self._unpacked > UNPACKED_BYTES:
                    raise _refused()
                content.write(piece)
        return content.getvalue()

    def copied(self, wanted: Callable[[str], bool], judge: Callable[[str, bytes], None]) -> bytes:
        """A new zip file of the wanted members, each judged: for a library that unpacks by itself."""
        copy = BytesIO()
        with ZipFile(copy, "w", ZIP_STORED) as target:
            for name in filter(wanted, self._members):
                content = self.read(name)
                judge(name, content)
                target.writestr(name, content)
        return copy.getvalue()


def _demand_harmless(member: ZipInfo) -> None:
    if member.flag_bits & _ENCRYPTED:
        raise Unreadable("The archive is encrypted.", code="encrypted_document")
    if (
        member.compress_type not in (ZIP_STORED, ZIP_DEFLATED)
        or S_ISLNK(S_IFMT(member.external_attr >> 16))
        or _OUTSIDE.search(member.orig_filename)
    ):
        raise _refused()
    _demand_measure(member.file_size, member.compress_size)


def _demand_measure(unpacked: int, packed: int) -> None:
    if unpacked > UNPACKED_BYTES or (unpacked > FLOOR and unpacked > RATIO * packed):
        raise _refused()


def _refused() -> Unreadable:
    return Unreadable("The archive is dangerous to open.", code="archive_refused")


@contextmanager
def _translated() -> Iterator[None]:
    """Whatever `zipfile` raises for bytes that are no sound archive."""
    try:
        yield
    except (
        BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, OverflowError, OSError, zlib.error,
        struct.error, IndexError,
    ) as error:  # fmt: skip
        raise Unreadable("The archive is damaged.") from error
