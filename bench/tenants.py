"""Growth of the number of tenants: the same number of chunks in all, among 10, 100 and 1,000 of them."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

from bench import plots
from bench.context import Bench
from bench.openloop import Call, Closed, Open, drive
from bench.percentiles import percentile
from bench.rows import Row
from bench.search import filled_with, rotation, search_call
from bench.served import Served, served
from bench.stand import a_stand
from bench.texts import Library, library

_TENANTS: Final = (10, 100, 1_000)
_CHUNKS: Final = 20_000  # in all
_RATE: Final = 20.0  # requests a second
_ROUNDS: Final = 3
_MOST: Final = 1.3  # times the p95 of the fewest tenants


@dataclass(slots=True)
class _City:
    """A Carrel with so many tenants; `latencies` in milliseconds."""

    tenants: int
    carrel: Served
    calls: Sequence[Call]
    latencies: list[float] = field(default_factory=list)
    failed: int = 0


async def run(bench: Bench) -> list[Row]:
    """All cities are served at once and asked in turns, so that the machine's moods strike all alike."""
    found = library(bench.data)
    async with AsyncExitStack() as stack:
        cities = [await _city(bench, stack, found, number) for number in bench.pick(_TENANTS, (2, 10))]
        for city in cities:
            await drive(city.carrel.url, city.calls, Closed(2, bench.pick(3.0, 0.5)))
        for _ in range(bench.pick(_ROUNDS, 1)):
            for city in cities:
                await _ask(city, bench.pick(10.0, 1.0))
    _plot(bench, cities)
    return [_row(city, cities[0], found, is_last=city is cities[-1]) for city in cities]


async def _city(bench: Bench, stack: AsyncExitStack, found: Library, tenants: int) -> _City:
    home = bench.home(f"{tenants}-tenants")
    async with a_stand(home) as stand:
        each = bench.pick(_CHUNKS, 100) // tenants
        filled = await filled_with(stand, bench, found, tenants=tenants, chunks=each)
    calls = [search_call(room, question) for room, question in rotation(filled.rooms, found.questions)]
    return _City(tenants, await stack.enter_async_context(served(home)), calls)


async def _ask(city: _City, seconds: float) -> None:
    outcome = await drive(city.carrel.url, city.calls, Open(_RATE, seconds))
    city.latencies.extend(outcome.latencies)
    city.failed += outcome.failed


def _row(city: _City, fewest: _City, found: Library, *, is_last: bool) -> Row:
    p95 = percentile(city.latencies, 95)
    times = p95 / percentile(fewest.latencies, 95)
    return Row(
        f"growth: {city.tenants:,} tenants",
        f"p50 {percentile(city.latencies, 50):.1f}, p95 {p95:.1f} ms, {times:.2f} × the p95 of {fewest.tenants};"
        f" {city.failed} errors",
        f"p95 ≤ {_MOST} × that of {fewest.tenants} tenants" if is_last else "",
        times <= _MOST and not city.failed if is_last else None,
        f"the same number of chunks in all; {_RATE:.0f} requests a second, evenly spaced, in turns; loaded in bulk with"
        f" prepared vectors; {found.origin}",
    )


def _plot(bench: Bench, cities: Sequence[_City]) -> None:
    series = {
        f"p{percent}": [(float(city.tenants), percentile(city.latencies, percent)) for city in cities]
        for percent in (50, 95, 99)
    }
    title = "Search latency, the same number of chunks in all"
    plots.lines(bench.results / "tenants.png", title, series, across="tenants", up="ms", powers=True)
