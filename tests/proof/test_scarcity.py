"""What is scarce runs out: connections of the database, patience of the server, room on the disk, the database itself.

Whoever asks meanwhile is told so in time, with 503 and `Retry-After`; nothing that was acknowledged is lost, nothing is
kept by half, and afterwards all is as it was.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from carrel.adapters.blobs.local import LocalBlobs
from carrel.adapters.lexical.postgres import PostgresWords
from carrel.adapters.vectors.pgvector import PgvectorIndexes
from carrel.api.app import create_app
from carrel.api.server import Patience
from carrel.domain.access import for_machine
from carrel.library.documents import Shelf
from carrel.store.transaction import Database
from carrel.wiring import Application, Base, assemble
from support.doors import serving
from support.rounds import rounds
from support.served import Served, served
from support.stand import SECRETS, Stand
from support.tenants import a_tenant

pytestmark = [pytest.mark.proof, pytest.mark.slow]

ABOUT: Final = b"# Boats\n\nBoats float on water."
NO_PDF: Final = b"%PDF-1.7 broken"  # cheap to bring: it is kept, and fails to parse
MB: Final = 1024 * 1024


@asynccontextmanager
async def called(app: Application, key: str, patience: Patience = Patience()) -> AsyncIterator[httpx2.AsyncClient]:  # noqa: B008 - frozen
    async with serving(create_app(lambda: nullcontext(app)), patience) as (host, port):
        headers, limits = {"Authorization": f"Bearer {key}"}, httpx2.Limits(max_connections=500)
        async with httpx2.AsyncClient(
            base_url=f"http://{host}:{port}", headers=headers, timeout=60, limits=limits
        ) as client:
            yield client


def is_refused_for_now(answer: httpx2.Response) -> bool:
    return answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0 and answer.json()["status"] == 503


# Connections of the database


@asynccontextmanager
async def with_connections(carrel: Stand, most: int, *, patience: float) -> AsyncIterator[tuple[Application, Database]]:
    database = await Database.connect(carrel.endpoint.app_url, connections=most, patience=patience)
    base = replace(carrel.parts.base, database=database)
    parts = replace(carrel.parts, base=base, vectors=PgvectorIndexes(database), words=PostgresWords(database))
    try:
        yield assemble(parts), database
    finally:
        await database.close()


@asynccontextmanager
async def all_taken(database: Database, count: int) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for _ in range(count):
            await stack.enter_async_context(database.transaction(for_machine(), timeout=60))
        yield


async def test_without_a_free_connection_everybody_is_told_in_time_and_then_served(carrel: Stand) -> None:
    tenant = await a_tenant(carrel.app)
    source = (await tenant.source()).id
    document = await tenant.put(source, "boats.md", ABOUT)
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/v1/sources", {}),
        ("GET", f"/v1/documents/{document.id}/content", {}),
        ("POST", "/v1/search", {"json": {"query": "Do boats float?"}}),
        ("POST", "/v1/chat", {"json": {"message": "Do boats float?"}}),
        ("POST", "/v1/chat", {"json": {"message": "Do boats float?", "stream": True}}),
        ("PUT", f"/v1/sources/{source}/documents/more.md", {"content": ABOUT}),
        ("POST", f"/v1/sources/{source}/documents", {"files": [("files", ("a.md", ABOUT))]}),
        ("POST", "/v1/bots", {"json": {"name": "late", "source_ids": []}}),
    ]
    async with (
        with_connections(carrel, 3, patience=0.5) as (app, database),
        called(app, await tenant.key()) as client,
    ):
        async with all_taken(database, 3):
            began = time.monotonic()
            waiting = [client.request(*call[:2], **call[2]) for call in calls * rounds(4, 20)]
            refused = await asyncio.gather(*waiting)
            assert all(is_refused_for_now(answer) for answer in refused), {answer.status_code for answer in refused}
            assert time.monotonic() - began < 0.5 + len(refused) * 0.15  # the patience, and the work of answering
            assert (await client.get("/health/live")).status_code == 200
            assert (await client.get("/health/ready")).status_code == 503
        after = [await client.request(*call[:2], **call[2]) for call in calls]
        assert all(answer.is_success for answer in after), [answer.text for answer in after]
        assert (await client.get("/health/ready")).status_code == 200
        assert database.borrowed == 0


async def test_more_callers_than_connections_are_all_served(carrel: Stand) -> None:
    """Connections are held for milliseconds and never over a model or a stream, so few of them serve many."""
    tenant = await a_tenant(carrel.app)
    await tenant.put((await tenant.source()).id, "boats.md", ABOUT)
    async with (
        with_connections(carrel, 2, patience=30) as (app, database),
        called(app, await tenant.key()) as client,
    ):
        body = {"message": "Do boats float?", "stream": True}
        answers = await asyncio.gather(*(client.post("/v1/chat", json=body) for _ in range(rounds(20, 80))))
        assert {answer.status_code for answer in answers} == {200}
        assert all("event: done" in answer.text for answer in answers)
        assert database.borrowed == 0


# Patience with slow clients


@dataclass(frozen=True)
class Crawler:
    """A client that sends what it was told, then crawls on, and takes nothing unless it is asked to."""

    begins: bytes
    crawls: bytes = b""

    async def crawl(self, host: str, port: int) -> float:
        """Seconds until the server has enough of it."""
        line = socket.socket()
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.setblocking(False)
        loop, began = asyncio.get_running_loop(), time.monotonic()
        with contextlib.closing(line):
            await loop.sock_connect(line, (host, port))
            with contextlib.suppress(ConnectionError):
                await loop.sock_sendall(line, self.begins)
                while not _is_over(line):
                    await loop.sock_sendall(line, self.crawls)
                    await asyncio.sleep(0.1)
        return time.monotonic() - began


def _is_over(line: socket.socket) -> bool:
    """Whether the other side has ended or cut the connection; TCP_INFO tells without taking any byte."""
    state: int = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state != _ESTABLISHED


_ESTABLISHED: Final = 1


async def test_slow_clients_are_shut_out_and_nobody_else_notices(carrel: Stand) -> None:
    tenant = await a_tenant(carrel.app)
    source, key = (await tenant.source()).id, await tenant.key()
    await tenant.put(source, "boats.md", ABOUT)
    large = await tenant.put(source, "large.pdf", NO_PDF + bytes(16 * MB))
    head = f"Host: x\r\nAuthorization: Bearer {key}\r\n".encode()
    crawlers = [
        Crawler(b"GET /v1/sources HTTP/1.1\r\nX: ", b"x"),
        Crawler(b"POST /v1/search HTTP/1.1\r\n" + head + b"Content-Length: 1000\r\n\r\n{"),
        Crawler(
            b"PUT /v1/sources/%s/documents/a.md HTTP/1.1\r\n" % str(source).encode()
            + head
            + b"Content-Length: 9\r\n\r\nx"
        ),
        Crawler(b"GET /v1/documents/%s/content HTTP/1.1\r\n" % str(large.id).encode() + head + b"\r\n"),
        Crawler((b"GET /openapi.json HTTP/1.1\r\n" + head + b"\r\n") * 100),
    ]
    patience = Patience(head=1.0, body=1.0, taking=1.0)
    async with called(carrel.app, key, patience) as client:
        url = client.base_url
        alone = await _victims(client)
        crowd = [asyncio.create_task(crawler.crawl(url.host, url.port or 80)) for crawler in crawlers * rounds(4, 12)]
        await asyncio.sleep(0.2)
        beside = await _victims(client)
        async with asyncio.timeout(60):
            gone = await asyncio.gather(*crowd)
        assert min(gone) > 0.9, "somebody was shut out too soon"
        assert max(gone) < 30
        again = await _victims(client)
    assert max(beside) < 5, (alone, beside, again)
    assert carrel.database.borrowed <= 1  # the worker may be looking for work
    names = [
        one.key
        for one in (await carrel.app.documents.listed(tenant.console, Shelf(source=source), limit=9, cursor=None)).items
    ]
    assert sorted(names) == ["boats.md", "large.pdf"]


async def _victims(client: httpx2.AsyncClient) -> list[float]:
    """Seconds that each of a few honest requests took, one after the other."""
    took = []
    for _ in range(10):
        began = time.monotonic()
        answer = await client.post("/v1/search", json={"query": "Do boats float?"})
        assert answer.status_code == 200, answer.text
        took.append(time.monotonic() - began)
    return took


async def test_who_comes_when_all_connections_are_taken_is_told_to_come_back(carrel: Stand) -> None:
    key = await (await a_tenant(carrel.app)).key()
    async with called(carrel.app, key, Patience(head=2.0, connections=10)) as client:
        idle = [await asyncio.open_connection(client.base_url.host, client.base_url.port) for _ in range(10)]
        refused = await client.get("/v1/sources")
        assert is_refused_for_now(refused)
        assert (refused.json()["code"], refused.headers["Connection"]) == ("too_many_connections", "close")
        for reader, _ in idle:
            await asyncio.wait_for(reader.read(), 30)
        assert (await client.get("/v1/sources")).status_code == 200
        for _, writer in idle:
            writer.close()


# Room on the disk


@contextmanager
def a_small_disk(folder: Path, *, mb: int) -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mb}m,mode=700", "carrel-small", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only, and here not even by root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


needs_mount = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("mount") is None, reason="a small disk can be mounted by root only"
)


@needs_mount
async def test_a_full_disk_keeps_nothing_by_half_and_works_again(carrel: Stand, tmp_path: Path) -> None:
    tenant = await a_tenant(carrel.app)
    source, key = str((await tenant.source()).id), await tenant.key()
    with a_small_disk(tmp_path / "disk", mb=8) as disk:
        parts = replace(carrel.parts, base=Base(carrel.database, LocalBlobs(disk), SECRETS))
        async with called(assemble(parts), key) as client:
            shelf = f"/v1/sources/{source}/documents"
            kept = await _fill(client, shelf)
            assert kept, "not even one had room"
            before = _contents(disk)

            refused = await client.put(f"{shelf}/too-much.pdf", content=NO_PDF + bytes(3 * MB))
            assert is_refused_for_now(refused)
            assert refused.json()["code"] == "blobs_unavailable"
            files = [("files", (f"{n}.pdf", NO_PDF + bytes(size))) for n, size in enumerate((10, 3 * MB, 10))]
            together = await client.post(shelf, files=files)
            assert is_refused_for_now(together)

            assert _contents(disk) == before
            names = {item["key"] for item in (await client.get(f"/v1/documents?source_id={source}")).json()["items"]}
            assert names == kept
            assert (await client.post("/v1/search", json={"query": "boats"})).status_code == 200

            for path in disk.rglob("*"):
                if path.is_file():
                    path.unlink()
            again = await client.put(f"{shelf}/too-much.pdf", content=NO_PDF + bytes(3 * MB))
            assert again.status_code == 202


async def _fill(client: httpx2.AsyncClient, shelf: str) -> set[str]:
    """Documents until one has no room; the names of those that had."""
    for number in range(100):
        answer = await client.put(f"{shelf}/{number}.pdf", content=NO_PDF + bytes([number]) * (2 * MB + number))
        if answer.status_code != 202:
            assert is_refused_for_now(answer), answer.text
            return {f"{earlier}.pdf" for earlier in range(number)}
    pytest.fail("the disk never filled")


def _contents(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


@needs_mount
@pytest.mark.long
async def test_a_database_without_room_refuses_and_loses_nothing(tmp_path: Path, models: Path) -> None:
    with a_small_disk(tmp_path / "disk", mb=240) as disk:
        async with served(disk / "home", models) as carrel, AsyncExitStack() as stack:
            client = await stack.enter_async_context(carrel.client(await carrel.tenant("Crowded")))
            made = await _make_sources(client, until=lambda _, count: count == 20)
            filler = disk / "filler"
            with filler.open("wb") as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(MB))
            made |= await _make_sources(client, until=lambda answer, _: is_refused_for_now(answer))
            filler.unlink()
            async with asyncio.timeout(90):
                while (await client.get("/health/ready")).status_code != 200:  # noqa: ASYNC110 - no event says so
                    await asyncio.sleep(0.5)
            made |= await _make_sources(client, until=lambda _, count: count == 20)
            assert made <= await _all(client, "/v1/sources")


async def _make_sources(client: httpx2.AsyncClient, until: Callable[[httpx2.Response, int], bool]) -> set[str]:
    """The ids that were acknowledged."""
    made: set[str] = set()
    for count in range(1, 50_000):
        answer = await client.post("/v1/sources", json={"name": f"{time.monotonic_ns()} " + "x" * 150})
        assert answer.status_code == 201 or is_refused_for_now(answer), answer.text
        if answer.status_code == 201:
            made.add(answer.json()["id"])
        if until(answer, count):
            return made
    pytest.fail("the disk never filled")


# The database itself


@dataclass
class Load:
    """Callers that go on whatever they are told, and what was acknowledged to them."""

    client: httpx2.AsyncClient
    source: str
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)
    documents: dict[str, bytes] = field(default_factory=dict)
    stopped: bool = False

    async def run(self, caller: int) -> None:
        number = 0
        while not self.stopped:
            number += 1
            for step in (self._create, self._put, self._search, self._chat, self._list):
                await step(f"{caller}-{number}")

    async def _send(self, method: str, path: str, *expected: int, **options: Any) -> httpx2.Response | None:
        answer = await self.client.request(method, path, **options)
        self.statuses[answer.status_code] += 1
        if answer.status_code in expected:
            if "event: error" in answer.text and '"status":503' not in answer.text:
                self.wrong.append(f"{method} {path}: {answer.text[-300:]}")
            return answer
        if not is_refused_for_now(answer):
            self.wrong.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return None

    async def _create(self, name: str) -> None:
        if answer := await self._send("POST", "/v1/sources", 201, json={"name": name}):
            self.sources.add(answer.json()["id"])

    async def _put(self, name: str) -> None:
        content = f"# Page {name}\n\nMarker {name}.".encode()
        if answer := await self._send("PUT", f"{self._shelf}/{name}.md", 202, content=content):
            self.documents[answer.json()["document_id"]] = content

    async def _search(self, name: str) -> None:
        await self._send("POST", "/v1/search", 200, json={"query": f"Marker {name}"})

    async def _chat(self, name: str) -> None:
        await self._send("POST", "/v1/chat", 200, json={"message": f"What is on page {name}?", "stream": True})

    async def _list(self, _: str) -> None:
        await self._send("GET", "/v1/documents?limit=5", 200)

    @property
    def _shelf(self) -> str:
        return f"/v1/sources/{self.source}/documents"


async def test_a_restart_of_the_database_costs_503s_and_nothing_else(tmp_path: Path, models: Path) -> None:
    """In turn an orderly restart, which cuts every connection, and a kill, after which it recovers."""
    async with served(tmp_path / "home", models) as carrel:
        key = await carrel.tenant("Restart")
        async with carrel.client(key) as client:
            load = Load(client, (await client.post("/v1/sources", json={"name": "pages"})).json()["id"])
            async with asyncio.TaskGroup() as group:
                for caller in range(rounds(3, 6)):
                    group.create_task(load.run(caller))
                for number in range(rounds(1, 8)):
                    await _restarted(carrel, client, (signal.SIGINT, signal.SIGKILL)[number % 2])
                load.stopped = True
            assert load.wrong == []
            assert set(load.statuses) <= {200, 201, 202, 503}
            assert load.sources <= await _all(client, "/v1/sources")
            await _settled(client, load)


async def _restarted(carrel: Served, client: httpx2.AsyncClient, number: signal.Signals) -> None:
    await asyncio.sleep(1.5)
    before = carrel.postmaster
    os.kill(before, number)
    async with asyncio.timeout(60):
        while not await _is_back(carrel, client, before):  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.2)
    await asyncio.sleep(1)


async def _is_back(carrel: Served, client: httpx2.AsyncClient, before: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
        return carrel.postmaster != before and (await client.get("/health/ready")).status_code == 200
    return False


async def _settled(client: httpx2.AsyncClient, load: Load) -> None:
    """Every acknowledged document is ready, with the bytes that were sent."""
    async with asyncio.timeout(150):
        for status in ("pending", "processing"):
            while (await client.get(f"/v1/documents?status={status}&limit=1")).json()["items"]:  # noqa: ASYNC110 - no event says so
                await asyncio.sleep(0.3)
    assert set(load.documents) <= await _all(client, "/v1/documents?status=ready")
    for document, content in list(load.documents.items())[:50]:
        assert (await client.get(f"/v1/documents/{document}/content")).content == content


async def _all(client: httpx2.AsyncClient, path: str) -> set[str]:
    found: set[str] = set()
    cursor = ""
    while True:
        mark = "&" if "?" in path else "?"
        page = (await client.get(f"{path}{mark}limit=200{cursor}")).json()
        found |= {item["id"] for item in page["items"]}
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"
