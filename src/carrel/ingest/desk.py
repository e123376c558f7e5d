"""The desk where work is taken and given back: claims, heartbeats, and what becomes of a job that failed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import structlog

from carrel.domain.access import for_machine
from carrel.domain.errors import EmbedderFailed, Refusal
from carrel.domain.ids import SourceId, TenantId
from carrel.domain.jobs import (
    CRASHES,
    FOR_ACTIVE_TENANTS,
    LONGEST_DELAY,
    MOST_ATTEMPTS,
    MOST_CRASHES,
    Claim,
    JobKind,
    delay_before,
)
from carrel.domain.library import Failure, Stage, reached
from carrel.domain.webhooks import Occasion
from carrel.ingest.pipeline import Work
from carrel.store import jobs, sources, standing, versions, webhooks
from carrel.store.jobs import Backlog, LeaseLost
from carrel.store.sources import SourceHeld
from carrel.store.transaction import Database, Transaction

__all__ = [
    "Backlog",
    "Desk",
    "LeaseLost",
    "RequesterSuspended",
    "SourcePaused",
    "TenantWaits",
    "WorkerCrashed",
    "WorkerEnds",
]

log = structlog.get_logger(__name__)

_IN_QUARANTINE: Final = "Reading it ended in a crash more than once, so it is not tried again by itself."


class WorkerCrashed(Refusal):
    """The worker died while it had the document, again and again."""

    default_code = "worker_crashed"


class Quarantined(Refusal):
    """Reading the document ended in a crash, and again: it is not tried again until somebody insists."""

    default_code = "quarantined"


class RequesterSuspended(Refusal):
    """Whoever brought the document, or asked to try it again, is no active member any more."""

    default_code = "requester_suspended"


class TenantWaits(Refusal):
    """The tenant is not active: its work waits in the queue until it is."""

    default_code = "tenant_waits"


class WorkerEnds(Refusal):
    """The worker was told to end: the job goes back to the queue, and it was no attempt."""

    default_code = "worker_ends"


class SourcePaused(Refusal):
    """The document's source is paused: its work waits in the queue until the source is resumed."""

    default_code = "source_paused"


