"""Bytes in an S3 bucket: an object is there as a whole or not at all, so that a name always stands for whole bytes.

Small content is one request, larger content a multipart upload that is aborted when anything goes wrong. What a process
leaves behind that is killed in between only the bucket itself can remove: see docs/s3.md for the rule that does.
"""

import asyncio
import hashlib
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any, Final

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from carrel.adapters.blobs.pieces import gathered, once
from carrel.domain.errors import NotFound, Refusal, TooLarge, Unavailable
from carrel.domain.ids import TenantId
from carrel.domain.library import Blob
from carrel.domain.secret import Secret

_HEAD: Final = 4096
_PART: Final = 5 << 20  # the smallest that S3 takes
_PIECE: Final = 1 << 20
_PAGE: Final = 1_000
_AT_ONCE: Final = 10
_FAREWELL: Final = 20.0  # seconds for aborting an upload
_NO_BUCKET: Final = "NoSuchBucket"
_REFUSED: Final = re.compile(r"status code: 40[13]\b")


@dataclass(frozen=True, slots=True, eq=False)
class S3Place:
    """Where the objects lie. Without a key it is the machine's own identity; without an endpoint it is Amazon's."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: Secret | None = None
    allow_http: bool = False


class S3Blobs:
    """`prefix/<tenant>/<uuid>`."""

    def __init__(self, place: S3Place) -> None:
        self._bucket = place.bucket
        self._prefix = f"{place.prefix.strip('/')}/" if place.prefix.strip("/") else ""
        self._store = _store(place)

    async def put(self, tenant: TenantId, content: AsyncIterator[bytes], *, limit: int) -> Blob:
        key, taken = f"{tenant}/{uuid.uuid4()}", _Taken(limit)
        pieces = taken.pieces(content)
        first, name = bytearray(), self._prefix + key
        async for piece in pieces:
            first += piece
            if len(first) > _PART:
                await self._put_in_parts(name, bytes(first), pieces)
                break
        else:
            await self._put_at_once(name, bytes(first))
        return taken.blob(key)

    async def put_all(self, tenant: TenantId, contents: Sequence[bytes]) -> list[Blob]:
        several = asyncio.Semaphore(_AT_ONCE)

        async def put(content: bytes) -> Blob:
            async with several:
                return await self.put(tenant, once(content), limit=len(content))

        puts: list[asyncio.Task[Blob]] = []
        try:
            async with asyncio.TaskGroup() as group:
                puts += [group.create_task(put(content)) for content in contents]
        except BaseException as failed:
            with suppress(Unavailable):
                for done in puts:
                    if not done.cancelled() and done.exception() is None:
                        await self.delete(done.result().key)
            if isinstance(failed, BaseExceptionGroup):
                first = failed.exceptions[0]
                raise first from first.__cause__
            raise
        return [done.result() for done in puts]

    @asynccontextmanager
    async def as_file(self, key: str) -> AsyncIterator[Path]:
        with NamedTemporaryFile(prefix="carrel-blob-") as file:
            async for piece in self.read(key):
                await asyncio.to_thread(_written, file, piece)
            yield Path(file.name)

    async def read(self, key: str) -> AsyncIterator[bytes]:
        with self._translated("read", absent=NotFound()):
            found = await obstore.get_async(self._store, self._prefix + key)
            async for piece in found.stream(min_chunk_size=_PIECE):
                yield bytes(piece)

    async def missing(self, keys: Collection[str]) -> set[str]:
        several = asyncio.Semaphore(_AT_ONCE)
        try:
            async with asyncio.TaskGroup() as group:
                looks = {key: group.create_task(self._is_there(key, several)) for key in keys}
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return {key for key, look in looks.items() if not look.result()}

    async def _is_there(self, key: str, several: asyncio.Semaphore) -> bool:
        """A look that fails does not say whether the object is missing or the bucket; a read does."""
        async with several:
            with self._translated("looked at", absent=None):
                try:
                    await obstore.head_async(self._store, self._prefix + key)
                except FileNotFoundError:
                    with suppress(NotFound):
                        async for _ in self.read(key):
                            break
                        return True
                    return False
        return True

    async def delete(self, key: str) -> None:
        with self._translated("deleted", absent=None):
            try:
                await obstore.delete_async(self._store, self._prefix + key)
            except FileNotFoundError as error:
                if _NO_BUCKET in str(error):
                    raise

    async def older(self, tenant: TenantId, *, seconds: float) -> AsyncIterator[list[str]]:
        moment = None
        with self._translated("listed", absent=None):
            async for page in obstore.list(self._store, prefix=f"{self._prefix}{tenant}", chunk_size=_PAGE):
                moment = moment or await self.clock() - timedelta(seconds=seconds)
                old = [one["path"].removeprefix(self._prefix) for one in page if one["last_modified"] < moment]
                if old:
                    yield old

    async def clock(self) -> datetime:
        """The store's own time, by which objects are old: an object is written, looked at and removed.

        Raises Unavailable where one of these is refused.
        """
        probe = f"{self._prefix}.probe-{uuid.uuid4()}"
        with self._translated("written", absent=None):
            await obstore.put_async(self._store, probe, b"", mode="create", use_multipart=False)
            seen = await obstore.head_async(self._store, probe)
            await obstore.delete_async(self._store, probe)
        return seen["last_modified"]

    async def _put_at_once(self, name: str, content: bytes) -> None:
        put = obstore.put_async(self._store, name, content, mode="create", use_multipart=False)
        async with self._unless_broken_off(name, put) as upload:
            await asyncio.shield(upload)

    async def _put_in_parts(self, name: str, first: bytes, rest: AsyncIterator[bytes]) -> None:
        """The content is read in the task of who sends it; the upload is told when that breaks off."""
        feed = _Feed()
        put = obstore.put_async(self._store, name, feed.pieces(), chunk_size=_PART, max_concurrency=1)
        async with self._unless_broken_off(name, put) as upload:
            try:
                await feed.hand(first, upload)
                async for piece in gathered(rest, least=_PIECE):
                    await feed.hand(piece, upload)
                await feed.hand(None, upload)
                await asyncio.shield(upload)
            except BaseException:
                feed.break_off()
                raise

    @asynccontextmanager
    async def _unless_broken_off(self, name: str, put: Awaitable[object]) -> AsyncIterator["asyncio.Future[Any]"]:
        """The upload; what it has written all the same is removed when whoever waits for it does not get to its end."""
        upload = asyncio.ensure_future(put)
        try:
            with self._translated("written", absent=None):
                yield upload
        except BaseException:
            await asyncio.wait({upload}, timeout=_FAREWELL)
            if upload.done() and upload.exception() is None:
                with suppress(Unavailable):
                    await self.delete(name.removeprefix(self._prefix))
            raise

    @contextmanager
    def _translated(self, done: str, *, absent: Refusal | None) -> Iterator[None]:
        """`absent` is what a missing object means; None where it can only be the bucket."""
        try:
            yield
        except FileNotFoundError as error:
            if absent is not None and _NO_BUCKET not in str(error):
                raise absent from error
            raise _unavailable(f"There is no bucket {self._bucket!r} for uploaded bytes.") from error
        except BaseError as error:
            raise _unavailable(f"{self._complaint(error)}: nothing can be {done}.") from error

    def _complaint(self, error: BaseError) -> str:
        """What listing refuses has no kind of its own."""
        said = str(error)
        if _NO_BUCKET in said:
            return f"There is no bucket {self._bucket!r} for uploaded bytes"
        refused = isinstance(error, PermissionDeniedError | UnauthenticatedError) or _REFUSED.search(said)
        return f"The bucket {self._bucket!r} {'refuses our credentials' if refused else 'does not answer as it should'}"


class _Taken:
    """What has come of a content so far."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._digest = hashlib.sha256()
        self._size = 0
        self._head = b""

    async def pieces(self, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The content, counted and hashed. Raises TooLarge."""
        async for piece in content:
            self._size += len(piece)
            if self._size > self._limit:
                raise TooLarge(f"A file has at most {self._limit:,} bytes.", field="files")
            self._head += piece[: _HEAD - len(self._head)]
            await asyncio.to_thread(self._digest.update, piece)
            yield piece

    def blob(self, key: str) -> Blob:
        return Blob(key, self._size, self._digest.digest(), self._head)


class _BrokenOff(Exception):  # noqa: N818 - it is no error of ours, only the way to make the library abort
    """The content did not come to its end."""


class _Feed:
    """Pieces that are handed over one at a time, so that few are held."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._is_broken = False

    async def pieces(self) -> AsyncIterator[bytes]:
        while (piece := await self._queue.get()) is not None:
            yield piece
        if self._is_broken:
            raise _BrokenOff

    async def hand(self, piece: bytes | None, upload: "asyncio.Future[Any]") -> None:
        """Raises what the upload has failed with."""
        handing = asyncio.ensure_future(self._queue.put(piece))
        try:
            await asyncio.wait({handing, upload}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            handing.cancel()
        if upload.done():
            upload.result()

    def break_off(self) -> None:
        self._is_broken = True
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)


def _written(file: IO[bytes], piece: bytes) -> None:
    try:
        file.write(piece)
        file.flush()
    except OSError as error:
        raise _unavailable(f"There is no room for a copy of an object: {error.strerror}.") from error


def _store(place: S3Place) -> S3Store:
    """A key of the settings is used alone: left to itself the library would add the environment's session token."""
    options: dict[str, Any] = {"endpoint": place.endpoint, "region": place.region}
    if place.access_key_id is not None and place.secret_access_key is not None:
        key, secret = place.access_key_id, place.secret_access_key
        options["credential_provider"] = lambda: {
            "access_key_id": key,
            "secret_access_key": secret.reveal(),
            "token": None,
            "expires_at": None,
        }
    return S3Store(
        place.bucket,
        **{name: value for name, value in options.items() if value is not None},
        disable_bulk_delete=True,
        client_options={"allow_http": place.allow_http, "connect_timeout": "5s", "timeout": "120s"},
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=30)},
    )


def _unavailable(sentence: str) -> Unavailable:
    return Unavailable(sentence, code="blobs_unavailable")
