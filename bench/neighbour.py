"""A noisy neighbour: one tenant's searches alone, then while another brings files without end and asks four times.

Both ask in an open loop. The neighbour may search as often as the victim does and asks four times as often, so three of
four of its searches are refused: what they cost is part of the noise. The victim's two quiet runs stand before and
after the noisy one, so that a machine that grows slower meanwhile is seen.
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
_RATE: Final = 10.0  # the victim's searches in a second
_TIMES: Final = 4
_WAITING: Final = 50  # documents in the queue below which the neighbour brings more
_BATCH: Final = 100
_LOOK: Final = 0.2
_REFUSED: Final = "429"


@dataclass(frozen=True, slots=True)
class _Noise:
    """`read` documents of the neighbour became ready meanwhile."""

    victim: Outcome
    neighbour: Outcome
    read: int


async def run(bench: Bench) -> list[Row]:
    found, home = library(bench.data), bench.home("neighbour")
    chunks, seconds = bench.pick((2_000, 60.0), (60, 3.0))
    async with a_stand(home) as stand:
        victim, neighbour = (await filled_with(stand, bench, found, tenants=2, chunks=chunks)).rooms
        limit = Rates(together={RouteClass.SEARCH: Limit(round(_RATE), 1)})
        await stand.app.allowances.pace(console(None), neighbour.tenant, limit)
    calls = [search_call(victim, question) for question in found.questions]
    noise = [search_call(neighbour, question) for question in reversed(found.questions)]
    async with served(home) as carrel, a_shelf(carrel.url, neighbour) as shelf:
        await drive(carrel.url, calls, Closed(2, seconds / 10))
        before = await drive(carrel.url, calls, Open(_RATE, seconds / 2))
        disturbed = await _disturbed(carrel.url, calls, noise, seconds, shelf=shelf, texts=found.texts[chunks:])
        await shelf.settled()
        after = await drive(carrel.url, calls, Open(_RATE, seconds / 2))
    return [_row([before, after], disturbed, chunks)]


async def _disturbed(
    url: str, calls: Sequence[Call], noise: Sequence[Call], seconds: float, *, shelf: Shelf, texts: Sequence[Text]
) -> _Noise:
    before = (await shelf.counts())["ready"]
    async with _bringing(shelf, texts):
        asked = drive(url, noise, Open(_RATE * _TIMES, seconds))
        neighbour, victim = await asyncio.gather(asked, drive(url, calls, Open(_RATE, seconds)))
    return _Noise(victim, neighbour, (await shelf.counts())["ready"] - before)


@asynccontextmanager
async def _bringing(shelf: Shelf, texts: Sequence[Text]) -> AsyncIterator[None]:
    """The queue never runs empty inside."""
    async with asyncio.TaskGroup() as group:
        bringing = group.create_task(_bring(shelf, texts))
        yield
        bringing.cancel()


async def _bring(shelf: Shelf, texts: Sequence[Text]) -> None:
    for batch in _batches(texts):
        await shelf.bring(batch, outcome="created")
        while (await shelf.counts())["pending"] > _WAITING:  # noqa: ASYNC110 - another process reads
            await asyncio.sleep(_LOOK)


def _batches(texts: Sequence[Text]) -> Iterator[Sequence[Text]]:
    """The same files under new names, when all were brought."""
    for again in count():
        for first in range(0, len(texts), _BATCH):
            batch = texts[first : first + _BATCH]
            yield [Text(f"{again}/{text.key}", text.content + b"\n" * again) for text in batch]


def _row(alone: Sequence[Outcome], noise: _Noise, chunks: int) -> Row:
    quiet = percentile([latency for outcome in alone for latency in outcome.latencies], 99)
    worse = noise.victim.at(99) / quiet
    refused = noise.neighbour.errors.get(_REFUSED, 0)
    failed = sum(outcome.failed for outcome in (*alone, noise.victim, noise.neighbour)) - refused
    return Row(
        "noisy neighbour: the victim's p99",
        f"{noise.victim.at(99):.1f} ms, {worse:.2f} times {quiet:.1f} ms alone; {failed} errors",
        f"≤ {_WORSE} times its p99 alone",
        worse <= _WORSE and not failed,
        f"two tenants of {chunks:,} chunks; the victim asks {_RATE:.0f} times a second in an open loop; the neighbour"
        f" {_RATE * _TIMES:.0f} times with a limit of {_RATE:.0f}, so {refused} of its searches are answered 429 and"
        f" {len(noise.neighbour.latencies)} with hits, while {noise.read} of its new documents are read; alone before"
        f" ({alone[0].sentence}) and after ({alone[1].sentence}), disturbed {noise.victim.sentence}; the"
        f" neighbour's own {noise.neighbour.sentence}",
    )
