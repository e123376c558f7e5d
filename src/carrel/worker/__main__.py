"""The worker as a process: `python -m carrel.worker`. `carrel work` becomes it, `carrel serve` starts it."""

import asyncio
import json
import os
import signal
import sys

from carrel import wiring
from carrel.domain.errors import Refusal
from carrel.worker.loop import Worker
from carrel.worker.post import sending
from carrel.worker.rounds import hourly, sealing


async def _work(settings: wiring.Settings, *, tell: bool) -> None:
    """Until SIGTERM or SIGINT; then the documents in hand are finished."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with (
        wiring.working(settings) as bench,
        hourly(bench.sweep),
        hourly(bench.tidy),
        hourly(bench.forget_chats),
        sealing(bench.sealer),
        sending(bench.mailroom),
    ):
        if tell:
            _tell({"pid": os.getpid(), "concurrency": bench.concurrency})
        await Worker(bench.desk, bench.tasks, concurrency=bench.concurrency, lease=bench.lease).run(stop)


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
