"""Bytes in a folder: written beside, synced, then renamed, so that a name always stands for whole bytes."""

import asyncio
import hashlib
import math
import os
import uuid
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
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
        async with self._drafts(tenant, 1) as drafts:
            piece = b""
            async for following in gathered(_bounded(content, limit), least=_PIECE):  # a small file is one step
                if piece:
                    await asyncio.to_thread(drafts[0].append, piece)
                piece = following
            await asyncio.to_thread(_finish, drafts, [piece])
        return drafts[0].blob

    async def put_all(self, tenant: TenantId, contents: Sequence[bytes]) -> list[Blob]:
        async with self._drafts(tenant, len(contents)) as drafts:
            await asyncio.to_thread(_finish, drafts, contents)
        return [draft.blob for draft in drafts]

    @asynccontextmanager
    async def _drafts(self, tenant: TenantId, number: int) -> AsyncIterator[Sequence["_Draft"]]:
        """What to write to: all are kept, or all are dropped. Raises Unavailable when they cannot be written."""
        drafts = [_Draft(self._root, f"{tenant}/{uuid.uuid4()}") for _ in range(number)]
        try:
            yield drafts
        except OSError as error:
            await asyncio.to_thread(_drop, drafts)
            raise Unavailable(f"The blob store cannot write: {error.strerror}.", code="blobs_unavailable") from error
        except BaseException:
            await asyncio.to_thread(_drop, drafts)
            raise

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

    def __init__(self, root: Path, key: str) -> None:
        self._key = key
        self._whole = root / key
        self._part = root / f"{key}.part"
        self._file: BinaryIO | None = None
        self._steps = Lock()
        self._is_whole = False
        self._is_dropped = False
        self._digest = hashlib.sha256()
        self._size = 0
        self._head = b""

    @property
    def folder(self) -> Path:
        return self._whole.parent

    @property
    def blob(self) -> Blob:
        return Blob(self._key, self._size, self._digest.digest(), self._head)

    def append(self, piece: bytes) -> None:
        """The file is made with its first bytes."""
        with self._steps:
            if self._is_dropped:
                return
            self._file = file = self._file or _create(self._part)
            file.write(piece)
            self._digest.update(piece)
            self._size += len(piece)
            self._head += piece[: _HEAD - len(self._head)]

    def sync(self) -> None:
        with self._steps:
            if self._file is None or self._is_dropped:
                return
            with self._file as file:
                file.flush()
                os.fsync(file.fileno())

    def rename(self) -> None:
        """Only when the folder is synced too would the file survive a power cut under its name."""
        with self._steps:
            if not self._is_dropped:
                self._part.rename(self._whole)
                self._is_whole = True

    def drop(self) -> None:
        """The bytes that nobody wants after all; also when the disk took not all of them."""
        with self._steps:
            self._is_dropped = True
            with suppress(OSError):
                if self._file is not None:
                    self._file.close()
            with suppress(OSError):
                (self._whole if self._is_whole else self._part).unlink(missing_ok=True)


def _finish(drafts: Sequence[_Draft], last: Sequence[bytes]) -> None:
    """With their last pieces: of the file system one visit, since it writes down its changes once for all of them."""
    for draft, piece in zip(drafts, last, strict=True):
        draft.append(piece)
    for draft in drafts:
        draft.sync()
    for draft in drafts:
        draft.rename()
    for folder in {draft.folder for draft in drafts}:
        _sync_folder(folder)


def _drop(drafts: Sequence[_Draft]) -> None:
    for draft in drafts:
        draft.drop()


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
