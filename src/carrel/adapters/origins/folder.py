"""A folder of this machine: its files are the documents, their paths within it the keys.

The operator opens folders for a tenant. Links are resolved at each look and at each read: what is opened is asked where
it really lies, so a link that leads out, or that is turned while we look, gives nothing. Hidden files and folders are
left out, and a link to a folder is not followed.
"""

import asyncio
import os
import stat
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from carrel.domain.errors import Invalid, NotFound, Refusal, TooLarge, Unavailable
from carrel.ports.origins import Failed, Found, Gone, Known, Notice, Same, Sight

_BATCH: Final = 500
_PIECE: Final = 256 * 1024
_FRESH: Final = 2.0  # seconds in which a file may change again without its times telling
_DEBOUNCE: Final = 300  # milliseconds
_TURN: Final = 1_000  # milliseconds after which the watcher looks whether it is to stop
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class ItemUnreadable(Refusal):
    """The file is there, and may not or cannot be read."""

    default_code = "item_unreadable"


class OutsideFolder(Refusal):
    """A link leads out of what was opened for the tenant."""

    default_code = "outside_folder"


@dataclass(frozen=True, slots=True)
class _File:
    key: str
    path: str
    tag: str | None
    size: int


def real_folder(path: str, opened: Sequence[str]) -> str:
    """Where the folder really lies. Raises Invalid `folder_not_allowed`, `folder_missing`."""
    real = os.path.realpath(path)
    if not _is_within(real, opened):
        raise Invalid("The operator has not opened this folder for you.", code="folder_not_allowed", field="place.path")
    if not Path(real).is_dir():
        raise Invalid("There is no such folder.", code="folder_missing", field="place.path")
    return real


class WatchedFolder:
    """`opened` are the folders within which everything must really lie; larger files than `most_bytes` are not read."""

    def __init__(self, path: str, opened: Sequence[str], *, most_bytes: int) -> None:
        self._path = path
        self._opened = tuple(opened)
        self._most_bytes = most_bytes

    async def walk(self, known: Known) -> AsyncIterator[Sight]:
        """Raises what `real_folder` raises; Unavailable `folder_unreadable` in the end if a part was closed to us."""
        root = await asyncio.to_thread(real_folder, self._path, self._opened)
        closed: list[str] = []
        entries = self._entries(root, closed)
        try:
            while some := await asyncio.to_thread(lambda: list(islice(entries, _BATCH))):
                tags = await known([one.key for one in some if isinstance(one, _File)])
                for entry in some:
                    yield entry if isinstance(entry, Failed) else self._sight(entry, tags.get(entry.key))
        finally:
            await asyncio.to_thread(entries.close)
        if closed:
            raise Unavailable(
                f"{len(closed)} folders in it cannot be read, so nothing counts as gone.", code="folder_unreadable"
            )

    async def look(self, key: str, known: Known) -> Sight:
        root = await asyncio.to_thread(real_folder, self._path, self._opened)
        entry = await asyncio.to_thread(self._entry, root, key)
        if isinstance(entry, _File):
            return self._sight(entry, (await known([key])).get(key))
        return entry

    async def events(self) -> AsyncIterator[Notice]:
        """The first one is for what has changed while nobody watched. Raises Unavailable `folder_unwatchable`."""
        root = await asyncio.to_thread(real_folder, self._path, self._opened)
        stop = threading.Event()
        turns = _turns(root, stop)
        thread = ThreadPoolExecutor(1, "watch")  # one of its own: it waits for as long as the folder is watched
        try:
            await asyncio.wrap_future(thread.submit(next, turns, None))
            yield Notice(None, nullcontext())
            while (paths := await asyncio.wrap_future(thread.submit(next, turns, None))) is not None:
                for notice in await asyncio.to_thread(_notices, root, paths):
                    yield notice
        except OSError as error:
            raise Unavailable("The folder cannot be watched.", code="folder_unwatchable") from error
        finally:
            stop.set()
            thread.submit(turns.close)
            thread.shutdown(wait=False)

    def _sight(self, file: _File, tag: str | None) -> Sight:
        if file.size > self._most_bytes:
            return Failed(file.key, TooLarge(f"A document has at most {self._most_bytes:,} bytes."))
        if file.tag is not None and file.tag == tag:
            return Same(file.key)
        return Found(file.key, file.tag, self._content(file.path))

    async def _content(self, path: str) -> AsyncIterator[bytes]:
        """Raises NotFound for a file that has gone, ItemUnreadable, OutsideFolder."""
        with _explained():
            descriptor = await asyncio.to_thread(self._open, path, _READ)
            with os.fdopen(descriptor, "rb") as file:
                while piece := await asyncio.to_thread(file.read, _PIECE):
                    yield piece

    def _open(self, path: str, flags: int) -> int:
        """Judged by where it lies once it is open: nobody can turn a link between the two."""
        descriptor = os.open(path, flags)
        try:
            found = os.fstat(descriptor)
            if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
                raise ItemUnreadable("This is no file.")
            if not _is_within(str(Path(f"/proc/self/fd/{descriptor}").readlink()), self._opened):
                raise OutsideFolder("This leads out of the folders that were opened for you.")
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _entries(self, root: str, closed: list[str]) -> Generator[_File | Failed]:
        """Folder by folder; `closed` takes those that cannot be read. Raises Unavailable when it is the root."""
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            try:
                yield from self._in_folder(root, folder, waiting)
            except (OSError, Refusal):
                if not folder:
                    raise Unavailable("The folder cannot be read.", code="folder_unreadable") from None
                if os.path.lexists(f"{root}/{folder}"):
                    closed.append(folder)

    def _in_folder(self, root: str, folder: str, waiting: list[str]) -> Iterator[_File | Failed]:
        descriptor = self._open(f"{root}/{folder}", _READ | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    key = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(key)
                    elif not isinstance(found := self._entry(root, key), Gone):
                        yield found
        finally:
            os.close(descriptor)

    def _entry(self, root: str, key: str) -> _File | Failed | Gone:
        path = Path(root) / key
        try:
            if not _is_plain(key) or os.path.realpath(path.parent) != str(path.parent):
                return Gone(key)
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):
                return Gone(key)
            if path.is_symlink() and not _is_within(os.path.realpath(path), self._opened):
                return Failed(key, OutsideFolder("This leads out of the folders that were opened for you."))
        except FileNotFoundError:
            return Gone(key)
        except (OSError, ValueError):
            return Failed(key, ItemUnreadable("The file cannot be looked at."))
        return _File(key, str(path), _tag(found), found.st_size)


