"""Schedules: the end of a run plans the next one. Where nothing is planned all the same, it is planned again."""

from contextlib import suppress

import structlog

from carrel.domain.access import for_job, for_machine
from carrel.domain.errors import NotFound
from carrel.domain.jobs import JobKind
from carrel.store import jobs, source_runs, sources
from carrel.store.transaction import Database

log = structlog.get_logger(__name__)


class Schedules:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def mend(self) -> None:
        """A source that has a schedule and no next run is walked now. Raises Unavailable."""
        async with self._database.transaction(for_machine()) as tx:
            lost = await source_runs.lost(tx)
        for ref in lost:
            with suppress(NotFound):  # deleted since it was listed
                async with self._database.transaction(for_job(ref.tenant, ref.owner)) as tx:
                    source = await sources.find(tx, ref.source)
                    await jobs.enqueue(tx, JobKind.REFRESH, source.id, owner=source.owner)
                log.info("schedule.mended", source=str(ref.source))
