"""Sources that refresh themselves, in tests: a folder that is opened, and walks that are asked for and waited for."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from carrel.domain.access import for_job
from carrel.domain.ids import SourceId
from carrel.domain.jobs import JobKind
from carrel.domain.library import Document, Source, SourceKind
from carrel.domain.origins import Folder, Item, ItemStatus, Place, Run
from carrel.ingest.desk import Desk
from carrel.ingest.pipeline import Work
from carrel.library.documents import Shelf
from carrel.ports.origins import Origins
from carrel.store.sources import NewSource
from carrel.wiring import Opened, assemble, fetching
from carrel.wiring.fetching import Fetching
from carrel.worker.loop import Worker
from support.stand import Stand
from support.tenants import SomeTenant, a_tenant


@dataclass(frozen=True)
class Watched:
    """A tenant with a folder that was opened for it, and whoever walks its sources."""

    stand: Stand
    tenant: SomeTenant
    folder: Path
    fetching: Fetching

    async def source(self, path: Path | None = None, *, schedule: int | None = None, **more: object) -> Source:
        """Made with nothing of it walked yet."""
        place: Place = Folder(str(path or self.folder))
        wish = NewSource(f"source {uuid.uuid4()}", SourceKind.FOLDER, place=place, schedule=schedule)
        return await self.tenant.app.sources.create(self.tenant.console, replace(wish, **more))  # type: ignore[arg-type]

    async def walked(self, source: SourceId) -> Run:
        """The run that is due now, from its beginning to its end."""
        await self.tenant.app.refreshes.request(self.tenant.console, source)
        return await self.next_run(source)

    async def next_run(self, source: SourceId) -> Run:
        """Of the job that is there; the test itself is the worker."""
        work = await self.claimed(source)
        assert work is not None, "There was no job for the source."
        await self.worked(work)
        return await self.last_run(source)

    async def claimed(self, source: SourceId) -> Work | None:
        """What a worker gets of it now; jobs of other sources that are due are left to their leases."""
        for claim in await Desk(self.stand.database).claim([JobKind.REFRESH], lease=60, most=100):
            if claim.subject == source:
                return Work(claim, for_job(claim.tenant, claim.owner))
        return None

    async def worked(self, work: Work) -> None:
        await Desk(self.stand.database).begin(work)
        await self.fetching.tasks[JobKind.REFRESH](work)

    async def last_run(self, source: SourceId) -> Run:
        found = (await self.tenant.app.sources.get(self.tenant.console, source)).last_run
        assert found is not None
        return found

    async def failures(self, source: SourceId) -> dict[str, str]:
        page = await self.tenant.app.refreshes.items(self.tenant.console, source, status=ItemStatus.FAILED, limit=200)
        return {item.key: item.failure.code for item in page.items if item.failure}

    async def items(self, source: SourceId) -> list[Item]:
        return list((await self.tenant.app.refreshes.items(self.tenant.console, source, limit=200)).items)

    async def documents(self, source: SourceId) -> dict[str, Document]:
        page = await self.tenant.app.documents.listed(self.tenant.console, Shelf(source=source), limit=200)
        return {document.key: document for document in page.items}

    def write(self, key: str, text: str | bytes = "Some text.") -> Path:
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path


Make = Callable[..., Awaitable[Watched]]
"""Another tenant with the same folder; takes what `a_watched` takes."""


async def a_watched(stand: Stand, folder: Path, *, origins: Origins | None = None, pending: int = 500) -> Watched:
    """The application of this tenant knows the folder, which is there; others know no folder at all."""
    made = await a_tenant(stand.app, "Watched")
    base = replace(stand.parts.base, places=Opened({made.slug: (str(folder),)}, pending=pending))
    app = assemble(replace(stand.parts, base=base))
    return Watched(stand, SomeTenant(app, made.tenant), folder, fetching(base, origins))


@asynccontextmanager
async def listening(watched: Watched) -> AsyncIterator[None]:
    """Ears for the sources, and a worker for their walks."""
    stop = asyncio.Event()
    desk = Desk(watched.stand.database)
    walker = Worker(desk, watched.fetching.tasks, concurrency=2, lease=30.0)
    tasks = [asyncio.create_task(walker.run(stop)), asyncio.create_task(watched.fetching.listening.run())]
    try:
        yield
    finally:
        stop.set()
        watched.fetching.leave()
        tasks[1].cancel()
        await asyncio.wait(tasks)
