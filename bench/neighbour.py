"""A noisy neighbour: one tenant alone, then while another has thousands of documents queued and asks four times.

The victim searches in an open loop, at random times as people do, then brings single documents, one after the other.
Meanwhile the neighbour's queue is worked on and never falls below its size, since it brings as many as are read. That
alone is the first noise. Then it asks as well: it may search as often as the victim does and asks four times as often,
so three of four of its searches are refused: what all that costs is the second noise. The victim's two quiet runs stand
before and after the noisy one, so that a machine that grows slower meanwhile is seen; the neighbour's documents lie in
the queue then too, but its source is paused.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Final

from bench.context import Bench
from bench.openloop import Call, Closed, Open, Outcome, drive
from bench.percentiles import percentile
from bench.rows import Row
from bench.search import filled_with, search_call
from bench.served import served
from bench.stand import a_stand
from bench.texts import Text, library
from bench.uploads import Shelf, a_shelf
from carrel.domain.access import console
from carrel.domain.limits import Limit, Rates, RouteClass

_WORSE: Final = 1.5
_LATER: Final = 2.0
_RATE: Final = 10.0  # the victim's searches in a second
_TIMES: Final = 4
_VICTIM, _NEIGHBOUR = 1, 2  # seeds of the times at which they ask
_BATCH: Final = 100
_LOOK: Final = 1.0
_REST: Final = 0.3  # seconds between two of the victim's documents
_SAID: Final = 6  # questions that make a document
_REFUSED: Final = "429"


@dataclass(frozen=True, slots=True)
class _Size:
    """`queued`: how many documents the neighbour has waiting; `single`: how many the victim brings, alone and not."""

    chunks: int
    seconds: float
    queued: int
    single: int


@dataclass(frozen=True, slots=True)
class _Half:
    """A part of the victim's life: its searches, and the seconds until each of its documents was ready."""

    searches: Outcome
    ready: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Noise:
    """`read` documents of the neighbour became ready meanwhile; at least `queued` were waiting.

    `beside_reading` are the victim's searches while the neighbour asked nothing.
    """

    beside_reading: Outcome
    victim: _Half
    neighbour: Outcome
    read: int
    queued: int


@dataclass(frozen=True, slots=True)
class _Place:
    """What stands on both sides: the served Carrel, the two tenants' doors, and what they ask."""

    url: str
    victim: Shelf
    neighbour: Shelf
    calls: Sequence[Call]
    noise: Sequence[Call]
    notes: Iterator[Text]

    async def lived(self, seconds: float, documents: int) -> _Half:
        searches = await drive(self.url, self.calls, Open(_RATE, seconds, _VICTIM))
        return _Half(searches, await self.brought(documents))

    async def brought(self, documents: int) -> tuple[float, ...]:
        took = []
        for _ in range(documents):
            took.append(await self.victim.put(next(self.notes)))
            await asyncio.sleep(_REST)
        return tuple(took)


async def run(bench: Bench) -> list[Row]:
    found, home = library(bench.data), bench.home("neighbour")
    size = bench.pick(_Size(2_000, 60.0, 5_000, 24), _Size(60, 3.0, 100, 2))
    async with a_stand(home) as stand:
        rooms = (await filled_with(stand, bench, found, tenants=2, chunks=size.chunks)).rooms
        limit = Rates(together={RouteClass.SEARCH: Limit(round(_RATE), 1)})
        await stand.app.allowances.pace(console(None), rooms[1].tenant, limit)
    calls = [search_call(rooms[0], question) for question in found.questions]
    noise = [search_call(rooms[1], question) for question in reversed(found.questions)]
    async with served(home) as carrel, a_shelf(carrel.url, rooms[0]) as own, a_shelf(carrel.url, rooms[1]) as other:
        place = _Place(carrel.url, own, other, calls, noise, _notes(found.questions))
        alone, disturbed = await _measured(place, size, _batches(found.texts[size.chunks :]))
    return [
        _reading_row(alone, disturbed, size),
        _searching(alone, disturbed, size),
        _bringing_row(alone, disturbed),
    ]