def _tag(found: os.stat_result) -> str | None:
    """A file that has just changed may change again in the same tick of the clock: only its bytes can tell."""
    changed = max(found.st_mtime, found.st_ctime)
    if time.time() - changed < _FRESH:
        return None
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}"


def _is_within(real: str, opened: Sequence[str]) -> bool:
    return any(os.path.commonpath([real, root]) == root for root in map(os.path.realpath, opened))


def _is_plain(key: str) -> bool:
    """Neither hidden nor out of the folder."""
    return bool(key) and not any(part.startswith(".") or not part for part in key.split("/")) and "\0" not in key


def _turns(root: str, stop: threading.Event) -> Generator[set[str]]:
    """The paths that have changed, every now and then none; the first turn means that the watch has begun."""
    from watchfiles import watch

    turns = watch(
        root,
        watch_filter=None,
        debounce=_DEBOUNCE,
        step=50,
        stop_event=stop,
        rust_timeout=_TURN,
        yield_on_timeout=True,
        raise_interrupt=False,
        ignore_permission_denied=True,
    )
    for changes in turns:
        yield {path for _, path in changes}


def _notices(root: str, paths: set[str]) -> list[Notice]:
    """A folder that came or went takes files with it of which nobody tells: then the whole is walked."""
    keys = sorted(os.path.relpath(path, root) for path in paths)
    notices: list[Notice] = []
    whole = False
    for key in filter(_is_plain, keys):
        path = Path(root) / key
        whole = whole or path.is_dir() or (not os.path.lexists(path) and not path.suffix)
        if not path.is_dir():
            notices.append(Notice(key, nullcontext()))
    return [*notices, Notice(None, nullcontext())] if whole else notices


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound from error
    except OSError as error:
        raise ItemUnreadable(f"The file cannot be read: {error.strerror}.") from error
