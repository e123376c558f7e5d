"""Refreshing: a source's place is walked, and the source is made like it.

A run registers what is new or changed while it walks. Only a walk that came to its end forgets what it did not see.
Whatever stops a run, the next one goes on: what was taken is remembered with its tag.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass, field, replace
from typing import Final
from uuid import UUID

import structlog

from carrel.domain.audit import Act
from carrel.domain.errors import Conflict, NotFound, Refusal
from carrel.domain.ids import SourceId
from carrel.domain.jobs import MOST_ATTEMPTS, delay_before
from carrel.domain.library import Source
from carrel.domain.origins import Counts, Place, Reason, RunState
from carrel.domain.webhooks import Occasion
from carrel.ingest.desk import WorkerCrashed
from carrel.ingest.pipeline import Work
from carrel.ingest.take import Taken, Taking, Visit
from carrel.ports.origins import Origins, Same, Sight
from carrel.store import audit, erasure, jobs, source_items, source_runs, sources, tenants, webhooks
from carrel.store.jobs import LeaseLost
from carrel.store.sources import SourceHeld
from carrel.store.transaction import Database, Transaction

__all__ = ["MOST_PENDING", "Refreshing"]

log = structlog.get_logger(__name__)

MOST_PENDING: Final = 500
_MARKED_AT_ONCE: Final = 500
_FORGOTTEN_AT_ONCE: Final = 50
_LOOK: Final = 0.5  # seconds between two looks at whether the walk may go on
_WAIT: Final = 1.0
_SUSPICIOUS: Final = 10  # documents: where so many were, nothing at all is more likely a mistake than the truth
_PAUSED: Final = Reason(code="source_paused", detail="The source was paused: the rest was not looked at.")
_HELD: Final = Reason(code="source_held", detail="The owner of this private source may not refresh it at present.")
_LEFT: Final = Reason(code="interrupted", detail="The worker was stopped: another one goes on.")


@dataclass(slots=True)
class _Begun:
    """A run that has begun, and how far it has come."""

    work: Work
    source: Source
    place: Place
    slug: str
    run: UUID
    counts: Counts = field(default_factory=Counts)

    def count(self, taken: Taken, many: int = 1) -> None:
        if taken is Taken.ABSENT:
            return
        found = 0 if taken is Taken.DELETED else many
        more = {taken.value: getattr(self.counts, taken.value) + many}
        self.counts = replace(self.counts, found=self.counts.found + found, **more)


@dataclass(slots=True)
class _Tour:
    """Its walk. `seen` are things that are as they were, not yet marked."""

    begun: _Begun
    visit: Visit
    seen: list[str] = field(default_factory=list)
    looked_at: float = 0.0


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a run ended; with `again_in` it is tried again after so many seconds, whatever the schedule says."""

    state: RunState
    problem: Reason | None = None
    again_in: float | None = None

    @property
    def is_last(self) -> bool:
        """Of what was asked for once; else it goes on."""
        return self.again_in is None and not self.waits

    @property
    def waits(self) -> bool:
        """For another worker, or for the owner: it was no attempt."""
        return self.problem is _LEFT or self.problem is _HELD


