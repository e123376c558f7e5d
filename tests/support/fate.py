"""Where a victim of the sweeps has to die: of itself with SIGKILL, at a named point, or PostgreSQL in its place.

The product's own code runs. Only the collaborators behind its ports, and the database, are wrapped to meet the points.
"""

import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from carrel.domain.layout import Thresholds
from carrel.store.transaction import Database, Grant, Transaction

FEW: Final = 6  # chunks: a tenant with as many gets tables of its own
MANY: Final = 20_000  # as in the product: here every tenant goes back to the pooled tables
PHASE: Final = ContextVar("PHASE", default="")  # each job and each request has its own
_LONG: Final = 300.0  # the time limit by which the product's two long transactions are known from the short ones
_AROUND: Final = {  # the points before and after the commit of a transaction, by how far its journey has come
    "": ("", ""),
    "prepared": ("keeping", "kept"),
    "indexed": ("committing", "committed"),
    "staged": ("registering", "registered"),
    "erasing": ("erasing", "erased"),
    "reshaping": ("reshaping", "reshaped"),
    "destroying": ("destroying", "destroyed"),
    "walking": ("taking", "taken"),
    "walked": ("vanishing", "vanished"),
    "dispatching": ("entrusting", "entrusted"),
    "told": ("settling", "settled"),
    "scrubbing": ("noting", "noted"),
}

Argument = TypeVar("Argument")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Order:
    """`only` restricts the killing in the parser to keys that hold it; `spare` lets the first so-many pass the point.

    A tenant with `many` chunks is given tables of its own. With `postmaster`, the file that names PostgreSQL's process,
    it is PostgreSQL that dies, once. `folders` are open to the tenants of these slugs, `endpoints` are object stores
    and `ports` those of web sites that sources may read; with `chores` the worker also walks, tells and scrubs.
    """

    app_url: str
    blobs: str
    models: str
    point: str
    lease: float = 1.0
    concurrency: int = 3
    only: str = ""
    spare: int = 0
    many: int = FEW
    postmaster: str = ""
    chores: bool = False
    folders: Mapping[str, str] = field(default_factory=dict)
    endpoints: tuple[str, ...] = ()
    ports: str = "80"


class Fate:
    """Knows where somebody has to die."""

    def __init__(self, order: Order) -> None:
        self._point = order.point
        self._spare = order.spare
        self._postmaster = order.postmaster

    def meets(self, point: str) -> None:
        if not point or point != self._point:
            return
        self._spare -= 1
        if self._spare < 0:
            self._strike()

    def _strike(self) -> None:
        if not self._postmaster:
            os.kill(os.getpid(), signal.SIGKILL)
        self._point = ""
        kill_postgres(Path(self._postmaster))

    def after(
        self, act: Callable[[Argument], Coroutine[Any, Any, Result]], point: str, *, phase: str = ""
    ) -> Callable[[Argument], Coroutine[Any, Any, Result]]:
        """`act`, and then the point."""

        async def acted(argument: Argument) -> Result:
            result = await act(argument)
            if phase:
                PHASE.set(phase)
            self.meets(point)
            return result

        return acted


class FatedDatabase(Database):
    fate: Fate

    @asynccontextmanager
    async def transaction(self, grant: Grant, *, timeout: float = 30.0) -> AsyncIterator[Transaction]:
        phase = PHASE.get()
        before, after = _AROUND[phase or ("prepared" if timeout == _LONG else "")]
        async with super().transaction(grant, timeout=timeout) as tx:
            yield tx
            self.fate.meets(before)
        self.fate.meets(after)


def kill_postgres(pid_file: Path) -> None:
    """The server and its supervisor, who would pause longer and longer between restarts of one that keeps dying.

    Whoever uses the server brings a new supervisor. Nothing is killed while the server is down already.
    """
    postmaster = running_postmaster(pid_file)
    if postmaster is not None:
        with suppress(ProcessLookupError):
            parent = int(_stat(postmaster)[3])
            os.kill(postmaster, signal.SIGKILL)
            os.kill(parent, signal.SIGKILL)


def running_postmaster(pid_file: Path) -> int | None:
    """A killed server leaves its file behind, so the process is asked too."""
    with suppress(FileNotFoundError, ProcessLookupError, IndexError, ValueError):  # of a file that is being written
        postmaster = int(pid_file.read_text().splitlines()[0])
        name, state = _stat(postmaster)[1:3]
        return postmaster if name == "(postgres)" and state != "Z" else None
    return None


def answering_postmaster(pid_file: Path) -> int | None:
    """One that has recovered whatever there was to recover."""
    with suppress(FileNotFoundError, IndexError):
        if pid_file.read_text().splitlines()[7].strip() == "ready":
            return running_postmaster(pid_file)
    return None


def _stat(process: int) -> list[str]:
    return Path(f"/proc/{process}/stat").read_text().split()


def thresholds_at(many: int) -> Thresholds:
    return Thresholds(promote_at=many, demote_below=many // 2)
