"""A worker for the time of one command, if nobody else works the queue."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from carrel.cli import children
from carrel.domain.errors import Unavailable

if TYPE_CHECKING:
    from carrel.ingest.desk import Desk

_LOOK: Final = 2.0
_TIDY: Final = 10.0
_MOST_TOLD: Final = 64 * 1024


class HiredWorker:
    """Started in a process of its own when `need` was called and no worker lives; started again if it dies."""

    def __init__(self, desk: "Desk") -> None:
        self._desk = desk
        self._needed = asyncio.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def need(self) -> None:
        self._needed.set()

    async def watch(self) -> None:
        """Raises Unavailable when the worker cannot start: the next one could not either."""
        await self._needed.wait()
        while True:
            self._check_start()
            if not self._lives() and not await self._desk.is_attended():
                self._process = children.start(
                    "carrel.worker", "--json", environment={"CARREL_LOG_LEVEL": "error"}, stdout=subprocess.PIPE
                )
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

    def _check_start(self) -> None:
        if self._process is None or self._lives():
            return
        status, told = self._process.returncode, json.loads(_told(self._process) or "{}")
        self._process = None
        if status == 1 and "pid" not in told:
            error = told.get("error", {})
            code, detail = error.get("code"), error.get("detail", "its own words stand above.")
            raise Unavailable(f"No worker can start here: {detail}", code=code)

    async def _end(self) -> None:
        if self._process is not None and self._lives():
            self._process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(self._process.wait)

    def _lives(self) -> bool:
        return self._process is not None and self._process.poll() is None


def _told(process: subprocess.Popen[bytes]) -> bytes:
    """The first line that it printed; what it started may hold the pipe open still, so nothing is waited for."""
    assert process.stdout is not None
    with process.stdout as pipe:
        os.set_blocking(pipe.fileno(), False)
        try:
            return os.read(pipe.fileno(), _MOST_TOLD).partition(b"\n")[0]
        except BlockingIOError:
            return b""


@asynccontextmanager
async def hired(desk: "Desk") -> AsyncIterator[HiredWorker]:
    """Raises Unavailable, in the middle of what is done inside, when no worker can start."""
    worker = HiredWorker(desk)
    try:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(worker.watch())
            yield worker
            await worker.dismiss()
            watching.cancel()
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
