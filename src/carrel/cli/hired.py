"""A worker for the time of one command, if nobody else works the queue."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from carrel.cli import children

if TYPE_CHECKING:
    from carrel.ingest.desk import Desk

_LOOK: Final = 2.0
_TIDY: Final = 10.0


class HiredWorker:
    """Started in a process of its own when `need` was called and no worker lives; started again if it dies."""

    def __init__(self, desk: "Desk") -> None:
        self._desk = desk
        self._needed = asyncio.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def need(self) -> None:
        self._needed.set()

    async def watch(self) -> None:
        await self._needed.wait()
        while True:
            if not self._lives() and not await self._desk.is_attended():
                self._process = children.start("carrel.worker", environment={"CARREL_LOG_LEVEL": "error"})
            await asyncio.sleep(_LOOK)

    async def dismiss(self) -> None:
        """Once the small jobs that follow an upload (the statistics of the words) are done too, or after a while."""
        if self._process is None:
            return
        deadline = asyncio.get_running_loop().time() + _TIDY
        while self._lives() and asyncio.get_running_loop().time() < deadline:
            if not (await self._desk.backlog()).outstanding:
                break
            await asyncio.sleep(0.1)
        await self._end()

    async def _end(self) -> None:
        if self._process is not None and self._lives():
            self._process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(self._process.wait)

    def _lives(self) -> bool:
        return self._process is not None and self._process.poll() is None


@asynccontextmanager
async def hired(desk: "Desk") -> AsyncIterator[HiredWorker]:
    worker = HiredWorker(desk)
    watching = asyncio.create_task(worker.watch())
    try:
        yield worker
        await worker.dismiss()
    finally:
        watching.cancel()
