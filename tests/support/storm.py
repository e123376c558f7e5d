"""Who dies in the kill sweep, when and where: workers, PostgreSQL and the API, one step after the other."""

import asyncio
import random
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Final, Literal, NoReturn

from support import crash_api, crash_worker
from support.fate import FEW, MANY, Order, answering_postmaster, kill_postgres
from support.nursery import Nursery, Victim
from support.quiet import blobs_of
from support.rounds import rounds
from support.stand import Stand

Who = Literal["worker", "postgres", "api"]

LEASE: Final = 1.0
LANES: Final = 2  # workers that live side by side, of which one dies
_PATIENCE: Final = 4.0  # seconds for a point to be reached; then the victim dies where it is
_USUAL: Final = 0.3  # seconds in which a victim is at work where nothing disturbs it
_SLOWEST: Final = rounds(3, 10)
_MOST_SPARED: Final = 5
_RARE: Final = {
    "opened",
    "vanishing",
    "vanished",
    "stored",
    "weighed",
    "reshaping",
    "reshaped",
    "read again",
    "noting",
    "noted",
}
_DYING: Final[tuple[Who, ...]] = ("worker", "worker", "worker", "postgres")


@dataclass(frozen=True)
class Step:
    """Who dies, and at which point of the journey; without a point, at any moment."""

    victim: Who
    point: str = ""


# A journey that is added brings its points to `crash_worker.ALL_POINTS`, and so into this sweep.
AT_WORK: Final = ("", *crash_worker.ALL_POINTS)
BACKGROUND: Final = [Step(victim, point) for point in AT_WORK for victim in _DYING]
FOREGROUND: Final = [Step("api", point) for point in ("", *crash_api.POINTS)]


@dataclass(frozen=True)
class Toll:
    """How many are to be killed: workers and PostgreSQL, and APIs."""

    background: int
    api: int

    @property
    def total(self) -> int:
        return self.background + self.api


@dataclass(frozen=True)
class Ground:
    """What the victims work on. `folders`, `endpoints` and `ports` are as in an `Order`."""

    stand: Stand
    nursery: Nursery
    listener: socket.socket
    models: Path
    home: Path
    folders: Mapping[str, str]
    endpoints: tuple[str, ...]
    ports: str

    @property
    def postmaster(self) -> Path:
        return self.home / "postgres" / "data" / "postmaster.pid"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"


