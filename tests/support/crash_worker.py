"""A worker process that is killed with SIGKILL at a named point of the journey: `python -m support.crash_worker`.

The first argument is an `Order` as JSON. The worker is the product's own; only the collaborators behind its ports are
wrapped, so no line of the product knows of this. It can also kill PostgreSQL at that point, and live on.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from carrel.adapters.blobs.local import LocalBlobs
from carrel.adapters.embedders import minilm
from carrel.adapters.lexical.analyzer import EnglishAnalyzer
from carrel.adapters.lexical.postgres import PostgresWords
from carrel.adapters.models.extractive import Extractive
from carrel.adapters.models.single import OnlyModel
from carrel.adapters.parsers.sandbox import SandboxedParser
from carrel.adapters.vectors.pgvector import PgvectorIndexes
from carrel.domain.access import TenantGrant
from carrel.domain.ids import TenantId
from carrel.domain.jobs import Claim, JobKind
from carrel.domain.layout import Thresholds
from carrel.domain.text import ParsedDocument
from carrel.ingest.desk import Desk
from carrel.ingest.pipeline import Work
from carrel.ports.embedder import Embedder, EmbedderProfile, Tokens, Vector
from carrel.ports.lexical import LexicalIndexes, TenantWords
from carrel.ports.parser import Parser
from carrel.ports.vectors import TenantVectors, VectorIndexes
from carrel.store.transaction import Database, Grant, Transaction
from carrel.wiring import Base, Parts, tasks
from carrel.worker.loop import Task, Worker
from support.stand import SECRETS

POINTS = (
    "claimed",
    "begun",
    "parsing",
    "chunking",
    "embedding",
    "keeping",
    "kept",
    "dense",
    "lexical",
    "committing",
    "committed",
    "forgotten dense",
    "forgotten lexical",
    "unlinked",
    "weighed",
    "reshaping",
    "reshaped",
)
FEW: Final = 6  # chunks: a tenant with as many gets tables of its own
MANY: Final = 20_000  # as in the product: here every tenant goes back to the pooled tables
_LONG: Final = 300.0  # the time limit by which the product's two long transactions are known from the short ones
_AROUND: Final = {  # the points before and after the commit of a transaction, by how far its journey has come
    "": ("", ""),
    "prepared": ("keeping", "kept"),
    "indexed": ("committing", "committed"),
    "staged": ("registering", "registered"),
    "erasing": ("erasing", "erased"),
    "reshaping": ("reshaping", "reshaped"),
    "destroying": ("destroying", "destroyed"),
}
PHASE: Final = ContextVar("PHASE", default="")  # each job and each request has its own

Argument = TypeVar("Argument")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Order:
    """`only` restricts the killing in the parser to keys that hold it; `spare` lets the first so-many pass the point.

    A tenant with `many` chunks is given tables of its own. With `postmaster`, the file that names PostgreSQL's process,
    it is PostgreSQL that dies, once. The file `ready` appears when the process is at work.
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
    ready: str = ""

    def command(self, module: str = "support.crash_worker", *arguments: str) -> list[str]:
        return [sys.executable, "-m", module, json.dumps(asdict(self)), *arguments]

    def tell(self) -> None:
        if self.ready:
            Path(self.ready).touch()


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
    with suppress(FileNotFoundError, ProcessLookupError, IndexError):  # of a file that is being written
        postmaster = int(pid_file.read_text().splitlines()[0])
        name, state = _stat(postmaster)[1:3]
        return postmaster if name == "(postgres)" and state != "Z" else None
    return None


def _stat(process: int) -> list[str]:
    return Path(f"/proc/{process}/stat").read_text().split()


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


class FatedDesk(Desk):
    fate: Fate

    async def claim(
        self, kinds: Sequence[JobKind], *, lease: float, most: int, passed_over: Collection[TenantId] = ()
    ) -> list[Claim]:
        claims = await super().claim(kinds, lease=lease, most=most, passed_over=passed_over)
        if claims:
            self.fate.meets("claimed")
        return claims

    async def begin(self, work: Work) -> None:
        await super().begin(work)
        self.fate.meets("begun")


