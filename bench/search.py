"""Search: 40 tenants of 2,000 chunks each, questions in rotation, nothing cached, against an in-process reference."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench import plots
from bench.context import Bench
from bench.load import Room
from bench.machine import Spent
from bench.openloop import Call, Closed, Open, Outcome, drive
from bench.prepared import prepare
from bench.reference import Reference
from bench.rows import Row
from bench.served import Served, served, settled
from bench.stages import Stage, stages
from bench.stand import Filled, Stand, a_stand, fill
from bench.texts import Library, library

CLIENTS: Final = (1, 4, 16)
_CPU, _P50, _SHARE = 9.0, 10.0, 0.5  # milliseconds, milliseconds, of the reference
_RATE: Final = 20.0  # requests a second
_QUESTIONS: Final = 200


@dataclass(frozen=True, slots=True)
class Size:
    tenants: int
    chunks: int
    seconds: float
    questions: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """A run of one number of clients, and what all processes spent on it."""

    outcome: Outcome
    spent: Spent

    @property
    def carrel(self) -> float:
        """Milliseconds of processor time for one search."""
        return self.spent.carrel * 1000 / len(self.outcome.latencies)

    @property
    def postgres(self) -> float:
        return self.spent.postgres * 1000 / len(self.outcome.latencies)

    @property
    def cpu(self) -> float:
        return self.carrel + self.postgres


@dataclass(frozen=True, slots=True)
class _Measured:
    """`idle` is what all processes spend while nobody asks, in milliseconds a second.

    `runs` by number of clients, of one API process; `shared` the same of as many `processes` as the machine has cores.
    """

    idle: float
    alone: Outcome
    runs: dict[int, _Asked]
    shared: dict[int, _Asked]
    processes: int

    @property
    def sequence(self) -> _Asked:
        """One search after the other: what the time of one search is read from."""
        return self.runs[1]


async def run(bench: Bench) -> list[Row]:
    size = bench.pick(Size(40, 2_000, 12.0, _QUESTIONS), Size(3, 30, 0.5, 10))
    found = library(bench.data)
    home = bench.home("search")
    async with a_stand(home) as stand:
        filled = await filled_with(stand, bench, found, tenants=size.tenants, chunks=size.chunks)
        asked = rotation(filled.rooms, found.questions)
        costs = await stages(stand, home, asked[: size.questions])
    measured = await _measure(home, [search_call(room, text) for room, text in asked], size.seconds)
    references = _references(home, filled, found.questions, size.seconds / 3)
    note = f"{size.tenants} tenants × {size.chunks:,} chunks, loaded in bulk with prepared vectors; {found.origin}"
    _plot(bench, measured, costs, references)
    return [*_rows(measured, costs, note), *_rates(measured, references)]


async def filled_with(stand: Stand, bench: Bench, found: Library, *, tenants: int, chunks: int) -> Filled:
    """From as many texts as a tenant has chunks, since each has one at least; for small tenants from more."""
    texts = found.texts[: max(chunks, bench.pick(200, 40))]
    documents = await prepare(stand.parts.embedder, texts, kept=bench.results / "prepared")
    return await fill(stand, documents, tenants=tenants, chunks=chunks)


def rotation(rooms: Sequence[Room], questions: Sequence[str]) -> list[tuple[Room, str]]:
    """Another tenant each time, and each tenant another question."""
    return [(rooms[number % len(rooms)], question) for number, question in enumerate(questions)]


def search_call(room: Room, question: str) -> Call:
    return Call("/v1/search", room.key, {"query": question})


async def _measure(home: Path, calls: Sequence[Call], seconds: float) -> _Measured:
    processes = len(os.sched_getaffinity(0))
    async with served(home) as carrel:
        await drive(carrel.url, calls, Closed(4, seconds / 3))
        alone = await drive(carrel.url, calls, Open(_RATE, seconds * 2))
        before = carrel.tree.cpu()
        await asyncio.sleep(seconds / 3)
        idle = (carrel.tree.cpu() - before).whole * 1000 / (seconds / 3)
        runs = await _runs(carrel, calls, seconds)
    async with served(home, processes=processes) as carrel:
        await settled(carrel)
        await drive(carrel.url, calls, Closed(4, seconds / 3))
        shared = await _runs(carrel, calls, seconds)
    return _Measured(idle, alone, runs, shared, processes)


async def _runs(carrel: Served, calls: Sequence[Call], seconds: float) -> dict[int, _Asked]:
    return {clients: await _run_of(carrel, calls, Closed(clients, seconds)) for clients in CLIENTS}


async def _run_of(carrel: Served, calls: Sequence[Call], load: Closed) -> _Asked:
    before = carrel.tree.cpu()
    outcome = await drive(carrel.url, calls, load)
    return _Asked(outcome, carrel.tree.cpu() - before)


def _references(home: Path, filled: Filled, questions: Sequence[str], seconds: float) -> dict[int, float]:
    reference = Reference(home / "models", filled.shares)
    asked = [(number % len(filled.shares), question) for number, question in enumerate(questions)]
    reference.rate(asked, clients=1, seconds=min(seconds, 1))
    return {clients: reference.rate(asked, clients=clients, seconds=seconds) for clients in CLIENTS}


def _rows(measured: _Measured, costs: Sequence[Stage], note: str) -> list[Row]:
    one, alone = measured.sequence, measured.alone
    return [
        Row(
            "search: CPU per search",
            f"{one.cpu:.1f} ms: Carrel {one.carrel:.1f}, PostgreSQL {one.postgres:.1f}",
            f"≤ {_CPU:.0f} ms over all processes",
            one.cpu <= _CPU,
            f"one search after the other, {len(one.outcome.latencies)} of them; {note}; what all processes spend on"
            f" themselves, {measured.idle:.0f} ms a second, is counted in",
        ),
        Row(
            "search: CPU by stage",
            ", ".join(f"{stage.name} {stage.whole:.1f}" for stage in (*costs, _rest(measured, costs))) + " ms",
            note="each stage repeated by itself in one process (with PostgreSQL's part), in a transaction of its own,"
            " while a search has one for dense, lexical and load together; the rest is HTTP, validation, fusion, JSON,"
            " and the idle worker: what is left of the whole",
        ),
        Row(
            "search: latency alone",
            alone.sentence,
            f"p50 < {_P50:.0f} ms",
            alone.at(50) < _P50,
            f"{_RATE:.0f} requests a second, evenly spaced: {len(alone.latencies)} answered, {alone.failed} failed",
        ),
    ]


def _rest(measured: _Measured, costs: Sequence[Stage]) -> Stage:
    one = measured.sequence
    carrel, postgres = (sum(stage.carrel for stage in costs), sum(stage.postgres for stage in costs))
    return Stage("rest", one.carrel - carrel, one.postgres - postgres)


def _rates(measured: _Measured, references: dict[int, float]) -> list[Row]:
    """The number to hold is that of all cores, since the reference has them too."""
    alone = [_rate(clients, asked, references[clients], processes=1) for clients, asked in measured.runs.items()]
    many = measured.processes
    together = [
        _rate(clients, asked, references[clients], processes=many) for clients, asked in measured.shared.items()
    ]
    last = together[-1]
    share = measured.shared[CLIENTS[-1]].outcome.rate / references[CLIENTS[-1]]
    return [*alone, *together[:-1], replace(last, hold=f"≥ {_SHARE} × the reference", held=share >= _SHARE)]


def _rate(clients: int, asked: _Asked, reference: float, *, processes: int) -> Row:
    outcome = asked.outcome
    who = f"{clients} client{'s' if clients > 1 else ''}, {processes} API process{'es' if processes > 1 else ''}"
    return Row(
        f"search: {who}",
        f"{outcome.rate:.0f} req/s, {outcome.rate / reference:.2f} × the reference's {reference:.0f};"
        f" {asked.cpu:.1f} ms CPU each; {outcome.sentence}; {outcome.failed} errors",
        note="closed loop; the HTTP clients are another process on the same cores, and what it spends is not in the"
        " CPU; the reference has as many threads as there are clients",
    )


def _plot(bench: Bench, measured: _Measured, costs: Sequence[Stage], references: dict[int, float]) -> None:
    stages = [*costs, _rest(measured, costs)]
    plots.bars(
        bench.results / "search-stages.png",
        "Processor time of one search by stage",
        {"Carrel": [stage.carrel for stage in stages], "PostgreSQL": [stage.postgres for stage in stages]},
        groups=[stage.name for stage in stages],
        up="ms",
    )
    plots.bars(
        bench.results / "search-rates.png",
        "Searches in a second",
        {
            "one API process": [asked.outcome.rate for asked in measured.runs.values()],
            f"{measured.processes} API processes": [asked.outcome.rate for asked in measured.shared.values()],
            "in-process reference": [references[clients] for clients in measured.runs],
        },
        groups=[f"{clients} clients" for clients in measured.runs],
        up="req/s",
    )
