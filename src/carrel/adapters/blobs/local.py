"""Bytes in a folder: written beside, synced, then renamed, so that a name always stands for whole bytes."""

import asyncio
import hashlib
import math
import os
import uuid
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import BinaryIO, Final

from carrel.adapters.blobs.pieces import gathered
from carrel.domain.errors import NotFound, TooLarge, Unavailable
from carrel.domain.ids import TenantId
from carrel.domain.library import Blob

_HEAD: Final = 4096
_PIECE: Final = 256 * 1024
_PAGE: Final = 1_000


class LocalBlobs:
    """`root/<tenant>/<uuid>`; unfinished writes end in `.part`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, tenant: TenantId, content: AsyncIterator[bytes], *, limit: int) -> Blob:
        key = f"{tenant}/{uuid.uuid4()}"
        draft = _Draft(self._root / f"{key}.part")
        try:
            piece = b""
            async for following in gathered(_bounded(content, limit), least=_PIECE):  # a small file is one step
                if piece:
                    await asyncio.to_thread(draft.append, piece)
                piece = following
            await asyncio.to_thread(draft.finish, piece, self._root / key)
        except OSError as error:
            await asyncio.to_thread(draft.drop)
            raise Unavailable(f"The blob store cannot write: {error.strerror}.", code="blobs_unavailable") from error
        except BaseException:
            await asyncio.to_thread(draft.drop)
            raise
        return Blob(key, draft.size, draft.digest.digest(), draft.head)

    @asynccontextmanager
    async def as_file(self, key: str) -> AsyncIterator[Path]:
        yield self._existing(key)

    async def read(self, key: str) -> AsyncIterator[bytes]:
        path = self._existing(key)
        try:
            with await asyncio.to_thread(path.open, "rb") as file:
                while piece := await asyncio.to_thread(file.read, _PIECE):
                    yield piece
        except FileNotFoundError as error:
            raise NotFound from error
        except OSError as error:
            raise _unreadable(error) from error

    async def missing(self, keys: Collection[str]) -> set[str]:
        return await asyncio.to_thread(self._missing, keys) if keys else set()

    async def delete(self, key: str) -> None:
        try:
            await asyncio.to_thread((self._root / key).unlink, missing_ok=True)
        except OSError as error:
            raise Unavailable(f"The blob store cannot delete: {error.strerror}.", code="blobs_unavailable") from error

    async def older(self, tenant: TenantId, *, seconds: float) -> AsyncIterator[list[str]]:
        folder = self._root / str(tenant)
        try:
            if not await asyncio.to_thread(folder.is_dir):
                return
            moment = await asyncio.to_thread(_now, folder) - seconds
            with await asyncio.to_thread(os.scandir, folder) as entries:
                while page := await asyncio.to_thread(_page, entries):
                    if old := [f"{folder.name}/{name}" for name, changed in page if changed < moment]:
                        yield old
        except OSError as error:
            raise _unreadable(error) from error

    def _existing(self, key: str) -> Path:
        """Raises NotFound; where even the folder of all is not there, nothing can be said to be missing."""
        if self._missing([key]):
            raise NotFound
        return self._root / key

    def _missing(self, keys: Collection[str]) -> set[str]:
        try:
            missing = {key for key in keys if not (self._root / key).is_file()}
            is_there = not missing or self._root.is_dir()
        except OSError as error:
            raise _unreadable(error) from error
        if not is_there:
            raise Unavailable("The folder of uploaded bytes is not there.", code="blobs_unavailable")
        return missing


def _unreadable(error: OSError) -> Unavailable:
    return Unavailable(f"The blob store cannot be read: {error.strerror}.", code="blobs_unavailable")


def _page(entries: "Iterator[os.DirEntry[str]]") -> list[tuple[str, float]]:
    """The next names, each with when it last changed."""
    return [(entry.name, _changed(entry)) for entry in islice(entries, _PAGE)]


def _now(folder: Path) -> float:
    """By the clock of the file system, which may be another machine's: with ours a young file could look old."""
    with TemporaryFile(dir=folder) as probe:
        return os.fstat(probe.fileno()).st_mtime


def _changed(entry: "os.DirEntry[str]") -> float:
    """A file that vanishes under our eyes is as young as can be."""
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:
        return math.inf


async def _bounded(content: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """Raises TooLarge."""
    size = 0
    async for piece in content:
        size += len(piece)
        if size > limit:
            raise TooLarge(f"A file has at most {limit:,} bytes.", field="files")
        yield piece


class _Draft:
    """A file beside its later name. Its methods wait for the disk, so they are for threads; one waits for the other.

    Whoever is cancelled does not wait for the step that is under way: after `drop` it leaves nothing behind.
    """

    def __init__(self, part: Path) -> None:
        self._part = part
        self._file: BinaryIO | None = None
        self._steps = Lock()
        self._kept: Path | None = None
        self._dropped = False
        self.digest = hashlib.sha256()
        self.size = 0
        self.head = b""

    def append(self, piece: bytes) -> None:
        with self._steps:
            if not self._dropped:
                self._append(piece)

    def finish(self, piece: bytes, whole: Path) -> None:
        """With the last piece. Only after the rename has reached the disk would it survive a power cut as `whole`."""
        with self._steps:
            if self._dropped:
                return
            with self._append(piece) as file:
                file.flush()
                os.fsync(file.fileno())
            self._part.rename(whole)
            self._kept = whole
            _sync_folder(whole.parent)

    def drop(self) -> None:
        """The bytes that nobody wants after all; also when the disk took not all of them."""
        with self._steps:
            self._dropped = True
            with suppress(OSError):
                if self._file is not None:
                    self._file.close()
            (self._kept or self._part).unlink(missing_ok=True)

    def _append(self, piece: bytes) -> BinaryIO:
        """The file, which is made with its first bytes."""
        self._file = file = self._file or _create(self._part)
        file.write(piece)
        self.digest.update(piece)
        self.size += len(piece)
        self.head += piece[: _HEAD - len(self.head)]
        return file


def _create(part: Path) -> BinaryIO:
    if not part.parent.is_dir():
        part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync_folder(part.parent.parent)
    return part.open("xb")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