class Refreshing:
    """A walk waits while its tenant has `pending` documents that wait for a worker."""

    def __init__(self, database: Database, origins: Origins, taking: Taking, *, pending: int = MOST_PENDING) -> None:
        self._database = database
        self._origins = origins
        self._taking = taking
        self._pending = pending
        self._leaving = False

    def leave(self) -> None:
        """Walks stop at their next thing; another worker goes on."""
        self._leaving = True

    async def run(self, work: Work) -> None:
        """Raises LeaseLost when the source is gone or the run is another worker's."""
        begun = await self._begin(work)
        if begun is None:
            return
        try:
            if work.claim.attempts > MOST_ATTEMPTS:
                raise WorkerCrashed(f"The worker died with this walk at the last of {MOST_ATTEMPTS} attempts.")
            await self._end(begun, await self._made_alike(begun))
        except LeaseLost:
            raise
        except SourceHeld:
            await self._end(begun, _Ending(RunState.PARTIAL, _HELD))
        except Refusal as refusal:
            await self._end(begun, _failed(work, refusal))
        except asyncio.CancelledError:
            await self._interrupted(begun)
            raise

    async def _begin(self, work: Work) -> _Begun | None:
        """None for a source that is gone, or paused, or does not refresh itself any more."""
        async with self._database.transaction(work.grant) as tx:
            source = await _found(tx, work)
            tenant = await tenants.find(tx, str(work.grant.tenant))
            if source is None or source.place is None or source.paused or tenant is None:
                await jobs.finish(tx, work.claim)
                return None
            run = await source_runs.begin(tx, source)
            await jobs.hold(tx, work.claim)
            return _Begun(work, source, source.place, tenant.slug, run)

    async def _made_alike(self, begun: _Begun) -> _Ending:
        async with self._origins.opened(begun.work.grant, begun.slug, begun.place) as origin:
            visit = Visit(begun.work.grant, begun.source, origin, begun.run, begun.work.claim)
            tour = _Tour(begun, visit)
            stopped = await self._walk(tour)
            if stopped is not None:
                return _Ending(RunState.PARTIAL, stopped)
            await self._forget_missing(tour)
            return _Ending(RunState.PARTIAL if begun.counts.failed else RunState.DONE)

    async def _walk(self, tour: _Tour) -> Reason | None:
        """None when everything that is there was seen, else why the rest was not."""
        sights = tour.visit.origin.walk(self._taking.known(tour.visit))
        try:
            async for sight in sights:
                if self._leaving:
                    return _LEFT
                if (stopped := await self._stopped(tour)) is not None:
                    return stopped
                await self._see(tour, sight)
        finally:
            if isinstance(sights, AsyncGenerator):
                await sights.aclose()
        await self._mark(tour)
        return None

    async def _see(self, tour: _Tour, sight: Sight) -> None:
        if isinstance(sight, Same):
            tour.seen.append(sight.key)
            tour.begun.count(Taken.UNCHANGED)
        else:
            tour.begun.count(await self._taking.take(tour.visit, sight))
        if len(tour.seen) >= _MARKED_AT_ONCE:
            await self._mark(tour)

    async def _mark(self, tour: _Tour) -> None:
        async with self._database.transaction(tour.begun.work.grant) as tx:
            if tour.seen:
                await source_items.mark_seen(tx, tour.visit.source.id, tour.seen, run=tour.begun.run)
            await jobs.hold(tx, tour.begun.work.claim)
        tour.seen.clear()

    async def _stopped(self, tour: _Tour) -> Reason | None:
        """Waits until there is room in the queue. Why the walk must not go on: paused, deleted, or held."""
        while _now() - tour.looked_at > _LOOK and not self._leaving:
            async with self._database.transaction(tour.begun.work.grant) as tx:
                standing = await source_runs.standing(tx, tour.visit.source.id, most=self._pending)
                await source_runs.count(tx, tour.begun.run, tour.begun.counts)
            if standing.stopped or standing.held:
                return _PAUSED if standing.stopped else _HELD
            if standing.pending < self._pending:
                tour.looked_at = _now()
                break
            await asyncio.sleep(_WAIT)
        return None

    async def _forget_missing(self, tour: _Tour) -> None:
        """What the whole walk did not see. Raises Conflict `origin_empty` where it saw nothing, which is suspicious."""
        source = tour.visit.source.id
        async with self._database.transaction(tour.begun.work.grant) as tx:
            if tour.begun.counts.found == 0 and not await source_runs.has_leave(tx, tour.begun.run):
                await _demand_few(tx, tour.visit.source)
        after, more = None, True
        while more:
            async with self._database.transaction(tour.begun.work.grant, timeout=300) as tx:
                await sources.stand(tx, tour.visit.source)
                found = await source_items.missing(tx, source, run=tour.begun.run, after=after, most=_FORGOTTEN_AT_ONCE)
                locked = await erasure.lock(tx, found)
                # looked at again under the lock: an event may have brought one back
                still = set(
                    await source_items.missing(tx, source, run=tour.begun.run, after=after, most=_FORGOTTEN_AT_ONCE)
                )
                gone = [document for document in locked if document in still]
                if gone:
                    await erasure.erase_locked(tx, gone)
                    await audit.record(tx, Act.DOCUMENTS_DISAPPEARED, source, facts={"documents": len(gone)})
                await jobs.hold(tx, tour.begun.work.claim)
            tour.begun.count(Taken.DELETED, len(gone))
            more = len(found) == _FORGOTTEN_AT_ONCE
            after = found[-1] if found else None
        async with self._database.transaction(tour.begun.work.grant, timeout=300) as tx:
            await source_items.clear_missing(tx, source, run=tour.begun.run)
            await jobs.hold(tx, tour.begun.work.claim)

    async def _end(self, begun: _Begun, ending: _Ending) -> None:
        """Raises LeaseLost."""
        source, counts, problem = begun.source.id, begun.counts, ending.problem
        async with self._database.transaction(begun.work.grant) as tx:
            now = await _found(tx, begun.work)
            if now is None:
                raise LeaseLost("The source is gone.")
            await source_runs.count(tx, begun.run, counts)
            if not ending.is_last:
                await source_runs.give_leave_back(tx, source)
            await source_runs.end(tx, source, begun.run, ending.state, problem=problem)
            if counts.created or counts.replaced or counts.deleted:
                await audit.record(tx, Act.SOURCE_REFRESHED, source, facts={"state": ending.state, **asdict(counts)})
            await _tell(tx, begun, ending)
            await _go_on(tx, begun.work, now, ending)
        code = problem.code if problem else None
        log.info("source.refreshed", source=str(source), state=ending.state, code=code, **asdict(counts))

    async def _interrupted(self, begun: _Begun) -> None:
        """As well as it can be said now; whoever runs next says so in any case."""
        try:
            async with asyncio.timeout(2), self._database.transaction(begun.work.grant) as tx:
                if await _found(tx, begun.work) is None:  # the source before its run, as whoever pauses it
                    return
                await source_runs.count(tx, begun.run, begun.counts)
                await source_runs.interrupt(tx, begun.source.id)
        except (Refusal, TimeoutError):
            log.warning("source.interrupted", source=str(begun.source.id))


