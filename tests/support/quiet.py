"""A Carrel on a database of its own, where nobody works unless the test says so."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from carrel.adapters.blobs.local import LocalBlobs
from carrel.adapters.postgres import Endpoint, bootstrap
from carrel.domain.ids import SourceId
from carrel.domain.jobs import JobKind
from carrel.domain.library import Document
from carrel.ingest.desk import Desk
from carrel.ingest.upload import Delivery
from carrel.wiring import tasks
from carrel.worker.loop import Task, Worker
from support.raw import connected
from support.stand import Stand, a_stand
from support.tenants import SomeTenant, pieces


@asynccontextmanager
async def a_quiet_stand(endpoint: Endpoint, name: str, home: Path, *, models: Path) -> AsyncIterator[Stand]:
    """A second database `name` on the same server: the workers of other tests do not see its jobs."""
    own = replace(endpoint, database=name, owner=f"{name}_owner", app=f"{name}_app")
    await asyncio.to_thread(bootstrap, own)
    async with a_stand(own, home, models=models) as standing:
        yield standing


def a_worker_of(
    stand: Stand, *, concurrency: int = 3, lease: float = 30.0, doing: Mapping[JobKind, Task] | None = None
) -> Worker:
    """Not running: `drain` it, or `run` it."""
    return Worker(Desk(stand.database), doing or tasks(stand.parts, stand.parser), concurrency=concurrency, lease=lease)


@asynccontextmanager
async def without_delays(stand: Stand) -> AsyncIterator[None]:
    """Nothing waits for its time meanwhile: neither a retry nor the weighing."""

    async def hasten() -> None:
        async with connected(stand.endpoint.superuser_url) as connection:
            while True:
                await connection.execute("update jobs set due_at = now() where due_at > now() and leased_until is null")
                await asyncio.sleep(0.05)

    hastening = asyncio.create_task(hasten())
    try:
        yield
    finally:
        hastening.cancel()
        await asyncio.wait([hastening])


async def drained(stand: Stand, worker: Worker | None = None, *, lease: float = 30.0, seconds: float = 60.0) -> None:
    """Until nothing waits."""
    async with asyncio.timeout(seconds), without_delays(stand):
        await (worker or a_worker_of(stand, lease=lease)).drain()


async def delivered(tenant: SomeTenant, source: SourceId, key: str, text: str | bytes) -> Delivery:
    """Without waiting for a worker."""
    content = text.encode() if isinstance(text, str) else text
    dock = await tenant.app.uploads.dock(tenant.console, source)
    return await tenant.app.uploads.deliver(dock, key, pieces(content), declared=None)


async def document_of(tenant: SomeTenant, delivery: Delivery) -> Document:
    assert delivery.document is not None
    return await tenant.app.documents.get(tenant.console, delivery.document)


def blobs_of(stand: Stand) -> Path:
    blobs = stand.parts.base.blobs
    assert isinstance(blobs, LocalBlobs)
    return blobs._root


async def idle(stand: Stand, *, seconds: float = 30.0) -> None:
    """Until the workers that run have nothing more to do."""
    async with asyncio.timeout(seconds):
        while (await stand.app.desk.backlog()).outstanding:  # noqa: ASYNC110 - the database has no event for it
            await asyncio.sleep(0.05)
