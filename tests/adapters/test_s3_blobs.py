"""Blobs in a bucket: what is refused, what is out of reach, and how little of a large file is held."""

import asyncio
import json
import os
import socket
import threading
import tracemalloc
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from carrel.adapters.blobs.s3 import S3Blobs, S3Place
from carrel.domain.errors import Unavailable
from carrel.domain.ids import TenantId
from carrel.domain.secret import Secret
from carrel.operate.doctor import Mark
from carrel.settings import Settings
from carrel.wiring.blobs import remarks
from support.s3_server import KEY, REGION, SECRET, S3Server, names_in, s3_blobs
from support.tenants import pieces

TENANT = TenantId(uuid.uuid4())

DEEDS: dict[str, Callable[[S3Blobs, str], Awaitable[object]]] = {
    "a small put": lambda blobs, _: blobs.put(TENANT, pieces(b"x"), limit=1),
    "several": lambda blobs, _: blobs.put_all(TENANT, [b"x", b"y"]),
    "a large put": lambda blobs, _: blobs.put(TENANT, pieces(b"x" * (6 << 20)), limit=7 << 20),
    "a read": lambda blobs, key: _all(blobs.read(key)),
    "a deletion": lambda blobs, key: blobs.delete(key),
    "a list": lambda blobs, _: _all(blobs.older(TENANT, seconds=0)),
    "the doctor's look": lambda blobs, _: blobs.clock(),
}


async def _all(iterator: AsyncIterator[object]) -> list[object]:
    return [one async for one in iterator]


@pytest.fixture
def bucket(s3: S3Server) -> str:
    return s3.bucket()


@pytest.mark.parametrize("deed", DEEDS)
async def test_a_bucket_that_is_not_there_is_no_missing_object(s3: S3Server, deed: str) -> None:
    blobs = s3_blobs(s3, "there-is-none-of-this")
    with pytest.raises(Unavailable, match="There is no bucket 'there-is-none-of-this'") as refused:
        await DEEDS[deed](blobs, f"{TENANT}/{uuid.uuid4()}")
    assert refused.value.code == "blobs_unavailable"


@pytest.mark.parametrize("deed", DEEDS)
async def test_a_bucket_that_refuses_us_says_so(s3: S3Server, bucket: str, deed: str) -> None:
    blob = await s3_blobs(s3, bucket).put(TENANT, pieces(b"x"), limit=1)
    with s3.strict(), pytest.raises(Unavailable, match="refuses our credentials") as refused:
        await DEEDS[deed](s3_blobs(s3, bucket), blob.key)
    assert refused.value.code == "blobs_unavailable"
    assert SECRET not in refused.value.detail
    assert names_in(s3, bucket) == [blob.key]


async def test_an_endpoint_where_nobody_listens_is_no_missing_object() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        place = S3Place(
            "a-bucket", "", f"http://127.0.0.1:{reserved.getsockname()[1]}", REGION, KEY, Secret(SECRET), True
        )
        with pytest.raises(Unavailable, match="does not answer") as refused:
            await _all(S3Blobs(place).read(f"{TENANT}/x"))
    assert refused.value.code == "blobs_unavailable"


async def test_a_large_file_is_never_held_as_a_whole(s3: S3Server, bucket: str) -> None:
    blobs, size = s3_blobs(s3, bucket), 48 << 20

    async def content() -> AsyncIterator[bytes]:
        for _ in range(0, size, 1 << 16):
            yield os.urandom(1 << 16)

    tracemalloc.start()
    try:
        blob = await blobs.put(TENANT, content(), limit=size)
        async for _ in blobs.read(blob.key):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert blob.size == size
    assert peak < size / 2


async def test_an_object_that_lies_there_already_is_not_overwritten(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("carrel.adapters.blobs.s3.uuid.uuid4", lambda: "always-the-same")
    blobs = s3_blobs(s3, bucket)
    first = await blobs.put(TENANT, pieces(b"first"), limit=10)
    with pytest.raises(Unavailable):
        await blobs.put(TENANT, pieces(b"second"), limit=10)
    assert await _all(blobs.read(first.key)) == [b"first"]


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """An endpoint that has nothing and remembers what it was sent."""
    heard: list[str] = []
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    heard.append(connection.recv(1 << 16).decode())
                    connection.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", heard


async def test_a_key_of_the_settings_goes_without_what_the_environment_holds(
    listener: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token-of-the-machine")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-key-of-the-machine")
    url, heard = listener
    with pytest.raises(Unavailable):
        await _all(S3Blobs(S3Place("a-bucket", "", url, REGION, KEY, Secret(SECRET), True)).read("x/y"))
    assert KEY in heard[0]
    assert "of-the-machine" not in heard[0]


async def test_without_a_key_it_is_the_machines_own(
    listener: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-key-of-the-machine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-machine")
    url, heard = listener
    with pytest.raises(Unavailable):
        await _all(S3Blobs(S3Place("a-bucket", "", url, REGION, allow_http=True)).read("x/y"))
    assert "Credential=a-key-of-the-machine/" in heard[0]


# What the settings and the doctor make of it


def settings(s3: S3Server, bucket: str, **more: str) -> Settings:
    chosen = {"kind": "s3", "bucket": bucket, "endpoint": s3.url, "region": REGION, "allow_http": True}
    return Settings.model_validate({"blobs": {**chosen, "access_key_id": KEY, "secret_access_key": SECRET, **more}})


async def test_the_doctor_tries_the_bucket_and_leaves_nothing_in_it(s3: S3Server, bucket: str) -> None:
    (remark,) = await remarks(settings(s3, bucket))
    assert remark.mark is Mark.GOOD
    assert names_in(s3, bucket) == []


async def test_the_doctor_names_a_bucket_that_is_wrong(s3: S3Server) -> None:
    (remark,) = await remarks(settings(s3, "there-is-none-of-this"))
    assert (remark.mark, remark.about) == (Mark.WRONG, "blobs")
    assert "there-is-none-of-this" in remark.sentence


def test_a_secret_of_the_settings_is_not_shown(s3: S3Server, bucket: str) -> None:
    assert SECRET not in repr(settings(s3, bucket))
    assert SECRET not in json.dumps(settings(s3, bucket).model_dump(mode="json"))


async def test_uploads_at_the_same_time_do_not_meet(s3: S3Server, bucket: str) -> None:
    blobs = s3_blobs(s3, bucket)
    contents = [os.urandom(6 << 20) for _ in range(4)]
    put = await asyncio.gather(*(blobs.put(TENANT, pieces(content), limit=7 << 20) for content in contents))
    for blob, content in zip(put, contents, strict=True):
        async with blobs.as_file(blob.key) as path:
            assert path.read_bytes() == content


async def test_a_cancellation_stays_one_when_nothing_can_be_taken_back(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = s3_blobs(s3, bucket)
    asked = []

    async def refuse(key: str) -> None:
        asked.append(key)
        raise Unavailable("The bucket does not answer.")

    monkeypatch.setattr(blobs, "delete", refuse)
    putting = asyncio.create_task(blobs.put_all(TENANT, [b"x" * 100_000] * 200))
    async with asyncio.timeout(60):
        while not names_in(s3, bucket):  # noqa: ASYNC110 - another process keeps it
            await asyncio.sleep(0)
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert asked
