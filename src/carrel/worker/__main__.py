"""The worker as a process: `python -m carrel.worker`. `carrel work` becomes it, `carrel serve` starts it."""

import asyncio
import gc
import json
import os
import signal
import sys
from collections.abc import Callable

from carrel import wiring
from carrel.domain.errors import Refusal
from carrel.worker.listen import listening
from carrel.worker.loop import Worker
from carrel.worker.post import sending, telling
from carrel.worker.rounds import hourly, sealing


async def _work(settings: wiring.Settings, *, tell: bool) -> None:
    """Until SIGTERM or SIGINT; then the documents in hand are finished, and at the second given back.

    Walks stop where they are.
    """
    stop, hurry = asyncio.Event(), asyncio.Event()

    def asked() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, asked)
    async with (
        wiring.working(settings) as bench,
        hourly(bench.sweep),
        hourly(bench.tidy),
        hourly(bench.forget_chats),
        hourly(bench.scrub),
        sealing(bench.sealer),
        sending(bench.mailroom),
        telling(bench.dispatch),
        hourly(bench.fetching.mend, seconds=60.0),
        listening(bench.fetching.listening),
    ):
        gc.collect()
        gc.freeze()  # what the start made stays: the collector is called after each job, and need not look through it
        if tell:
            _tell({"pid": os.getpid(), "concurrency": bench.concurrency})
        fetching = bench.fetching
        worker = Worker(bench.desk, bench.tasks, concurrency=bench.concurrency, lease=bench.lease, drain=bench.drain)
        walker = Worker(
            bench.desk,
            fetching.tasks,
            concurrency=fetching.concurrency,
            lease=bench.lease,
            drain=bench.drain,
            share=max(1, fetching.concurrency // 2),
        )
        await asyncio.gather(worker.run(stop, hurry=hurry), walker.run(stop, hurry=hurry), _when(stop, fetching.leave))


async def _when(stop: asyncio.Event, leave: Callable[[], None]) -> None:
    await stop.wait()
    leave()


def _tell(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main() -> None:
    as_json = "--json" in sys.argv[1:]
    try:
        settings = wiring.load()
        wiring.configure(settings.log_level)
        asyncio.run(_work(settings, tell=as_json))
    except Refusal as refusal:
        sys.stderr.write(f"error: {refusal.detail} ({refusal.code})\n")
        if as_json:
            _tell({"error": {"code": refusal.code, "detail": refusal.detail}})
        sys.exit(1)


if __name__ == "__main__":
    main()
