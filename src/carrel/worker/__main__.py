"""The worker as a process: `python -m carrel.worker`. `carrel work` becomes it, `carrel serve` starts it."""

import asyncio
import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial

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
        gc.freeze()  # what the start made stays: the collector is called at each rest, and need not look through it
        if tell:
            _tell({"pid": os.getpid(), "concurrency": bench.concurrency})
        running = [worker.run(stop, hurry=hurry) for worker in _workers(bench)]
        await asyncio.gather(*running, _when(stop, bench.fetching.leave))


def _workers(bench: wiring.Bench) -> list[Worker]:
    """The one for documents, and the one that walks sources."""
    hired = partial(Worker, bench.desk, lease=bench.lease, drain=bench.drain, rest=bench.rest)
    walks = bench.fetching.concurrency
    return [
        hired(bench.tasks, concurrency=bench.concurrency),
        hired(bench.fetching.tasks, concurrency=walks, share=max(1, walks // 2)),
    ]


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
