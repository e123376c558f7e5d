"""Growth of one tenant: how search slows down from 1,000 to 100,000 chunks, and what approximation costs.

Each size is a tenant of its own. It is asked while it is pooled, where both legs are exact, then it is promoted by the
product's own job, then asked again: recall is what the dedicated tenant finds of what the pooled one found. During the
promotion it is asked too. How much slower it is shows beside a small tenant that is asked in turns with it: what else
the machine does slows down both. `python -m bench.growth` runs it alone.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bench.context import Bench, a_bench
from bench.load import Room, furnish, interleaved, load, shares
from bench.mixed import enlarged
from bench.percentiles import percentile
from bench.prepared import Document, prepare
from bench.rows import Row
from bench.stand import Stand, a_stand
from bench.texts import library
from carrel.adapters.lexical.analyzer import EnglishAnalyzer
from carrel.ask.authorize import authorize
from carrel.ask.pipeline import SearchWish
from carrel.ask.question import Asker, Question
from carrel.domain.access import TenantGrant, console, for_job
from carrel.domain.answers import Wish
from carrel.domain.jobs import JobKind
from carrel.domain.layout import Thresholds
from carrel.domain.rights import Permission
from carrel.ingest.desk import Desk
from carrel.ingest.reshape import Reshaping, consider
from carrel.worker.loop import Worker

_SIZES: Final = (1_000, 20_000, 100_000)
_QUICK: Final = (500, 5_000)
_SLOWER: Final = 4.0
_RECALL: Final = 0.97
_TOP: Final = 10
_EVERYBODY: Final = Thresholds(promote_at=1, demote_below=0)


@dataclass(frozen=True, slots=True)
class Found:
    """By question: the ids of the ten best of each leg and of the whole search, and its milliseconds."""

    dense: list[list[object]]
    lexical: list[list[object]]
    fused: list[list[object]]
    took: list[float]


@dataclass(frozen=True, slots=True)
class Size:
    """What one size gave. `during` are the milliseconds of searches while it was promoted, in `promoted` seconds.

    `large` and `small` are those of the dedicated tenant and of the small pooled one, asked in turns.
    """

    chunks: int
    pooled: Found
    dedicated: Found
    promoted: float
    during: list[float]
    large: list[float]
    small: list[float]


async def run(bench: Bench) -> list[Row]:
    sizes = bench.pick(_SIZES, _QUICK)
    asked = bench.pick(200, 30)
    texts = library(bench.data)
    async with a_stand(bench.home("growth")) as stand:
        documents = await prepare(stand.parts.embedder, texts.texts, kept=bench.results / "prepared")
        real = sum(len(document.chunks) for document in documents)
        documents = enlarged(documents, chunks=sizes[-1] + sizes[-1] // 10)
        small = await _room(stand, documents, sizes[0])
        questions = texts.questions[:asked]
        measured = [await _measure(stand, documents, questions, chunks, beside=small) for chunks in sizes]
    note = f"{texts.origin}; {real:,} real chunks, beyond that mixtures of two; in process, one client"
    return [*_rows(measured, bench, note)]


async def _room(stand: Stand, documents: Sequence[Document], chunks: int) -> Room:
    database = stand.parts.base.database
    (room,) = rooms = await furnish(stand.app, database, stand.parts.embedder.profile, tenants=1)
    given = shares(documents, tenants=1, chunks=chunks)
    await load(stand.endpoint.superuser_url, database, interleaved(rooms, given))
    return room


async def _measure(
    stand: Stand, documents: Sequence[Document], questions: Sequence[str], chunks: int, *, beside: Room
) -> Size:
    room = await _room(stand, documents, chunks)
    pooled = await _ask(stand, room, questions)
    began = time.perf_counter()
    during: list[float] = []
    async with asyncio.TaskGroup() as group:
        promotion = group.create_task(_promote(stand, room))
        while not promotion.done():
            during.append(await _timed(stand, room, questions[len(during) % len(questions)]))
            await asyncio.sleep(0.2)
    promoted = time.perf_counter() - began
    await _ask(stand, room, questions[:20])
    dedicated = await _ask(stand, room, questions)
    large, small = [], []
    for text in questions:
        small.append(await _timed(stand, beside, text))
        large.append(await _timed(stand, room, text))
    return Size(chunks, pooled, dedicated, promoted, during, large, small)


async def _promote(stand: Stand, room: Room) -> None:
    """By a worker of its own that knows this kind of job alone, at a threshold that any tenant reaches."""
    database = stand.parts.base.database
    async with database.transaction(for_job(room.tenant, None)) as tx:
        await consider(tx, _EVERYBODY)
    task = {JobKind.RESHAPE: Reshaping(database, _EVERYBODY).run}
    await Worker(Desk(database), task, concurrency=1, lease=30).drain()
    tenant = await stand.app.tenants.find(console(None), room.slug)
    if tenant.isolation != "dedicated":
        raise RuntimeError(f"{room.slug} was not promoted.")


async def _ask(stand: Stand, room: Room, questions: Sequence[str]) -> Found:
    asker = Asker(stand.parts.embedder, EnglishAnalyzer())
    leave = await authorize(stand.parts.base.database, console(room.tenant), Permission.SEARCH, Wish())
    (grant,) = leave.scope.grants
    found = Found([], [], [], [])
    for text in questions:
        found.took.append(await _timed(stand, room, text, found.fused))
        dense, lexical = await _legs(stand, grant, await asker.understand(text))
        found.dense.append(dense)
        found.lexical.append(lexical)
    return found


async def _timed(stand: Stand, room: Room, text: str, kept: list[list[object]] | None = None) -> float:
    began = time.perf_counter()
    found = await stand.app.asking.search(console(room.tenant), SearchWish(text))
    took = (time.perf_counter() - began) * 1000
    if kept is not None:
        kept.append([passage.chunk for passage in found.hits[:_TOP]])
    return took


async def _legs(stand: Stand, grant: TenantGrant, question: Question) -> tuple[list[object], list[object]]:
    """As deep as a search asks them, then the ten best."""
    sources = grant.sources or frozenset()
    dense = await stand.parts.vectors.of(grant).nearest(question.vector, sources=sources, limit=100)
    words = await stand.parts.words.of(grant).matching(question.terms, sources=sources, limit=100)
    return [hit.chunk for hit in dense[:_TOP]], [hit.chunk for hit in words.hits[:_TOP]]


def recall(exact: Sequence[Sequence[object]], found: Sequence[Sequence[object]]) -> float:
    """Of what the exact search has among its best, the part that the other has too; questions without any count not."""
    shares = [len(set(one) & set(other)) / len(one) for one, other in zip(exact, found, strict=True) if one]
    return float(np.mean(shares))


def _rows(measured: Sequence[Size], bench: Bench, note: str) -> list[Row]:
    rows = []
    for size in measured:
        for name, ms in (("pooled", size.pooled.took), ("dedicated", size.dedicated.took)):
            rows.append(Row(f"growth: {size.chunks:,} chunks, {name}", _quantiles(ms), note=note))
        rows.append(
            Row(
                f"growth: promotion of {size.chunks:,} chunks",
                f"{size.promoted:.0f} s; meanwhile {len(size.during)} searches, {_quantiles(size.during)}",
            )
        )
        rows.append(_recall_row(size, bench))
    last = measured[-1]
    ratio = percentile(last.large, 95) / percentile(last.small, 95)
    hold = f"p95 at most {_SLOWER:.0f} times that of {measured[0].chunks:,} chunks"
    held = None if bench.quick else ratio <= _SLOWER
    said = f"{ratio:.1f} times: {_quantiles(last.large)} beside {_quantiles(last.small)}"
    return [*rows, Row(f"growth: {last.chunks:,} chunks in one tenant", said, hold, held, note)]


def _recall_row(size: Size, bench: Bench) -> Row:
    legs = ("dense", "lexical", "fused")
    found = {leg: recall(getattr(size.pooled, leg), getattr(size.dedicated, leg)) for leg in legs}
    measured = ", ".join(f"{'whole search' if leg == 'fused' else leg} {value:.3f}" for leg, value in found.items())
    held = None if bench.quick else min(found.values()) >= _RECALL
    return Row(f"recall@10 against exact, {size.chunks:,} chunks", measured, f"at least {_RECALL} in each", held)


def _quantiles(ms: Sequence[float]) -> str:
    return f"p50 {percentile(ms, 50):.1f} ms, p95 {percentile(ms, 95):.1f} ms"


def main() -> None:
    with a_bench(
        Path("bench-results"), Path(sys.argv[1] if len(sys.argv) > 1 else "data"), quick="--quick" in sys.argv
    ) as bench:
        for row in asyncio.run(run(bench)):
            sys.stdout.write(f"{row.verdict:7} {row.name}: {row.measured} {row.hold}\n")


if __name__ == "__main__":
    main()
