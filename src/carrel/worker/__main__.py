"""The worker as a process: `python -m carrel.worker`. `carrel work` becomes it, `carrel serve` starts it."""

import asyncio
import json
import os
import signal
import sys

from carrel import wiring
from carrel.domain.errors import Refusal
from carrel.worker.loop import Worker


async def _work(settings: wiring.Settings, *, tell: bool) -> None:
    """Until SIGTERM or SIGINT; then the documents in hand are finished."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with wiring.working(settings) as bench:
        if tell:
            print(json.dumps({"pid": os.getpid(), "concurrency": bench.concurrency}), flush=True)
        await Worker(bench.desk, bench.tasks, concurrency=bench.concurrency, lease=bench.lease).run(stop)


def main() -> None:
    as_json = "--json" in sys.argv[1:]
    try:
        settings = wiring.load()
        wiring.configure(settings.log_level)
        asyncio.run(_work(settings, tell=as_json))
    except Refusal as refusal:
        print(f"error: {refusal.detail} ({refusal.code})", file=sys.stderr)
        if as_json:
            print(json.dumps({"error": {"code": refusal.code, "detail": refusal.detail}}))
        sys.exit(1)


if __name__ == "__main__":
    main()