async def _measured(place: _Place, size: _Size, batches: Iterator[Sequence[Text]]) -> tuple[list[_Half], _Noise]:
    await place.neighbour.pause()
    while (await place.neighbour.counts())["pending"] < size.queued:
        await place.neighbour.bring(next(batches), outcome="created")
    await drive(place.url, place.calls, Closed(2, size.seconds / 10))
    await place.brought(1)
    before = await place.lived(size.seconds / 2, size.single // 2)
    disturbed = await _disturbed(place, size, batches)
    after = await place.lived(size.seconds / 2, size.single // 2)
    return [before, after], disturbed


async def _disturbed(place: _Place, size: _Size, batches: Iterator[Sequence[Text]]) -> _Noise:
    before = (await place.neighbour.counts())["ready"]
    await place.neighbour.resume()
    async with _bringing(place.neighbour, batches, size.queued):
        beside_reading = await drive(place.url, place.calls, Open(_RATE, size.seconds, _VICTIM))
        asked = drive(place.url, place.noise, Open(_RATE * _TIMES, size.seconds, _NEIGHBOUR))
        searching = drive(place.url, place.calls, Open(_RATE, size.seconds, _VICTIM))
        neighbour, victim = await asyncio.gather(asked, searching)
        ready = await place.brought(size.single)
    counts = await place.neighbour.counts()
    await place.neighbour.pause()
    return _Noise(beside_reading, _Half(victim, ready), neighbour, counts["ready"] - before, counts["pending"])


@asynccontextmanager
async def _bringing(shelf: Shelf, batches: Iterator[Sequence[Text]], queued: int) -> AsyncIterator[None]:
    """As many as were read, again and again."""
    async with asyncio.TaskGroup() as group:
        bringing = group.create_task(_bring(shelf, batches, queued))
        yield
        bringing.cancel()


async def _bring(shelf: Shelf, batches: Iterator[Sequence[Text]], queued: int) -> None:
    while True:
        while (await shelf.counts())["pending"] >= queued:  # noqa: ASYNC110 - another process reads
            await asyncio.sleep(_LOOK)
        await shelf.bring(next(batches), outcome="created")


def _batches(texts: Sequence[Text]) -> Iterator[Sequence[Text]]:
    """When all were brought, the same texts with other titles under new names: nothing of them was embedded before."""
    for again in count():
        for first in range(0, len(texts), _BATCH):
            batch = texts[first : first + _BATCH]
            yield [Text(f"{again}/{text.key}", b"# Copy %d\n\n" % again + text.content) for text in batch]


def _notes(questions: Sequence[str]) -> Iterator[Text]:
    """Documents of about one length, no two alike."""
    for number in count():
        said = " ".join(questions[(number * _SAID + place) % len(questions)] for place in range(_SAID))
        yield Text(f"notes/{number}.md", f"# Note {number}\n\n{said}\n".encode())


def _quiet(alone: Sequence[_Half]) -> float:
    """The victim's p99 alone, in milliseconds."""
    return percentile([latency for half in alone for latency in half.searches.latencies], 99)


def _reading_row(alone: Sequence[_Half], noise: _Noise, size: _Size) -> Row:
    victim, quiet = noise.beside_reading, _quiet(alone)
    worse = victim.at(99) / quiet
    failed = victim.failed + sum(half.searches.failed for half in alone)
    return Row(
        "noisy neighbour that brings: the victim's p99",
        f"{victim.at(99):.1f} ms, {worse:.2f} times {quiet:.1f} ms alone; {failed} errors",
        f"≤ {_WORSE} times its p99 alone",
        worse <= _WORSE and not failed,
        f"as in the next row, while the neighbour has {size.queued:,} documents queued, brings as many as are read, and"
        f" asks nothing: {victim.sentence}",
    )


def _searching(alone: Sequence[_Half], noise: _Noise, size: _Size) -> Row:
    victim, outcomes = noise.victim.searches, [half.searches for half in alone]
    quiet = _quiet(alone)
    worse = victim.at(99) / quiet
    refused = noise.neighbour.errors.get(_REFUSED, 0)
    failed = sum(outcome.failed for outcome in (*outcomes, victim, noise.neighbour)) - refused
    return Row(
        "noisy neighbour: the victim's p99",
        f"{victim.at(99):.1f} ms, {worse:.2f} times {quiet:.1f} ms alone; {failed} errors",
        f"≤ {_WORSE} times its p99 alone",
        worse <= _WORSE and not failed,
        f"two tenants of {size.chunks:,} chunks; the victim asks {_RATE:.0f} times a second at random times; the"
        f" neighbour {_RATE * _TIMES:.0f} times with a limit of {_RATE:.0f}, so {refused} of its searches are answered"
        f" 429 and {len(noise.neighbour.latencies)} with hits, while it has {noise.queued:,} documents queued and"
        f" {noise.read} are read; alone before ({outcomes[0].sentence}) and after ({outcomes[1].sentence}), disturbed"
        f" {victim.sentence}; the neighbour's own {noise.neighbour.sentence}",
    )


def _bringing_row(alone: Sequence[_Half], noise: _Noise) -> Row:
    quiet, late = [seconds for half in alone for seconds in half.ready], noise.victim.ready
    worse = {percent: percentile(late, percent) / percentile(quiet, percent) for percent in (50, 95)}
    return Row(
        "noisy neighbour: the victim's single upload",
        f"ready in p50 {percentile(late, 50):.2f} s, {worse[50]:.2f} times {percentile(quiet, 50):.2f} s alone;"
        f" p95 {percentile(late, 95):.2f} s, {worse[95]:.2f} times {percentile(quiet, 95):.2f} s",
        f"≤ {_LATER:.0f} times alone, p50 and p95",
        max(worse.values()) <= _LATER,
        f"{len(late)} short documents, one after the other, each from the first byte sent until the answer that it is"
        f" ready, while the neighbour has {noise.queued:,} documents queued; {len(quiet)} alone; the slowest"
        f" {max(late):.2f} s, alone {max(quiet):.2f} s",
    )