class Desk:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def listening(self, heard: Callable[[str], None]) -> AsyncIterator[asyncio.Event]:
        """`heard` gets the tenant's id when a job comes; the event is set when the connection that hears is lost."""
        lost = asyncio.Event()
        async with self._database.listening(jobs.CHANNEL, lambda *told: heard(told[-1]), lost=lambda *_: lost.set()):
            yield lost

    async def is_attended(self) -> bool:
        """Whether a worker lives, in any process on any machine."""
        return await self._database.listened(jobs.CHANNEL)

    async def claim(
        self, kinds: Sequence[JobKind], *, lease: float, most: int, passed_over: Collection[TenantId] = ()
    ) -> list[Claim]:
        """Raises Unavailable."""
        async with self._database.transaction(for_machine()) as tx:
            return await jobs.claim(tx, kinds, lease=lease, most=most, passed_over=passed_over)

    async def backlog(self) -> Backlog:
        """Raises Unavailable."""
        async with self._database.transaction(for_machine()) as tx:
            return await jobs.backlog(tx)

    async def beat(self, work: Work, *, lease: float) -> None:
        """The job is alive, and this is the stage that it is in.

        Raises LeaseLost, Unavailable, and what `begin` raises when somebody was suspended meanwhile.
        """
        async with self._database.transaction(work.grant) as tx:
            await _demand_standing(tx, work)
            await jobs.extend(tx, work.claim, lease=lease)
            if work.claim.kind is JobKind.INGEST and work.stage is not Stage.QUEUED:
                await versions.enter_stage(tx, work.claim, work.stage, progress=work.percent)

    async def begin(self, work: Work) -> None:
        """An attempt counts when it begins, so one that kills its worker counts too.

        Where a worker died with it, this one may: a crash is counted before it can happen, and settling takes it back.
        Raises WorkerCrashed when there were enough attempts, Quarantined when there were enough crashes,
        RequesterSuspended, TenantWaits, SourceHeld, SourcePaused, LeaseLost, Unavailable.
        """
        ingests = work.claim.kind is JobKind.INGEST
        if ingests and work.claim.attempts > MOST_ATTEMPTS:
            raise WorkerCrashed(f"The worker died with this document at the last of {MOST_ATTEMPTS} attempts.")
        async with self._database.transaction(work.grant) as tx:
            await _demand_standing(tx, work, begins=True)
            await jobs.begin(tx, work.claim)
            if work.claim.is_suspect:
                _demand_quiet(await versions.count_crash(tx, work.claim))
            if ingests:
                await versions.enter_stage(tx, work.claim, Stage.PARSE, progress=reached(Stage.PARSE, 0.0))
        work.is_watched = work.claim.is_suspect

    async def settle(self, work: Work, refusal: Refusal) -> None:
        """Again later if the refusal says so, else a dead letter. Raises LeaseLost, Unavailable.

        A document waits as long as its embedder's provider is away: the last attempt is not used up by that.
        """
        if isinstance(refusal, TenantWaits | WorkerEnds | SourceHeld):
            await self._put_back(work)
            return
        if isinstance(refusal, SourcePaused):
            await self._hold_back(work)
            return
        left = work.claim.attempts < MOST_ATTEMPTS or isinstance(refusal, EmbedderFailed)
        again = work.claim.kind is not JobKind.INGEST or (refusal.retryable and left)
        await (self._postpone if again else self._bury)(work, refusal)
        log.warning(
            "job.failed",
            kind=work.claim.kind,
            subject=str(work.claim.subject),
            code=refusal.code,
            stage=work.stage,
            attempt=work.claim.attempts,
            again=again,
        )

    async def _put_back(self, work: Work) -> None:
        async with self._database.transaction(work.grant) as tx:
            await jobs.hold(tx, work.claim)
            if work.claim.kind is JobKind.INGEST:
                await versions.put_back(tx, work.claim)
                await _take_back_crash(tx, work)
            await jobs.put_back(tx, work.claim)
        log.info("job.put_back", kind=work.claim.kind, subject=str(work.claim.subject))

    async def _hold_back(self, work: Work) -> None:
        """A worker that died with the document had left it in the middle of its work: it waits, and says so."""
        async with self._database.transaction(work.grant) as tx:
            await jobs.wait_for_source(tx, work.claim)
            await versions.put_back(tx, work.claim)
        log.info("job.held_back", kind=work.claim.kind, subject=str(work.claim.subject))

    async def _postpone(self, work: Work, refusal: Refusal) -> None:
        async with self._database.transaction(work.grant) as tx:
            await jobs.hold(tx, work.claim)
            if work.claim.kind is JobKind.INGEST:
                await versions.wait_again(tx, work.claim, _failure(work, refusal))
                await _take_back_crash(tx, work)
            await jobs.postpone(tx, work.claim, delay=delay_before(work.claim.attempts))
            if isinstance(refusal, EmbedderFailed) and work.claim.attempts >= MOST_ATTEMPTS:
                await jobs.give_another(tx, work.claim, delay=max(LONGEST_DELAY, refusal.wait or 0))

    async def _bury(self, work: Work, refusal: Refusal) -> None:
        async with self._database.transaction(work.grant) as tx:
            await jobs.hold(tx, work.claim)
            done = work.claim.attempts - isinstance(refusal, Quarantined)  # which is told before an attempt begins
            begun = replace(work.claim, attempts=min(done, MOST_ATTEMPTS))
            last = await _judged(tx, work, refusal)
            await versions.fail(tx, begun, _failure(work, last))
            await webhooks.announce_version(tx, Occasion.DOCUMENT_FAILED, work.claim.subject)
            await jobs.finish(tx, work.claim)


async def _demand_standing(tx: Transaction, work: Work, *, begins: bool = False) -> None:
    """Raises TenantWaits, RequesterSuspended, SourceHeld; SourcePaused for work that has not begun."""
    if work.claim.kind not in FOR_ACTIVE_TENANTS:
        return
    found = await standing.of(tx, work.claim.subject)
    if not found.tenant:
        raise TenantWaits("The tenant is not active.")
    if not found.requester:
        raise RequesterSuspended("Whoever asked for this is no active member any more: another member may retry it.")
    if begins and not found.source:
        raise SourcePaused("The document's source is paused.")
    if work.claim.kind is JobKind.REFRESH and work.claim.owner is not None:
        await sources.demand_owner(tx, SourceId(work.claim.subject))


def _demand_quiet(crashes: int) -> None:
    """Raises Quarantined."""
    if crashes > MOST_CRASHES:
        raise Quarantined(f"{_IN_QUARANTINE} The worker died while it had nothing else in hand.")


async def _judged(tx: Transaction, work: Work, refusal: Refusal) -> Refusal:
    """The refusal, or the quarantine that it leads to."""
    if refusal.code not in CRASHES:
        await _take_back_crash(tx, work)
        return refusal
    crashes = await (versions.crashes if work.is_watched else versions.count_crash)(tx, work.claim)
    return Quarantined(f"{_IN_QUARANTINE} {refusal.detail}") if crashes >= MOST_CRASHES else refusal


async def _take_back_crash(tx: Transaction, work: Work) -> None:
    if work.is_watched:
        await versions.take_back_crash(tx, work.claim)


def _failure(work: Work, refusal: Refusal) -> Failure:
    return Failure(refusal.code, refusal.detail, work.stage, refusal.retryable)
