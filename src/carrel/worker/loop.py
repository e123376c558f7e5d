"""The worker: claims jobs in turn, does them, keeps their leases alive, and survives whatever one of them does."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Final

import structlog

from carrel.domain.access import for_job
from carrel.domain.errors import Refusal, Unavailable
from carrel.domain.ids import TenantId
from carrel.domain.jobs import Claim, JobKind
from carrel.ingest.desk import Desk, LeaseLost, WorkerEnds
from carrel.ingest.pipeline import Work
from carrel.worker.floor import Floor

log = structlog.get_logger(__name__)

Task = Callable[[Work], Awaitable[None]]

_POLL: Final = 2.0
_NEWCOMERS: Final = 1.0  # seconds, after which newcomers are looked for without news of any: time makes some jobs due
_QUICK_POLL: Final = 0.1
_REST: Final = 1.0
_RESTLESS: Final = 10.0  # seconds of work, after which a moment is enough
_LOOK: Final = 4.0  # whoever is suspended is noticed within five seconds
_DRAIN: Final = 25.0
_GIVING_BACK: Final = 5.0
_TELLING: Final = 1.0


class Worker:
    """`concurrency` jobs at a time; a job that is silent for `lease` seconds is another worker's.

    One place more is for a newcomer: a tenant that has no job in hand need not wait for the large documents of others.
    To look for one costs a walk through all that waits, so it is done on news, and now and then.
    While it has a suspect in hand it claims no document, and one that waits for the suspect takes no place: when it may
    go on, it does so beside what took its place, so that for a while about twice as many jobs may be at work.
    """

    def __init__(
        self,
        desk: Desk,
        tasks: Mapping[JobKind, Task],
        *,
        concurrency: int,
        lease: float,
        drain: float = _DRAIN,
        share: int | None = None,
        rest: Callable[[], None] | None = None,
    ) -> None:
        """`drain`: how many seconds what is in hand at the end may still take. `share`: the most jobs of one tenant.

        `rest` is called when nothing was in hand for a while, and now and then when nothing is for a moment.
        """
        self._desk = desk
        self._tasks = tasks
        self._concurrency = concurrency
        self._lease = lease
        self._drain = drain
        self._share = share
        self._rest = rest
        self._is_rested, self._rested = True, 0.0
        self._wake = asyncio.Event()
        self._running: dict[asyncio.Task[None], Claim] = {}
        self._has_news, self._looked = True, 0.0
        self._floor = Floor()

    async def run(self, stop: asyncio.Event, *, hurry: asyncio.Event | None = None) -> None:
        """Until `stop`; then no new job is claimed, and those in hand are finished, or given back if that takes long.

        At `hurry` they are given back at once.
        """
        while not stop.is_set():
            try:
                async with self._desk.listening(self._hear) as lost:
                    await self._until(stop, lost)
            except Unavailable as problem:
                log.warning("worker.waits", problem=problem.detail)
                await _first(stop, seconds=_REST)
            except Exception:  # a worker that ended in silence would let every document wait for ever
                log.exception("worker.stumbled")
                await _first(stop, seconds=_REST)
        await self._finish(hurry or asyncio.Event())

    async def drain(self) -> None:
        """Until nothing waits or runs any more: for a command that has no worker to rely on. Raises Unavailable."""
        while await self._claim() or self._running or (await self._desk.backlog()).outstanding:
            self._wake.clear()
            await _first(self._wake, seconds=_QUICK_POLL)

    async def _until(self, stop: asyncio.Event, lost: asyncio.Event) -> None:
        self._has_news = True  # what was told before, nobody has heard
        while not stop.is_set() and not lost.is_set():
            self._wake.clear()
            if not await self._claim():
                await _first(stop, lost, self._wake, seconds=_NEWCOMERS if self._running else _POLL)
                self._take_rest()

    def _take_rest(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._is_rested or self._running or (self._wake.is_set() and now < self._rested + _RESTLESS):
            return
        self._is_rested, self._rested = True, now
        if self._rest is not None:
            self._rest()

    async def _claim(self) -> int:
        free = self._concurrency - len(self._running) + self._floor.waiting
        if self._share is not None:
            return len(await self._take_shared(free, self._share))
        claims = await self._take(free) if free > 0 else []
        if 0 <= free == len(claims):
            claims += await self._take_newcomer()
        return len(claims)

    async def _take_newcomer(self) -> list[Claim]:
        now = asyncio.get_running_loop().time()
        if not self._has_news and now < self._looked + _NEWCOMERS:
            return []
        self._has_news, self._looked = False, now
        claims = await self._take(1, passed_over=set(self._tenants()))
        self._has_news = self._has_news or bool(claims)  # there may be more of them
        return claims

    async def _take_shared(self, most: int, share: int) -> list[Claim]:
        """One after the other, none of a tenant that has its share in hand."""
        claims: list[Claim] = []
        for _ in range(most):
            in_hand = Counter(self._tenants())
            full = {tenant for tenant, jobs in in_hand.items() if jobs >= share}
            if not (one := await self._take(1, passed_over=full)):
                break
            claims += one
        return claims

    async def _take(self, most: int, passed_over: Collection[TenantId] = ()) -> list[Claim]:
        claims = await self._desk.claim(self._kinds(), lease=self._lease, most=most, passed_over=passed_over)
        for claim in claims:
            task = asyncio.create_task(self._guarded(claim))
            self._running[task] = claim
            task.add_done_callback(self._done)
            self._is_rested = False
        return claims

    def _kinds(self) -> list[JobKind]:
        """What may begin now: beside a suspect, whatever reads no document."""
        is_held = any(claim.is_suspect for claim in self._running.values())
        return [kind for kind in self._tasks if not (is_held and kind is JobKind.INGEST)]

    def _tenants(self) -> list[TenantId]:
        return [claim.tenant for claim in self._running.values()]

    def _hear(self, tenant: str) -> None:
        self._has_news = self._has_news or tenant not in map(str, self._tenants())
        self._wake.set()

    def _done(self, task: asyncio.Task[None]) -> None:
        done = self._running.pop(task)  # a suspect kept the documents of newcomers waiting too
        self._has_news = self._has_news or done.is_suspect or done.tenant not in self._tenants()
        self._wake.set()

    async def _finish(self, hurry: asyncio.Event) -> None:
        ended = asyncio.create_task(self._ended())
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait([ended, hurried], timeout=self._drain, return_when=asyncio.FIRST_COMPLETED)
        for task in (*self._running, hurried):
            task.cancel()
        await asyncio.wait([ended], timeout=_GIVING_BACK)
        ended.cancel()

    async def _ended(self) -> None:
        while self._running:
            await asyncio.wait(self._running)

    async def _guarded(self, claim: Claim) -> None:
        """No exception of a job reaches the loop; what could not be settled is taken up again when the lease ends."""
        work = Work(claim, for_job(claim.tenant, claim.owner))
        try:
            await self._attempt(work)
        except LeaseLost:
            log.info("job.lost", kind=claim.kind, subject=str(claim.subject))
        except asyncio.CancelledError:  # the worker ends
            await self._settle(work, WorkerEnds("The worker ends before the job does."))
        except Refusal as refusal:
            await self._settle(work, refusal)
        except Exception:  # also what a job does whose rows went away under it: that is no mistake of ours
            if await self._settle(work, Unavailable("Something went wrong inside the worker.", code="internal_error")):
                log.exception("job.broke", kind=claim.kind, subject=str(claim.subject), stage=work.stage)

    async def _attempt(self, work: Work) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                heart = group.create_task(self._beat(work))
                async with self._room(work.claim):
                    await self._desk.begin(work)
                    await self._tasks[work.claim.kind](work)
                heart.cancel()
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None

    @asynccontextmanager
    async def _room(self, claim: Claim) -> AsyncIterator[None]:
        """Only documents hold each other up."""
        if claim.kind is not JobKind.INGEST:
            yield
            return
        async with self._floor.entered(alone=claim.is_suspect):
            yield

    async def _beat(self, work: Work) -> None:
        """Keep the lease. Raises LeaseLost when it is gone, and what the desk refuses to somebody who was suspended.

        What is new is written down within a second or so; what is done faster needs no word of its own. A database that
        does not answer gets another chance.
        """
        clock, longest = asyncio.get_running_loop().time, min(self._lease / 3, _LOOK)
        beaten, told = clock(), work.percent
        while True:
            await asyncio.sleep(min(longest, _TELLING))
            if work.percent == told and clock() - beaten < longest:
                continue
            beaten, told = clock(), work.percent
            try:
                await self._desk.beat(work, lease=self._lease)
            except Unavailable as problem:
                log.warning("job.silent", subject=str(work.claim.subject), problem=problem.detail)

    async def _settle(self, work: Work, refusal: Refusal) -> bool:
        """Whether the job was still ours."""
        try:
            await self._desk.settle(work, refusal)
        except LeaseLost:
            log.info("job.lost", kind=work.claim.kind, subject=str(work.claim.subject))
            return False
        except Refusal as problem:
            log.warning("job.unsettled", subject=str(work.claim.subject), problem=problem.detail)
        return True


async def _first(*events: asyncio.Event, seconds: float) -> None:
    """Until one of the events is set, or the time is over."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
