"""A worker that looks on while it works: `python -m bench.watched HOME`, until SIGTERM; then it tells what it saw.

A thread of its own looks every few milliseconds at the stage of each document in hand, so the product needs no clock
for it. Processor time is read by thread: the embedder's, the loop's, and those of the loop's helpers.
"""

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from bench.ceiling import NICENESS
from bench.machine import cpu_of, family
from carrel import wiring
from carrel.domain.jobs import JobKind
from carrel.domain.library import Stage
from carrel.ingest.pipeline import Work
from carrel.settings import Settings
from carrel.wiring.memory import Task
from carrel.worker.loop import Worker

_PAUSE: Final = 0.005
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_SPENT: Final = slice(11, 13)  # utime and stime of proc_pid_stat(5), counted from the state


@dataclass(frozen=True, slots=True)
class Seen:
    """`stages`: document seconds in each stage. Of the `seconds` in which anything was in hand, for `unembedded` no
    document was with the embedder. Processor seconds of the embedder, of the loop, of its helpers, of the parsers."""

    stages: dict[str, float]
    seconds: float
    unembedded: float
    embedder: float
    loop: float
    helpers: float
    parsers: float


@dataclass(slots=True)
class _Watch:
    """Between the first document and the last; jobs of other kinds are done unseen."""

    works: dict[int, Work] = field(default_factory=dict)
    stages: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    seconds: float = 0.0
    unembedded: float = 0.0
    over: bool = False

    def seeing(self, task: Task) -> Task:
        async def run(work: Work) -> None:
            self.works[id(work)] = work
            try:
                await task(work)
            finally:
                del self.works[id(work)]

        return run

    def look(self) -> None:
        before = time.perf_counter()
        while not self.over:
            time.sleep(_PAUSE)
            now = time.perf_counter()
            self._count([work.stage for work in list(self.works.values())], now - before)
            before = now

    def _count(self, stages: list[Stage], passed: float) -> None:
        for stage in stages:
            self.stages[stage.value] += passed
        self.seconds += passed if stages else 0
        self.unembedded += passed if stages and Stage.EMBED not in stages else 0

    def told(self) -> Seen:
        by_thread = _cpu_by_thread()
        parsers = cpu_of(family([os.getpid()])) - cpu_of([os.getpid()])
        return Seen(
            dict(self.stages),
            self.seconds,
            self.unembedded,
            embedder=sum(spent for name, spent in by_thread.items() if name.startswith("minilm")),
            loop=by_thread["MainThread"],
            helpers=sum(spent for name, spent in by_thread.items() if name.startswith("asyncio")),
            parsers=parsers,
        )


def _cpu_by_thread() -> dict[str, float]:
    found = {}
    for thread in threading.enumerate():
        fields = Path(f"/proc/self/task/{thread.native_id}/stat").read_text("utf-8").rpartition(")")[2].split()
        found[thread.name] = sum(map(int, fields[_SPENT])) / _TICKS
    return found


async def _work(home: Path) -> Seen:
    stop, watch = asyncio.Event(), _Watch()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with wiring.working(Settings(home=home)) as place:
        tasks = {**place.tasks, JobKind.INGEST: watch.seeing(place.tasks[JobKind.INGEST])}
        before = watch.told()
        thread = threading.Thread(target=watch.look, name="watch")
        thread.start()
        await Worker(place.desk, tasks, concurrency=place.concurrency, lease=place.lease).run(stop)
        watch.over = True
        thread.join()
        return _since(before, watch.told())


def _since(before: Seen, after: Seen) -> Seen:
    return Seen(
        after.stages,
        after.seconds,
        after.unembedded,
        embedder=after.embedder - before.embedder,
        loop=after.loop - before.loop,
        helpers=after.helpers - before.helpers,
        parsers=after.parsers - before.parsers,
    )


def main() -> None:
    os.nice(NICENESS)
    wiring.configure("error")
    seen = asyncio.run(_work(Path(sys.argv[1])))
    sys.stdout.write(json.dumps(asdict(seen)))


if __name__ == "__main__":
    main()
