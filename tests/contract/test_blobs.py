"""What every blob store promises (ports/blobs.py), tried on the local one."""

import asyncio
import hashlib
import os
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from carrel.adapters.blobs.local import LocalBlobs
from carrel.domain.errors import NotFound, TooLarge
from carrel.domain.ids import TenantId
from carrel.ports.blobs import Blobs
from support.tenants import pieces

TENANT, OTHER = TenantId(uuid.uuid4()), TenantId(uuid.uuid4())
BYTES = os.urandom(300_000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture(params=["local"])
def blobs(request: pytest.FixtureRequest, root: Path) -> Blobs:
    return LocalBlobs(root)


def kept(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


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


async def test_too_many_bytes_are_refused_as_soon_as_they_come_and_nothing_is_kept(blobs: Blobs, root: Path) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 1000

    with pytest.raises(TooLarge):
        await blobs.put(TENANT, endless(), limit=10_000)
    assert taken == 11
    assert kept(root) == []
    assert (await blobs.put(TENANT, pieces(b"x" * 10_000), limit=10_000)).size == 10_000


async def test_a_sender_that_breaks_off_leaves_nothing(blobs: Blobs, root: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError):
        await blobs.put(TENANT, broken(), limit=100)
    assert kept(root) == []


async def test_a_put_that_is_cancelled_leaves_nothing(blobs: Blobs, root: Path) -> None:
    async def hanging() -> AsyncIterator[bytes]:
        yield b"half"
        await asyncio.sleep(60)

    task = asyncio.create_task(blobs.put(TENANT, hanging(), limit=100))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert kept(root) == []


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


async def test_an_empty_file_is_kept_as_one(blobs: Blobs) -> None:
    blob = await blobs.put(TENANT, pieces(b""), limit=1)
    assert (blob.size, blob.head) == (0, b"")
    assert await read(blobs, blob.key) == b""


async def test_what_is_old_is_listed_for_its_tenant_only_also_when_unfinished(blobs: Blobs, root: Path) -> None:
    mine = await blobs.put(TENANT, pieces(b"x"), limit=1)
    await blobs.put(OTHER, pieces(b"x"), limit=1)
    unfinished = root / f"{TENANT}/{uuid.uuid4()}.part"
    unfinished.write_bytes(b"half")
    for path in kept(root):
        os.utime(path, (time.time() - 1000,) * 2)
    young = await blobs.put(TENANT, pieces(b"x"), limit=1)
    old = await blobs.older(TENANT, seconds=500)
    assert set(old) == {mine.key, f"{TENANT}/{unfinished.name}"}
    assert young.key not in old
    assert await blobs.older(TenantId(uuid.uuid4()), seconds=0) == []
    for key in old:
        await blobs.delete(key)
    assert await blobs.older(TENANT, seconds=500) == []


async def test_files_are_for_their_owner_only(blobs: Blobs, root: Path) -> None:
    await blobs.put(TENANT, pieces(b"secret"), limit=100)
    assert (root / str(TENANT)).stat().st_mode & 0o077 == 0