class FatedBlobs(LocalBlobs):
    fate: Fate

    async def delete(self, key: str) -> None:
        await super().delete(key)
        self.fate.meets("unlinked")


@dataclass(frozen=True)
class FatedParser:
    real: Parser
    fate: Fate
    only: str

    async def parse(self, content: Path, *, media_type: str, key: str) -> ParsedDocument:
        if self.only in key:
            self.fate.meets("parsing")
        return await self.real.parse(content, media_type=media_type, key=key)


@dataclass(frozen=True)
class FatedEmbedder:
    real: Embedder
    fate: Fate

    @property
    def profile(self) -> EmbedderProfile:
        return self.real.profile

    def tokenize(self, text: str) -> Tokens:
        self.fate.meets("chunking")
        return self.real.tokenize(text)

    async def embed(self, batch: Sequence[Sequence[int]]) -> list[Vector]:
        self.fate.meets("embedding")
        return await self.real.embed(batch)


@dataclass(frozen=True)
class FatedVectors:
    real: VectorIndexes
    fate: Fate

    def of(self, grant: TenantGrant, reading: object = None) -> TenantVectors:
        index = self.real.of(grant, reading)
        index.put = self.fate.after(index.put, "dense")  # type: ignore[assignment, method-assign]
        index.forget = self.fate.after(index.forget, "forgotten dense")  # type: ignore[assignment, method-assign]
        return index


@dataclass(frozen=True)
class FatedWords:
    real: LexicalIndexes
    fate: Fate

    def of(self, grant: TenantGrant, reading: object = None) -> TenantWords:
        index, weigh = self.real.of(grant, reading), self.real.of(grant).weigh

        async def weighed() -> None:
            await weigh()
            self.fate.meets("weighed")

        index.put = self.fate.after(index.put, "lexical", phase="indexed")  # type: ignore[assignment, method-assign]
        index.forget = self.fate.after(index.forget, "forgotten lexical")  # type: ignore[assignment, method-assign]
        index.weigh = weighed  # type: ignore[method-assign]
        return index


def fated(parts: Parts, fate: Fate) -> Parts:
    return replace(
        parts,
        embedder=FatedEmbedder(parts.embedder, fate),
        vectors=FatedVectors(parts.vectors, fate),
        words=FatedWords(parts.words, fate),
    )


@asynccontextmanager
async def fated_parts(order: Order, fate: Fate, blobs: LocalBlobs) -> AsyncIterator[Parts]:
    """The product's own collaborators, on a fated database."""
    database = await FatedDatabase.connect(order.app_url, connections=8)
    database.fate = fate
    yield Parts(
        base=Base(database, blobs, SECRETS),
        embedder=minilm.prepare(Path(order.models), threads=1),
        analyzer=EnglishAnalyzer(),
        vectors=PgvectorIndexes(database),
        words=PostgresWords(database),
        models=OnlyModel(Extractive(EnglishAnalyzer())),
        thresholds=thresholds_at(order.many),
    )


def thresholds_at(many: int) -> Thresholds:
    return Thresholds(promote_at=many, demote_below=many // 2)


def phased(task: Task, phase: str) -> Task:
    """All that the job does is known by its phase."""

    async def run(work: Work) -> None:
        PHASE.set(phase)
        await task(work)

    return run


async def work(order: Order) -> None:
    fate = Fate(order)
    blobs = FatedBlobs(Path(order.blobs))
    async with fated_parts(order, fate, blobs) as parts:
        desk = FatedDesk(parts.base.database)
        desk.fate = blobs.fate = fate
        parser = FatedParser(SandboxedParser(), fate, order.only)
        doing = tasks(fated(parts, fate), parser)
        doing[JobKind.RESHAPE] = phased(doing[JobKind.RESHAPE], "reshaping")
        doing[JobKind.DESTROY] = phased(doing[JobKind.DESTROY], "destroying")
        worker = Worker(desk, doing, concurrency=order.concurrency, lease=order.lease)
        order.tell()
        await worker.run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(work(Order(**json.loads(sys.argv[1]))))
