"""What every blob store promises (ports/blobs.py), tried on a folder and on a bucket."""

import asyncio
import errno
import hashlib
import os
import stat
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from carrel.adapters.blobs.local import LocalBlobs, _Draft
from carrel.domain.errors import NotFound, TooLarge, Unavailable
from carrel.domain.ids import TenantId
from carrel.ports.blobs import Blobs
from support.s3_server import S3Server, names_in, s3_blobs
from support.tenants import pieces

TENANT, OTHER = TenantId(uuid.uuid4()), TenantId(uuid.uuid4())
BYTES = os.urandom(300_000)
PIECE, LARGE = 1 << 16, 11 << 20


async def in_pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), PIECE):
        yield content[start : start + PIECE]


@dataclass(frozen=True)
class Kept:
    """A store and all that lies in it, finished or not, seen from behind."""

    blobs: Blobs
    names: Callable[[], list[str]]


@pytest.fixture(params=["local", "s3"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    if request.param == "local":
        root = tmp_path / "blobs"
        return Kept(LocalBlobs(root), lambda: [path.name for path in root.rglob("*") if path.is_file()])
    server: S3Server = request.getfixturevalue("s3")
    bucket = server.bucket()
    return Kept(s3_blobs(server, bucket, prefix="carrel/bytes"), lambda: names_in(server, bucket))


@pytest.fixture
def blobs(kept: Kept) -> Blobs:
    return kept.blobs


async def old(blobs: Blobs, tenant: TenantId, *, seconds: float) -> list[str]:
    return [key async for page in blobs.older(tenant, seconds=seconds) for key in page]


async def read(blobs: Blobs, key: str) -> bytes:
    return b"".join([piece async for piece in blobs.read(key)])


async def test_what_is_put_comes_back_and_is_described(blobs: Blobs) -> None:
    blob = await blobs.put(TENANT, pieces(BYTES), limit=len(BYTES))
    assert (blob.size, blob.sha256) == (len(BYTES), hashlib.sha256(BYTES).digest())
    assert BYTES.startswith(blob.head)
    assert len(blob.head) >= 1024
    assert await read(blobs, blob.key) == BYTES
    async with blobs.as_file(blob.key) as path:
        assert path.read_bytes() == BYTES


async def test_each_tenant_has_a_prefix_and_each_put_a_key_of_its_own(blobs: Blobs) -> None:
    put = [await blobs.put(tenant, pieces(b"same"), limit=10) for tenant in (TENANT, TENANT, OTHER)]
    assert [blob.key.split("/", 1)[0] for blob in put] == [str(TENANT), str(TENANT), str(OTHER)]
    assert len({blob.key for blob in put}) == 3
    await blobs.delete(put[0].key)
    assert [await read(blobs, blob.key) for blob in put[1:]] == [b"same", b"same"]


async def test_too_many_bytes_are_refused_as_soon_as_they_come_and_nothing_is_kept(kept: Kept) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 1000

    with pytest.raises(TooLarge):
        await kept.blobs.put(TENANT, endless(), limit=10_000)
    assert taken == 11
    assert kept.names() == []
    assert (await kept.blobs.put(TENANT, pieces(b"x" * 10_000), limit=10_000)).size == 10_000


@pytest.mark.parametrize("sent", [10, LARGE])
async def test_a_sender_that_breaks_off_leaves_nothing(kept: Kept, sent: int) -> None:
    async def broken() -> AsyncIterator[bytes]:
        for _ in range(0, sent, PIECE):
            yield b"x" * PIECE
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError):
        await kept.blobs.put(TENANT, broken(), limit=2 * LARGE)
    assert kept.names() == []


@pytest.mark.parametrize("steps", range(4))
def test_a_step_that_ends_after_all_was_dropped_leaves_nothing(tmp_path: Path, steps: int) -> None:
    """Whoever is cancelled does not wait for the thread that writes."""
    draft = _Draft(tmp_path, f"{TENANT}/one")
    course: list[Callable[[], None]] = [
        lambda: draft.append(b"half"),
        draft.sync,
        draft.rename,
        lambda: draft.append(b"late"),
    ]
    for step in course[:steps]:
        step()
    draft.drop()
    for step in course[steps:]:
        step()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_several_come_back_in_their_order(kept: Kept) -> None:
    contents = [os.urandom(size) for size in (1, 70_000, 4096, 1, 30)] * 5
    blobs = await kept.blobs.put_all(TENANT, [*contents, b"", contents[0]])
    assert [await read(kept.blobs, blob.key) for blob in blobs] == [*contents, b"", contents[0]]
    said = [(blob.size, blob.sha256, blob.head) for blob in blobs]
    assert said == [(len(one), hashlib.sha256(one).digest(), one[:4096]) for one in [*contents, b"", contents[0]]]
    assert len(kept.names()) == len({blob.key for blob in blobs}) == len(contents) + 2
    assert {blob.key.split("/", 1)[0] for blob in blobs} == {str(TENANT)}
    assert await kept.blobs.put_all(TENANT, []) == []


async def test_when_one_of_several_cannot_be_kept_none_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs, sync = LocalBlobs(tmp_path), os.fsync
    synced = 0

    def full(descriptor: int) -> None:
        nonlocal synced
        synced += 1
        if synced > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left on device"):
        await blobs.put_all(TENANT, [b"one", b"two", b"three", b"four"])
    assert list((tmp_path / str(TENANT)).iterdir()) == []
    monkeypatch.undo()
    assert len(await blobs.put_all(TENANT, [b"one", b"two"])) == 2


@pytest.mark.parametrize("number", [1, 3])
async def test_bytes_reach_the_disk_before_their_names_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As far as can be seen without a power cut."""
    blobs, sync, rename = LocalBlobs(tmp_path), os.fsync, Path.rename
    await blobs.put(TENANT, pieces(b"the folder is there"), limit=100)
    seen = []

    def syncing(descriptor: int) -> None:
        status = os.fstat(descriptor)
        seen.append("folder" if stat.S_ISDIR(status.st_mode) else f"{status.st_size} bytes")
        sync(descriptor)

    def renaming(path: Path, target: Path) -> Path:
        seen.append("name")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(Path, "rename", renaming)
    await (blobs.put_all(TENANT, [b"12345"] * number) if number > 1 else blobs.put(TENANT, pieces(b"12345"), limit=9))
    assert seen == [*["5 bytes"] * number, *["name"] * number, "folder"]


async def test_several_that_are_cancelled_leave_nothing(kept: Kept) -> None:
    for pause in (0.0, 0.001, 0.004, 0.01):
        task = asyncio.create_task(kept.blobs.put_all(TENANT, [b"x" * 1000] * 30))
        await asyncio.sleep(pause)
        task.cancel()
        kept_all = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(kept_all[0], list | asyncio.CancelledError)
        for blob in kept_all[0] if isinstance(kept_all[0], list) else []:
            await kept.blobs.delete(blob.key)
    assert kept.names() == []


@pytest.mark.parametrize("sent", [10, LARGE])
async def test_a_put_that_is_cancelled_leaves_nothing(kept: Kept, sent: int) -> None:
    hangs = asyncio.Event()

    async def hanging() -> AsyncIterator[bytes]:
        for _ in range(0, sent, PIECE):
            yield b"x" * PIECE
        hangs.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(kept.blobs.put(TENANT, hanging(), limit=2 * LARGE))
    await hangs.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert kept.names() == []


async def test_a_large_file_comes_back_as_it_was(blobs: Blobs) -> None:
    content = os.urandom(LARGE + 17)
    blob = await blobs.put(TENANT, in_pieces(content), limit=len(content))
    assert (blob.size, blob.sha256) == (len(content), hashlib.sha256(content).digest())
    assert await read(blobs, blob.key) == content
    with pytest.raises(TooLarge):
        await blobs.put(TENANT, in_pieces(content), limit=len(content) - 1)


async def test_a_copy_for_reading_goes_with_its_reader(blobs: Blobs) -> None:
    blob = await blobs.put(TENANT, pieces(BYTES), limit=len(BYTES))
    with pytest.raises(RuntimeError, match="the reader"):
        async with blobs.as_file(blob.key) as path:
            raise RuntimeError("the reader")
    assert isinstance(blobs, LocalBlobs) or not path.exists()
    assert await read(blobs, blob.key) == BYTES


async def test_what_is_deleted_or_never_was_is_not_found(blobs: Blobs) -> None:
    blob = await blobs.put(TENANT, pieces(b"x"), limit=1)
    await blobs.delete(blob.key)
    await blobs.delete(blob.key)
    await blobs.delete(f"{TENANT}/{uuid.uuid4()}")
    for key in (blob.key, f"{TENANT}/{uuid.uuid4()}", f"{uuid.uuid4()}/{uuid.uuid4()}"):
        with pytest.raises(NotFound):
            await read(blobs, key)
        with pytest.raises(NotFound):
            async with blobs.as_file(key):
                pass


async def test_what_is_missing_is_told_apart(blobs: Blobs) -> None:
    there = [(await blobs.put(TENANT, pieces(b"x"), limit=1)).key for _ in range(3)]
    await blobs.delete(there[1])
    absent = f"{TENANT}/{uuid.uuid4()}"
    assert await blobs.missing([*there, absent]) == {there[1], absent}
    assert await blobs.missing([]) == set()


async def test_where_the_whole_store_is_gone_nothing_is_missing(tmp_path: Path, s3: S3Server) -> None:
    for blobs in (LocalBlobs(tmp_path / "unmounted"), s3_blobs(s3, "there-is-none-of-this")):
        with pytest.raises(Unavailable):
            await blobs.missing([f"{TENANT}/{uuid.uuid4()}"])
        with pytest.raises(Unavailable):
            await read(blobs, f"{TENANT}/{uuid.uuid4()}")


async def test_an_empty_file_is_kept_as_one(blobs: Blobs) -> None:
    blob = await blobs.put(TENANT, pieces(b""), limit=1)
    assert (blob.size, blob.head) == (0, b"")
    assert await read(blobs, blob.key) == b""


async def test_what_is_old_is_listed_for_its_tenant_only(blobs: Blobs) -> None:
    mine = await blobs.put(TENANT, pieces(b"x"), limit=1)
    await blobs.put(OTHER, pieces(b"x"), limit=1)
    assert await old(blobs, TENANT, seconds=-2) == [mine.key]
    assert await old(blobs, TENANT, seconds=500) == []
    assert await old(blobs, TenantId(uuid.uuid4()), seconds=-2) == []


async def test_what_is_old_goes_while_it_is_listed(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carrel.adapters.blobs.local._PAGE", 3)
    monkeypatch.setattr("carrel.adapters.blobs.s3._PAGE", 3)
    put = {(await kept.blobs.put(TENANT, pieces(b"x"), limit=1)).key for _ in range(8)}
    sizes, seen = [], set()
    async for page in kept.blobs.older(TENANT, seconds=-2):
        sizes.append(len(page))
        seen.update(page)
        for key in page:
            await kept.blobs.delete(key)
    assert (sizes, seen, kept.names()) == ([3, 3, 2], put, [])


async def test_an_unfinished_file_is_listed_when_it_is_old(tmp_path: Path) -> None:
    blobs, folder = LocalBlobs(tmp_path), tmp_path / str(TENANT)
    young = await blobs.put(TENANT, pieces(b"x"), limit=1)
    unfinished = folder / f"{uuid.uuid4()}.part"
    unfinished.write_bytes(b"half")
    os.utime(unfinished, (time.time() - 1000,) * 2)
    assert await old(blobs, TENANT, seconds=500) == [f"{TENANT}/{unfinished.name}"] != [young.key]


async def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    await LocalBlobs(tmp_path).put(TENANT, pieces(b"secret"), limit=100)
    assert (tmp_path / str(TENANT)).stat().st_mode & 0o077 == 0
