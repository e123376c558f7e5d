"""A worker that is told to end finishes what is in hand, or gives it back as if it had never had it."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from carrel.adapters.postgres import Endpoint
from carrel.domain.ids import SourceId
from carrel.domain.library import DocumentStatus
from carrel.ingest.upload import Delivery
from support.quiet import a_quiet_stand, blobs_of, delivered, document_of, drained
from support.raw import connected
from support.recording import recorded
from support.stand import Stand
from support.tally import assert_whole, tally
from support.tenants import SomeTenant

LONG = "\n\n".join(f"Sentence {number} says what gateway {number * 7919 % 10007} does." for number in range(8_000))


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with a_quiet_stand(endpoint, "drain", tmp_path_factory.mktemp("drain"), models=models) as standing:
        yield standing


@pytest.fixture
def home(models: Path, tmp_path: Path) -> Path:
    """Of a worker; the built embedder is shared."""
    made = tmp_path / "home"
    made.mkdir(mode=0o700)
    (made / "models").symlink_to(models / "models")
    return made


@asynccontextmanager
async def a_process(stand: Stand, home: Path, *, drain: float) -> AsyncIterator[Process]:
    """The product's own worker, on the stand's database and blobs."""
    environment = {
        **os.environ,
        "CARREL_HOME": str(home),
        "CARREL_DATABASE__URL": stand.endpoint.app_url,
        "CARREL_BLOBS__PATH": str(blobs_of(stand)),
        "CARREL_WORKER__DRAIN": str(drain),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "carrel.worker", env=environment, cwd=home, stdin=DEVNULL, stdout=DEVNULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until_at(stand: Stand, stage: str) -> None:
    async with connected(stand.endpoint.superuser_url) as connection, asyncio.timeout(120):
        while not await connection.fetchval("select 1 from document_versions where stage = $1", stage):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def left_of(stand: Stand, delivery: Delivery) -> dict[str, Any]:
    """How a version and its job lie in the queue."""
    async with connected(stand.endpoint.superuser_url) as connection:
        row = await connection.fetchrow(
            "select v.state, v.stage, v.attempts, v.crashes, j.attempts as begun, j.leased_until,"
            " j.due_at <= now() as due from document_versions v join jobs j on j.subject_id = v.id where v.id = $1",
            delivery.version,
        )
    assert row is not None
    return dict(row)


FREE = {
    "state": "pending", "stage": "queued", "attempts": 0, "crashes": 0, "begun": 0, "leased_until": None, "due": True,
}  # fmt: skip


@pytest.mark.parametrize(("drain", "signals"), [(0.3, 1), (600.0, 2)], ids=["after its time", "when asked twice"])
async def test_a_worker_process_that_ends_gives_back_what_would_take_too_long(
    quiet: Stand, acme: SomeTenant, source: SourceId, home: Path, *, drain: float, signals: int
) -> None:
    delivery = await delivered(acme, source, "long.txt", LONG)
    async with a_process(quiet, home, drain=drain) as process:
        await until_at(quiet, "embed")
        for _ in range(signals):
            process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.2)
        async with asyncio.timeout(60):
            assert await process.wait() == 0

    assert await left_of(quiet, delivery) == FREE
    assert delivery.document is not None
    await acme.app.forgetting.document(acme.console, delivery.document)
    await drained(quiet)


async def test_what_was_given_back_is_done_by_the_next_worker_at_its_first_attempt(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    reached = asyncio.Event()

    async def hang(_: str) -> None:
        reached.set()
        await asyncio.Event().wait()

    delivery = await delivered(acme, source, "a.md", "# A page")
    work, stop, hurry = recorded(quiet, hang), asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(work.worker.run(stop, hurry=hurry))
    await reached.wait()
    stop.set()
    hurry.set()
    await running

    assert await left_of(quiet, delivery) == FREE
    await drained(quiet)
    done = await document_of(acme, delivery)
    assert (done.status, done.attempts, done.error) == (DocumentStatus.READY, 1, None)
    assert_whole(await tally(quiet, acme.id), documents=1)
