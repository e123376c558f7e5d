"""A worker that is killed with SIGKILL at a named point of the journey; `support.nursery` makes one.

It is the product's own, and does what `python -m carrel.worker` does, hourly things more often.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

from carrel.adapters.blobs.local import LocalBlobs
from carrel.adapters.embedders import minilm
from carrel.adapters.lexical.analyzer import EnglishAnalyzer
from carrel.adapters.lexical.postgres import PostgresWords
from carrel.adapters.models.extractive import Extractive
from carrel.adapters.models.single import OnlyModel
from carrel.adapters.parsers.media import HTML, MARKDOWN, PDF, PLAIN
from carrel.adapters.parsers.sandbox import FORMATS, SandboxedParser
from carrel.adapters.vectors.pgvector import PgvectorIndexes
from carrel.domain.access import TenantGrant
from carrel.domain.ids import TenantId
from carrel.domain.jobs import Claim, JobKind
from carrel.domain.library import Blob
from carrel.domain.text import ParsedDocument
from carrel.ingest.desk import Desk
from carrel.ingest.pipeline import Work
from carrel.ports.embedder import Embedder, EmbedderProfile, Tokens, Vector
from carrel.ports.lexical import LexicalIndexes, TenantWords
from carrel.ports.parser import Parser
from carrel.ports.vectors import TenantVectors, VectorIndexes
from carrel.settings.web import Web
from carrel.wiring import Base, Opened, Parts, tasks
from carrel.wiring.outgoing import way_out
from carrel.worker.loop import Task, Worker
from support.crash_chores import SCRUBBING, TELLING, WALKING, chores
from support.fate import PHASE, Fate, FatedDatabase, Order, thresholds_at
from support.stand import SECRETS

POINTS: Final = (
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
ALL_POINTS: Final = (*POINTS, *WALKING, *TELLING, *SCRUBBING)
_BROUGHT: Final = {kind: FORMATS[kind] for kind in (MARKDOWN, PLAIN, HTML, PDF)}  # those of others take time to load


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

    async def put(self, tenant: TenantId, content: AsyncIterator[bytes], *, limit: int) -> Blob:
        blob = await super().put(tenant, content, limit=limit)
        self.fate.meets("stored")
        return blob

    async def put_all(self, tenant: TenantId, contents: Sequence[bytes]) -> list[Blob]:
        blobs = await super().put_all(tenant, contents)
        for _ in blobs:
            self.fate.meets("stored")
        return blobs

    async def read(self, key: str) -> AsyncIterator[bytes]:
        async for piece in super().read(key):
            PHASE.set("scrubbing")
            self.fate.meets("read again")
            yield piece

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

    async def embed(self, batch: Sequence[Sequence[int]], *, flow: Hashable = None) -> list[Vector]:
        self.fate.meets("embedding")
        return await self.real.embed(batch, flow=flow)


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


@cache
def loaded(models: str) -> minilm.MiniLM:
    """It has no thread until it embeds, so what is forked from here may use it."""
    return minilm.prepare(Path(models), threads=1)


@asynccontextmanager
async def fated_parts(order: Order, fate: Fate, blobs: LocalBlobs) -> AsyncIterator[Parts]:
    """The product's own collaborators, on a fated database."""
    database = await FatedDatabase.connect(order.app_url, connections=8)
    database.fate = fate
    yield Parts(
        base=Base(
            database,
            blobs,
            SECRETS,
            outgoing=way_out("127.0.0.1", frozenset(range(1, 1 << 16))),
            places=places_of(order),
        ),
        embedder=loaded(order.models),
        analyzer=EnglishAnalyzer(),
        vectors=PgvectorIndexes(database),
        words=PostgresWords(database),
        models=OnlyModel(Extractive(EnglishAnalyzer())),
        thresholds=thresholds_at(order.many),
    )


def places_of(order: Order) -> Opened:
    folders = {slug: (path,) for slug, path in order.folders.items()}
    buckets = replace(Opened().buckets, endpoints=frozenset(order.endpoints))
    return Opened(folders, buckets, Web(allowed="127.0.0.1", ports=order.ports, pause=0))


def phased(task: Task, phase: str) -> Task:
    """All that the job does is known by its phase."""

    async def run(work: Work) -> None:
        PHASE.set(phase)
        await task(work)

    return run


async def work(order: Order, tell: Callable[[], None]) -> None:
    """`tell` is called once it is at work."""
    fate = Fate(order)
    blobs = FatedBlobs(Path(order.blobs))
    async with fated_parts(order, fate, blobs) as parts, AsyncExitStack() as stack:
        desk = FatedDesk(parts.base.database)
        desk.fate = blobs.fate = fate
        parser = FatedParser(SandboxedParser(formats=_BROUGHT), fate, order.only)
        doing = tasks(fated(parts, fate), parser)
        doing[JobKind.RESHAPE] = phased(doing[JobKind.RESHAPE], "reshaping")
        doing[JobKind.DESTROY] = phased(doing[JobKind.DESTROY], "destroying")
        worker = Worker(desk, doing, concurrency=order.concurrency, lease=order.lease)
        if order.chores:
            walks = await stack.enter_async_context(chores(parts.base, fate, lease=order.lease))
            walker = Worker(desk, {JobKind.REFRESH: phased(walks, "walking")}, concurrency=2, lease=order.lease)
            group = await stack.enter_async_context(asyncio.TaskGroup())
            group.create_task(walker.run(asyncio.Event()))
        tell()
        await worker.run(asyncio.Event())
