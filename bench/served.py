"""A Carrel as an operator runs it: `carrel serve` on a free loopback port, in a home of its own."""

import asyncio
import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from bench.machine import Tree

ONE_THREAD: Final[Mapping[str, str]] = MappingProxyType({"OPENBLAS_NUM_THREADS": "1"})  # of a row, not of Carrel

_PATIENCE: Final = 180.0  # seconds until it must answer
_FAREWELL: Final = 60.0
_LOOK: Final = 1.0
_STILL: Final = 0.05  # processor seconds between two looks
_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None)
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class ServeError(Exception):
    """Carrel did not start; the sentence holds what it said."""


@dataclass(frozen=True, slots=True)
class Served:
    """`pid` is the supervisor's; `started_in` the seconds from exec to the first answer on `/health/live`."""

    url: str
    pid: int
    home: Path
    started_in: float

    @property
    def tree(self) -> Tree:
        """All processes of Carrel and of its PostgreSQL, as they are now."""
        return Tree(carrel=self.pid, postmaster=postmaster_of(self.home))


@asynccontextmanager
async def served(
    home: Path, *, worker: bool = True, processes: int = 1, port: int = 0, environment: Mapping[str, str] = _NOTHING
) -> AsyncIterator[Served]:
    """Raises ServeError. At the end it is asked to stop, PostgreSQL with it; what it logs goes to `serve.log`.

    `environment` adds settings (`CARREL_…`); those of the caller's own environment are kept out.
    """
    with (home / "serve.log").open("ab") as said:
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *command("serve", "--port", str(port), "--processes", str(processes), "--json"),
            *([] if worker else ["--no-worker"]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
            env=surroundings(home, environment),
            cwd=home,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        try:
            url = await _url(process, home)
            yield Served(url, process.pid, home, time.perf_counter() - began)
        finally:
            await _stop(process)


async def settled(carrel: Served) -> None:
    """Until nothing starts any more: the first API process answers before the others are there."""
    before, now = -1.0, carrel.tree.cpu().whole
    while now - before > _STILL:
        await asyncio.sleep(_LOOK)
        before, now = now, carrel.tree.cpu().whole


def end_with_parent() -> None:
    """This process is asked to stop when the one that started it ends, in whatever way: nothing is left running."""
    _libc.prctl(_PDEATHSIG, signal.SIGTERM)


def command(*arguments: str) -> list[str]:
    """The command line of this environment's Carrel."""
    return [sys.executable, "-P", "-m", "carrel.cli", *arguments]


def surroundings(home: Path, environment: Mapping[str, str] = _NOTHING) -> dict[str, str]:
    """This process's environment without any `CARREL_…` and what was set for the row itself, with this home."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("CARREL_", *ONE_THREAD))}
    return {**own, "CARREL_HOME": str(home), **environment}


def postmaster_of(home: Path) -> int:
    """The pid of the embedded PostgreSQL. Raises FileNotFoundError when it does not run."""
    return int((home / "postgres" / "data" / "postmaster.pid").read_text("ascii").splitlines()[0])


async def _url(process: asyncio.subprocess.Process, home: Path) -> str:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_PATIENCE):
            line = await process.stdout.readline()
    except TimeoutError:
        line = b""
    if not line:
        raise ServeError(f"Carrel did not start:\n{(home / 'serve.log').read_text('utf-8', 'replace')[-2000:]}")
    return str(json.loads(line)["url"])


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_FAREWELL):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
