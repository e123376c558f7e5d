"""Listening: what the places of sources tell of is looked at as it happens.

Any number of workers listen to the same source: a thing is looked at by each, and taken once.
"""

import asyncio
import random
from collections.abc import Sequence
from itertools import groupby, islice, zip_longest
from typing import Final

import structlog

from carrel.domain.access import for_job, for_machine
from carrel.domain.errors import NotFound, Refusal, Unavailable
from carrel.domain.jobs import JobKind
from carrel.ingest.refresh import MOST_PENDING
from carrel.ingest.take import Taking, Visit
from carrel.ports.origins import Notice, Origins
from carrel.store import jobs, source_runs, sources, tenants
from carrel.store.source_runs import Reference
from carrel.store.transaction import Database

__all__ = ["MOST", "MOST_OF_A_TENANT", "Listening", "chosen"]

log = structlog.get_logger(__name__)

MOST_OF_A_TENANT: Final = 20
MOST: Final = 200
_LOOK: Final = 2.0  # a source that is paused, deleted, or of who was suspended is left within five seconds
_WAIT: Final = 1.0
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0


class Listening:
    """Events wait, where they wait, while their tenant has `pending` documents that wait for a worker."""

    def __init__(self, database: Database, origins: Origins, taking: Taking, *, pending: int = MOST_PENDING) -> None:
        self._database = database
        self._origins = origins
        self._taking = taking
        self._pending = pending
        self._ears: dict[Reference, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                try:
                    await self._attune()
                except Unavailable as problem:
                    log.warning("listening.waits", problem=problem.detail)
                await asyncio.sleep(_LOOK)
        finally:
            await self._leave(list(self._ears))

    async def _attune(self) -> None:
        async with self._database.transaction(for_machine()) as tx:
            wanted = set(chosen(await source_runs.listening(tx)))
        await self._leave([ref for ref in self._ears if ref not in wanted])
        for ref in wanted - self._ears.keys():
            self._ears[ref] = asyncio.create_task(self._attend(ref))

    async def _leave(self, refs: list[Reference]) -> None:
        tasks = [self._ears.pop(ref) for ref in refs]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_LOOK)

    async def _attend(self, ref: Reference) -> None:
        """For as long as the source is wanted; what breaks off is begun again, later and later."""
        pause = _FIRST_PAUSE
        while True:
            began = _now()
            try:
                await self._hear(ref)
            except Refusal as refusal:
                log.warning("source.deaf", source=str(ref.source), code=refusal.code)
            except Exception:  # whatever one place does, the others are heard
                log.exception("source.stumbled", source=str(ref.source))
            pause = _FIRST_PAUSE if _now() - began > _LONGEST_PAUSE else min(pause * 2, _LONGEST_PAUSE)
            await asyncio.sleep(pause * (0.5 + random.random() / 2))  # noqa: S311 - jitter, not a secret

    async def _hear(self, ref: Reference) -> None:
        grant = for_job(ref.tenant, ref.owner)
        async with self._database.transaction(grant) as tx:
            source, tenant = await sources.find(tx, ref.source), await tenants.find(tx, str(ref.tenant))
        if source.place is None or tenant is None:
            raise NotFound
        async with self._origins.opened(grant, tenant.slug, source.place) as origin:
            visit = Visit(grant, source, origin)
            async for notice in origin.events():
                await self._until_there_is_room(visit)
                async with notice.settled:
                    await self._heed(visit, notice)

    async def _heed(self, visit: Visit, notice: Notice) -> None:
        if notice.key is None:
            async with self._database.transaction(visit.grant) as tx:
                await jobs.enqueue(tx, JobKind.REFRESH, visit.source.id, owner=visit.source.owner)
            return
        sight = await visit.origin.look(notice.key, self._taking.known(visit))
        taken = await self._taking.take(visit, sight)
        log.info("source.heard", source=str(visit.source.id), outcome=taken)

    async def _until_there_is_room(self, visit: Visit) -> None:
        while True:
            async with self._database.transaction(visit.grant) as tx:
                standing = await source_runs.standing(tx, visit.source.id, most=self._pending)
            if standing.stopped or standing.held:
                raise NotFound
            if standing.pending < self._pending:
                return
            await asyncio.sleep(_WAIT)


def chosen(refs: Sequence[Reference], *, each: int = MOST_OF_A_TENANT, most: int = MOST) -> list[Reference]:
    """Those that one worker listens to, always the same ones: in turns, so that no tenant takes the ears of others."""
    of_tenants = [
        sorted(some, key=lambda ref: ref.source)[:each]
        for _, some in groupby(sorted(refs, key=lambda ref: ref.tenant), key=lambda ref: ref.tenant)
    ]
    in_turn = (ref for turn in zip_longest(*of_tenants) for ref in turn if ref is not None)
    return list(islice(in_turn, most))


def _now() -> float:
    return asyncio.get_running_loop().time()
