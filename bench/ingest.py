"""Ingestion against its ceiling: short documents and long PDFs, where the time goes, and what a repetition costs."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.ceiling import Ceiling, ceiling
from bench.context import Bench
from bench.load import Room
from bench.machine import Spent
from bench.rows import Row
from bench.served import Served, served
from bench.texts import Text, library
from bench.uploads import Shelf, a_shelf, rooms
from bench.watched import Seen

_PART: Final = 0.85  # of the ceiling
_FASTER: Final = 50.0
_SHORT: Final = 1_500  # documents
_PROFILED: Final = 500
_WAITING: Final = "queued"


@dataclass(frozen=True, slots=True)
class _Corpus:
    """`folder` holds the same files for the ceiling."""

    name: str
    texts: tuple[Text, ...]
    folder: Path


@dataclass(frozen=True, slots=True)
class _Ingested:
    """`first` and `again` in seconds: from the first byte sent until all is ready, and until all is `unchanged`."""

    chunks: int
    first: float
    again: float
    spent: Spent


async def run(bench: Bench) -> list[Row]:
    found = library(bench.data)
    short = found.texts[: bench.pick(_SHORT, 100)]
    rows = await _measured(bench, _corpus(bench, "short documents", short), origin=found.origin)
    filings = _filings(bench.data / "filings", bench.pick(4, 1))
    if not filings:
        return [*rows, Row("ingest, PDF filings", "not measured", note="the PDF filings are not there")]
    return rows + await _measured(bench, _corpus(bench, "PDF filings", filings), origin=f"{len(filings)} PDF files")


def _filings(folder: Path, most: int) -> list[Text]:
    return [Text(file.name, file.read_bytes()) for file in sorted(folder.glob("*.pdf"))[:most]]


def _corpus(bench: Bench, name: str, texts: Sequence[Text]) -> _Corpus:
    folder = bench.scratch / f"files of {name}"
    for text in texts:
        file = folder / text.key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.content)
    return _Corpus(name, tuple(texts), folder)


async def _measured(bench: Bench, corpus: _Corpus, *, origin: str) -> list[Row]:
    home = bench.home(corpus.name.replace(" ", "-"))
    empty, watched = await rooms(home, tenants=2)
    async with served(home) as carrel, a_shelf(carrel.url, empty) as shelf:
        await _warm(carrel, watched)
        ingested = await _ingested(carrel, shelf, corpus)
    most = await ceiling(corpus.folder, home)
    async with served(home, worker=False) as carrel, a_shelf(carrel.url, watched) as shelf:
        seen = await _seen(shelf, home, corpus.texts[:_PROFILED])
    return [_rate(corpus, ingested, most, origin), _profile(corpus, seen), _repetition(corpus, ingested)]


async def _warm(carrel: Served, room: Room) -> None:
    """The worker starts after the API: from here on it is there, and so are its connections and its parsers."""
    async with a_shelf(carrel.url, room) as shelf:
        await shelf.bring([Text("first.md", b"# First\n\nThe worker has come.\n")], outcome="created")
        await shelf.settled()


async def _ingested(carrel: Served, shelf: Shelf, corpus: _Corpus) -> _Ingested:
    before, began = carrel.tree.cpu(), time.perf_counter()
    await shelf.bring(corpus.texts, outcome="created")
    await shelf.settled()
    ready, spent = time.perf_counter(), carrel.tree.cpu() - before
    chunks = await shelf.chunks()
    again = time.perf_counter()
    await shelf.bring(corpus.texts, outcome="unchanged")
    return _Ingested(chunks, ready - began, time.perf_counter() - again, spent)


async def _seen(shelf: Shelf, home: Path, texts: Sequence[Text]) -> Seen:
    """All is there before the worker comes, so the API does not take part."""
    await shelf.bring(texts, outcome="created")
    async with _watching(home) as worker:
        await shelf.settled()
        worker.send_signal(signal.SIGTERM)
        said, _ = await worker.communicate()
    return Seen(**json.loads(said))


@asynccontextmanager
async def _watching(home: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.watched", str(home), stdout=asyncio.subprocess.PIPE
    )
    try:
        yield worker
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()


def _rate(corpus: _Corpus, ingested: _Ingested, most: Ceiling, origin: str) -> Row:
    rate = ingested.chunks / ingested.first
    part = rate / most.rate
    per_chunk = 1000 / ingested.chunks
    return Row(
        f"ingest, {corpus.name}",
        f"{rate:.1f} chunks/s, {part:.0%} of {most.rate:.1f}",
        f"≥ {_PART:.0%} of the embedder alone",
        part >= _PART,
        f"{len(corpus.texts)} documents ({origin}), {ingested.chunks:,} chunks, from the first byte sent until all is"
        f" ready, `carrel serve` and the client on the same machine; CPU for a chunk: Carrel"
        f" {ingested.spent.carrel * per_chunk:.1f} ms, PostgreSQL {ingested.spent.postgres * per_chunk:.1f} ms. The"
        f" embedder alone: the same {most.chunks:,} chunks with their titles and headings, tokenized before"
        f" ({most.tokens:,} tokens), in a process alone, same threads and niceness: {most.cpu * per_chunk:.1f} ms CPU",
    )


def _profile(corpus: _Corpus, seen: Seen) -> Row:
    in_hand = sum(seen.stages.values()) or 1
    shares = ", ".join(f"{_shown(stage)} {seconds / in_hand:.0%}" for stage, seconds in seen.stages.items())
    return Row(
        f"ingest by stage, {corpus.name}",
        shares,
        note="share of the time that documents are in hand, three at a time; embed counts the wait for the one embedder"
        f" thread; of {seen.seconds:.1f} s no document was with the embedder for {seen.unembedded:.1f} s. CPU of the"
        f" worker: embedder {seen.embedder:.1f} s, its loop {seen.loop:.1f} s, its helper threads {seen.helpers:.1f} s,"
        f" parsers {seen.parsers:.1f} s",
    )


def _shown(stage: str) -> str:
    return "waiting" if stage == _WAITING else stage


def _repetition(corpus: _Corpus, ingested: _Ingested) -> Row:
    faster = ingested.first / ingested.again
    return Row(
        f"unchanged re-ingest, {corpus.name}",
        f"{faster:.0f} times faster",
        f"≥ {_FASTER:.0f} times faster",
        faster >= _FASTER,
        f"{ingested.again / len(corpus.texts) * 1000:.2f} ms for a document instead of"
        f" {ingested.first / len(corpus.texts) * 1000:.1f} ms; the whole bytes are sent both times",
    )