@dataclass
class Storm:
    """The sweep while it runs: what was killed, and how much of the `acts` of writing that allows."""

    ground: Ground
    toll: Toll
    chance: random.Random
    acts: int = 0
    killed: Counter[Who] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)
    done: int = 0
    serving: bool = False
    _postgres: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_over(self) -> bool:
        return self.killed.total() >= self.toll.total

    async def may_write(self) -> None:
        """The writing is spread over all the kills."""
        planned = self.toll.total
        while (kills := self.killed.total()) < planned and self.done > self.acts * (kills + 1) / planned:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        self.done += 1

    async def more(self, *, kills: int) -> None:
        """Until so many more have died, or all that are to."""
        enough = self.killed.total() + kills
        while self.killed.total() < enough and not self.is_over:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    def summary(self) -> str:
        kills = ", ".join(f"{count} of {victim}" for victim, count in sorted(self.killed.items()))
        points = f"{self.points.total()} at {len(self.points)} named points{self.never_at()}"
        return f"{self.killed.total()} ({kills}; {points}) and {self.done} writes"

    def never_at(self) -> str:
        """Which points nobody came to, where there were enough kills for all of them."""
        if self.toll.background < 2 * len(BACKGROUND):
            return ""
        missed = [step.point for step in (*BACKGROUND, *FOREGROUND) if step.point and not self.points[step.point]]
        return f", never at {', '.join(dict.fromkeys(missed))}" if missed else ""

    async def background(self) -> None:
        steps = cycle(self._shuffled(BACKGROUND))
        async with asyncio.TaskGroup() as group:
            for _ in range(LANES):
                group.create_task(self._lane(steps))

    async def _lane(self, steps: Iterator[Step]) -> None:
        while self.killed["worker"] + self.killed["postgres"] < self.toll.background:
            step = next(steps)
            if step.victim == "worker":
                await self._kill_worker(step)
                continue
            async with self._postgres:
                await self._kill_postgres(step)

    async def foreground(self) -> NoReturn:
        """Like a supervisor it starts the next API whenever one ends, for one that finds no database ends by itself."""
        steps = cycle(self._shuffled(FOREGROUND))
        while self.killed["api"] < self.toll.api:
            await self._kill_api(next(steps))
        while True:
            async with self._api(Step("api")) as victim:
                await victim.wait()

    def _shuffled(self, steps: list[Step]) -> list[Step]:
        return self.chance.sample(steps, len(steps))

    async def _kill_worker(self, step: Step) -> None:
        async with self._worker(step) as victim:
            await ended(victim, seconds=self._moment(step, victim))
            self._count(step, victim)

    async def _kill_postgres(self, step: Step) -> None:
        """A worker kills it, or we do. The worker lives on for a while, and then dies too."""
        async with self._worker(step, postmaster=str(self.ground.postmaster)) as victim:
            if (before := self.server()) is None:
                return
            await until(lambda: self.server() != before, seconds=self._moment(step, victim))
            if self.server() == before:
                kill_postgres(self.ground.postmaster)
            else:
                self.points[step.point] += 1
            self.killed["postgres"] += 1
            await ended(victim, seconds=self.chance.uniform(0.5, 2.5))
            self._count(Step("worker"), victim)

    async def _kill_api(self, step: Step) -> None:
        async with self._api(step) as victim:
            await ended(victim, seconds=self._moment(step, victim))
            self._count(step, victim)

    def _count(self, step: Step, victim: Victim) -> None:
        """One that found no database and went away was not killed: its supervisor would start the next one."""
        if victim.returncode in {None, -signal.SIGKILL}:
            self.killed[step.victim] += 1
        if victim.returncode == -signal.SIGKILL and step.point:
            self.points[step.point] += 1

    def server(self) -> int | None:
        return answering_postmaster(self.ground.postmaster)

    def _moment(self, step: Step, victim: Victim) -> float:
        """In seconds; on a machine that is busy with other things a step takes longer."""
        slow = min(max(1.0, victim.took / _USUAL), _SLOWEST)
        return slow * (_PATIENCE if step.point else self.chance.uniform(0.3, 2.5))

    @asynccontextmanager
    async def _worker(self, step: Step, *, postmaster: str = "") -> AsyncIterator[Victim]:
        await until(lambda: self.server() is not None, seconds=60)
        async with self.ground.nursery.victim("worker", self._order(step, postmaster)) as victim:
            await victim.ready.wait()
            yield victim

    @asynccontextmanager
    async def _api(self, step: Step) -> AsyncIterator[Victim]:
        await until(lambda: self.server() is not None, seconds=60)
        async with self.ground.nursery.victim("api", self._order(step), listener=self.ground.listener) as victim:
            await victim.ready.wait()
            self.serving = victim.returncode is None
            try:
                yield victim
            finally:
                self.serving = False

    def _order(self, step: Step, postmaster: str = "") -> Order:
        ground = self.ground
        return Order(
            ground.stand.endpoint.app_url,
            str(blobs_of(ground.stand)),
            str(ground.models),
            step.point,
            lease=LEASE,
            many=self.chance.choice([FEW, FEW, MANY]),
            spare=self.chance.randrange(1 if step.point in _RARE else _MOST_SPARED),
            postmaster=postmaster if step.point else "",
            chores=True,
            folders=ground.folders,
            endpoints=ground.endpoints,
            ports=ground.ports,
        )


async def until(true: Callable[[], bool], *, seconds: float) -> None:
    """Or until the time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not true():  # noqa: ASYNC110 - what is awaited happens in another process
                await asyncio.sleep(0.05)


async def ended(victim: Victim, *, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await victim.wait()
