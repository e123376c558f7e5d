"""A worker process that kills itself with SIGKILL at a named point of the journey: `python -m support.crash_worker`.

The first argument is an `Order` as JSON. The worker is the product's own; only the collaborators behind its ports are
wrapped, so no line of the product knows of this.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from carrel.adapters.blobs.local import LocalBlobs
from carrel.adapters.embedders import minilm
from carrel.adapters.lexical.analyzer import EnglishAnalyzer
from carrel.adapters.lexical.postgres import PostgresWords
from carrel.adapters.models.extractive import Extractive
from carrel.adapters.parsers.sandbox import SandboxedParser
from carrel.adapters.vectors.pgvector import PgvectorIndexes
from carrel.domain.access import TenantGrant
from carrel.domain.text import ParsedDocument
from carrel.ingest.desk import Desk
from carrel.ports.embedder import Embedder, EmbedderProfile, Tokens, Vector
from carrel.ports.lexical import LexicalEntry, LexicalIndexes, TenantWords
from carrel.ports.parser import Parser
from carrel.ports.vectors import DenseEntry, TenantVectors, VectorIndexes
from carrel.store.transaction import Database, Grant, Transaction
from carrel.wiring import Base, Parts, tasks
from carrel.worker.loop import Worker
from support.stand import PEPPER

POINTS = (
    "parsing",
    "chunking",
    "embedding",
    "keeping",
    "kept",
    "dense",
    "lexical",
    "committing",
    "committed",
)
_LONG = 300.0  # the time limit by which the product's two long transactions are known from the short ones


@dataclass(frozen=True)
class Order:
    """`only` restricts the killing in the parser to keys that hold it."""

    app_url: str
    blobs: str
    models: str
    point: str
    lease: float = 1.0
    concurrency: int = 3
    only: str = ""

    def command(self) -> list[str]:
        return [sys.executable, "-m", "support.crash_worker", json.dumps(asdict(self))]


class Fate:
    """Knows where to die, and how far the journey has come."""

    def __init__(self, point: str) -> None:
        self._point = point
        self.indexed = False

    def meets(self, point: str) -> None:
        if point == self._point:
            os.kill(os.getpid(), signal.SIGKILL)


class FatedDatabase(Database):
    fate: Fate

    @asynccontextmanager
    async def transaction(self, grant: Grant, *, timeout: float = 30.0) -> AsyncIterator[Transaction]:
        before, after = ("committing", "committed") if self.fate.indexed else ("keeping", "kept")
        async with super().transaction(grant, timeout=timeout) as tx:
            yield tx
            if timeout == _LONG:
                self.fate.meets(before)
        if timeout == _LONG:
            self.fate.meets(after)


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

    def of(self, grant: TenantGrant) -> TenantVectors:
        index, put = self.real.of(grant), self.real.of(grant).put

        async def fated(entries: Sequence[DenseEntry]) -> None:
            await put(entries)
            self.fate.meets("dense")

        index.put = fated  # type: ignore[method-assign]
        return index


@dataclass(frozen=True)
class FatedWords:
    real: LexicalIndexes
    fate: Fate

    def of(self, grant: TenantGrant) -> TenantWords:
        index, put = self.real.of(grant), self.real.of(grant).put

        async def fated(entries: Sequence[LexicalEntry]) -> None:
            await put(entries)
            self.fate.indexed = True
            self.fate.meets("lexical")

        index.put = fated  # type: ignore[method-assign]
        return index


def fated(parts: Parts, fate: Fate) -> Parts:
    return replace(
        parts,
        embedder=FatedEmbedder(parts.embedder, fate),
        vectors=FatedVectors(parts.vectors, fate),
        words=FatedWords(parts.words, fate),
    )


async def work(order: Order) -> None:
    fate = Fate(order.point)
    database = await FatedDatabase.connect(order.app_url, connections=8)
    database.fate = fate
    parts = Parts(
        base=Base(database, LocalBlobs(Path(order.blobs)), PEPPER),
        embedder=minilm.prepare(Path(order.models), threads=1),
        analyzer=EnglishAnalyzer(),
        vectors=PgvectorIndexes(database),
        words=PostgresWords(database),
        model=Extractive(EnglishAnalyzer()),
    )
    parser = FatedParser(SandboxedParser(), fate, order.only)
    desk = Desk(database)
    worker = Worker(desk, tasks(fated(parts, fate), parser), concurrency=order.concurrency, lease=order.lease)
    await worker.run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(work(Order(**json.loads(sys.argv[1]))))