def _failed(work: Work, refusal: Refusal) -> _Ending:
    """What waiting may help with is tried again soon, a few times; anything else at its next time."""
    soon = refusal.retryable and work.claim.attempts < MOST_ATTEMPTS
    delay = delay_before(work.claim.attempts) if soon else None
    return _Ending(RunState.FAILED, Reason(refusal.code, refusal.detail), again_in=delay)


async def _tell(tx: Transaction, begun: _Begun, ending: _Ending) -> None:
    """What others are told of a run that has ended, in the transaction of its end; one that goes on has not."""
    if ending.waits:
        return
    facts = {"source_id": str(begun.source.id), "run_id": str(begun.run), "state": ending.state}
    code = ending.problem.code if ending.problem else None
    await webhooks.announce(tx, Occasion.SOURCE_REFRESHED, {**facts, **asdict(begun.counts), "code": code})


async def _go_on(tx: Transaction, work: Work, source: Source, ending: _Ending) -> None:
    """The end of this run's job, and the beginning of the next one's. Raises LeaseLost."""
    if source.paused:
        await jobs.finish(tx, work.claim)
    elif ending.waits:
        await jobs.hold(tx, work.claim)
        await jobs.put_back(tx, work.claim)
    elif ending.again_in is not None:
        await jobs.hold(tx, work.claim)
        await jobs.postpone(tx, work.claim, delay=ending.again_in)
    elif source.schedule is not None:
        await jobs.repeat(tx, work.claim, delay=source.schedule)
    else:
        await jobs.finish(tx, work.claim)


async def _found(tx: Transaction, work: Work) -> Source | None:
    """Nobody moves or pauses it until the commit."""
    try:
        return await sources.held(tx, SourceId(work.claim.subject))
    except NotFound:
        return None


async def _demand_few(tx: Transaction, source: Source) -> None:
    if await source_items.has_documents(tx, source.id, least=_SUSPICIOUS):
        raise Conflict(
            "There is nothing at the source's place, where much was: if that is right, refresh it with accept_empty.",
            code="origin_empty",
        )


def _now() -> float:
    return asyncio.get_running_loop().time()
