"""Ingestion against its ceilings: short documents, PDFs, office files; where the time goes; what a repetition costs.

One Carrel takes in all of them, one kind after the other, each in a tenant of its own. The ceilings follow.
"""

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
from bench.offices import office_files
from bench.rows import Row
from bench.served import Served, served
from bench.texts import Text, library
from bench.uploads import a_shelf, rooms
from bench.watched import Seen

_PART: Final = 0.85  # of the ceiling
_FASTER: Final = 50.0
_SHORT: Final = 1_000  # documents
_OFFICE: Final = 120
_KINDS: Final = 3
_WAITING: Final = "queued"
_NO_FILINGS: Final = Row("ingest, PDF filings", "not measured", note="the PDF filings are not there")


@dataclass(frozen=True, slots=True)
class _Corpus:
    """`folder` holds the same files for the ceilings. Of `profiled` texts it is seen where the time goes."""

    name: str
    texts: tuple[Text, ...]
    folder: Path
    profiled: int
    origin: str


@dataclass(frozen=True, slots=True)
class _Ingested:
    """`first` and `again` in seconds: from the first byte sent until all is ready, and until all is `unchanged`."""

    chunks: int
    first: float
    again: float
    spent: Spent


async def run(bench: Bench) -> list[Row]:
    corpora, home = _corpora(bench), bench.home("ingest")
    empty = await rooms(home, tenants=2 * len(corpora) + 1)
    async with served(home) as carrel:
        await _warm(carrel, empty[-1])
        ingested = [await _brought(carrel, room, corpus) for room, corpus in zip(empty, corpora, strict=False)]
    most = [await ceiling(corpus.folder, home) for corpus in corpora]
    async with served(home, worker=False) as carrel:
        seen = [
            await _seen(carrel, room, home, corpus.texts[: corpus.profiled])
            for room, corpus in zip(empty[len(corpora) :], corpora, strict=False)
        ]
    rows = []
    for corpus, one, ceilings, look in zip(corpora, ingested, most, seen, strict=True):
        rows += [_rate(corpus, one, ceilings), _profile(corpus, look), _repetition(corpus, one)]
    return rows if len(corpora) == _KINDS else [*rows, _NO_FILINGS]


def _corpora(bench: Bench) -> list[_Corpus]:
    """Without the filings where they are not there."""
    found = library(bench.data)
    short, offices = bench.pick(_SHORT, 50), office_files(found.texts, most=bench.pick(_OFFICE, 5))
    filings = _filings(bench.data / "filings", bench.pick(4, 1))
    kinds = [
        ("short documents", found.texts[:short], 200, found.origin),
        ("PDF filings", filings, len(filings), "real filings"),
        ("office files", offices, 40, f"DOCX, PPTX, XLSX, ODT and HTML in equal parts, of {found.origin}"),
    ]
    return [_corpus(bench, name, texts, (most, origin)) for name, texts, most, origin in kinds if texts]


def _filings(folder: Path, most: int) -> list[Text]:
    return [Text(file.name, file.read_bytes()) for file in sorted(folder.glob("*.pdf"))[:most]]


def _corpus(bench: Bench, name: str, texts: Sequence[Text], told: tuple[int, str]) -> _Corpus:
    folder = bench.scratch / f"files of {name}"
    for text in texts:
        file = folder / text.key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.content)
    return _Corpus(name, tuple(texts), folder, *told)


async def _warm(carrel: Served, room: Room) -> None:
    """The worker starts after the API: from here on it is there, and so are its connections and its parsers."""
    first = Text("first.md", b"# First\n\nThe worker has come.\n")
    async with a_shelf(carrel.url, room) as shelf:
        await shelf.bring([first, *office_files([first], most=1)], outcome="created")
        await shelf.settled()


async def _brought(carrel: Served, room: Room, corpus: _Corpus) -> _Ingested:
    async with a_shelf(carrel.url, room) as shelf:
        before, began = carrel.tree.cpu(), time.perf_counter()
        await shelf.bring(corpus.texts, outcome="created")
        await shelf.settled()
        ready, spent = time.perf_counter(), carrel.tree.cpu() - before
        chunks = await shelf.chunks()
        again = time.perf_counter()
        await shelf.bring(corpus.texts, outcome="unchanged")
        return _Ingested(chunks, ready - began, time.perf_counter() - again, spent)


async def _seen(carrel: Served, room: Room, home: Path, texts: Sequence[Text]) -> Seen:
    """All is there before the worker comes, so the API does not take part."""
    async with a_shelf(carrel.url, room) as shelf:
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


def _rate(corpus: _Corpus, ingested: _Ingested, most: Ceiling) -> Row:
    rate = ingested.chunks / ingested.first
    part = rate / most.slower
    per_chunk = 1000 / ingested.chunks
    return Row(
        f"ingest, {corpus.name}",
        f"{rate:.1f} chunks/s, {part:.0%} of {most.slower:.1f}",
        f"≥ {_PART:.0%} of the slower of parsing and embedding alone",
        part >= _PART,
        f"{len(corpus.texts)} documents ({corpus.origin}), {ingested.chunks:,} chunks, from the first byte sent until"
        f" all is ready, `carrel serve` and the client on the same machine; CPU for a chunk: Carrel"
        f" {ingested.spent.carrel * per_chunk:.1f} ms, PostgreSQL {ingested.spent.postgres * per_chunk:.1f} ms. Parsing"
        f" alone, in the same sandbox, {most.parsed:.1f} chunks/s; the embedder alone {most.embedded:.1f}: the same"
        f" {most.chunks:,} chunks with their titles and headings, tokenized before ({most.tokens:,} tokens),"
        f" {most.cpu * per_chunk:.1f} ms CPU; both in a process alone, same threads and niceness",
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
