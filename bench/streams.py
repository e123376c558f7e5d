"""Streams: a hundred people read answers that come at fifty tokens a second, through Carrel and without it.

The model is the server that the tests use, in a process of its own: it takes its time to the first token and speaks at
its rate, so what is later than at the bare server was added on the way: by authentication, search, prompt and stream.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench import plots
from bench.context import Bench
from bench.load import Room
from bench.machine import Spent
from bench.openloop import Call
from bench.percentiles import percentile
from bench.readers import Read, Reading, Signs, read
from bench.rows import Row
from bench.search import filled_with
from bench.served import Served, end_with_parent, served, settled
from bench.stand import Filled, Stand, a_stand
from bench.texts import library
from carrel.ask.pipeline import ChatWish, Evidence

_P50, _P95 = 30.0, 150.0  # milliseconds added
_RATE: Final = 50.0  # tokens a second
_FIRST: Final = 300.0  # milliseconds to the model's first token
_TOKENS: Final = 250  # of each answer
_ANSWER: Final = _FIRST / 1000 + _TOKENS / _RATE
_QUOTED: Final = 14  # words of a document that make a question it answers
_EACH: Final = 5  # questions of a tenant
_TESTS: Final = Path(__file__).parent.parent / "tests"
_MODEL: Final = "talk"
_BARE: Final = Signs(first='"delta": {"content": "', good="data: [DONE]")
_CARREL: Final = Signs(first="event: delta", good='"status":"answered"')


@dataclass(frozen=True, slots=True)
class _Size:
    """`crowds` are numbers of readers; the last one's numbers are held, the others read for a third of `seconds`."""

    tenants: int
    chunks: int
    crowds: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class _Pair:
    """The same number of readers, at the bare model and through Carrel; `spent` is what Carrel and PostgreSQL took."""

    readers: int
    bare: Read
    carrel: Read
    spent: Spent

    def added(self, percent: float) -> float:
        """Milliseconds that Carrel's first tokens are later than half of the bare model's are."""
        usual = self.bare.at(50)
        return percentile([first - usual for first in self.carrel.first], percent)

    @property
    def failed(self) -> int:
        return self.bare.failed + self.carrel.failed


async def run(bench: Bench) -> list[Row]:
    size = bench.pick(_Size(20, 500, (10, 50, 100), 15.0), _Size(2, 30, (4,), 6.0))
    found, home = library(bench.data), bench.home("streams")
    async with a_stand(home) as stand:
        filled = await filled_with(stand, bench, found, tenants=size.tenants, chunks=size.chunks)
        asked = await _questions(stand, filled)
    async with _a_model() as url:
        cores = len(os.sched_getaffinity(0))
        many = await _measure(home, url, asked, size, processes=cores)
        one = await _measure(home, url, asked, replace(size, crowds=size.crowds[-1:]), processes=1)
    _plot(bench, many)
    return [*_rows(many[-1], cores), _told(one[-1])]


@asynccontextmanager
async def _a_model() -> AsyncIterator[str]:
    options = ("--first-token-ms", str(_FIRST), "--tokens-per-second", str(_RATE))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "support.model_server", *options,
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(_TESTS)}, preexec_fn=end_with_parent,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield str(json.loads(await process.stdout.readline())["url"])
    finally:
        process.terminate()
        await process.wait()


async def _measure(home: Path, model: str, asked: Sequence[Call], size: _Size, *, processes: int) -> list[_Pair]:
    """Of each crowd first the bare model, then Carrel, so that both meet the same moment of the machine."""
    environment = {
        "CARREL_MODEL__KIND": "openai",
        "CARREL_MODEL__BASE_URL": f"{model}/v1",
        "CARREL_MODEL__MODEL": _MODEL,
    }
    async with served(home, processes=processes, environment=environment) as carrel:
        await settled(carrel)
        await read(carrel.url, asked, _CARREL, Reading(2 * processes, 1.0, _ANSWER))
        times = dict.fromkeys(size.crowds[:-1], size.seconds / 3) | {size.crowds[-1]: size.seconds}
        return [await _pair(carrel, model, asked, readers=readers, seconds=times[readers]) for readers in size.crowds]


async def _pair(carrel: Served, model: str, asked: Sequence[Call], *, readers: int, seconds: float) -> _Pair:
    reading = Reading(readers, seconds, _ANSWER)
    bare = await read(model, [_plain(call) for call in asked], _BARE, reading)
    before = carrel.tree.cpu()
    streamed = await read(carrel.url, asked, _CARREL, reading)
    return _Pair(readers, bare, streamed, carrel.tree.cpu() - before)


async def _questions(stand: Stand, filled: Filled) -> list[Call]:
    """What each tenant's own documents answer, in their words: a refusal would need no model. Tenants take turns."""
    shares = zip(filled.rooms, filled.shares, strict=True)
    found = [await _answered(stand, room, [_quoted(one.chunks[0].text) for one in share]) for room, share in shares]
    turns = zip(*found, strict=False)
    return [
        Call("/v1/chat", room.key, {"message": question, "stream": True})
        for turn in turns
        for room, question in zip(filled.rooms, turn, strict=True)
    ]


async def _answered(stand: Stand, room: Room, questions: Sequence[str]) -> list[str]:
    principal, found = await stand.app.principals.authenticate(room.key), list[str]()
    for question in questions:
        allowed = await stand.app.asking.allow(principal, ChatWish(question))
        async with aclosing(stand.app.asking.chat(allowed)) as events:
            evidence = await anext(events)
        if isinstance(evidence, Evidence) and evidence.is_enough:
            found.append(question)
        if len(found) == _EACH:
            break
    return found


def _quoted(text: str) -> str:
    return " ".join(text.replace("#", " ").split()[:_QUOTED])


def _plain(call: Call) -> Call:
    told = [{"role": "user", "content": call.body["message"]}]
    return Call("/v1/chat/completions", "any", {"model": _MODEL, "messages": told, "stream": True})


def _rows(last: _Pair, processes: int) -> list[Row]:
    asked = last.carrel.answers + last.carrel.failed
    reasons = "; ".join(f"{count} × {reason}" for reason, count in last.carrel.errors.items())
    name = f"streams: {last.readers} readers at {_RATE:.0f} tokens/s"
    return [
        Row(
            f"{name}: errors",
            f"{last.failed} of {asked:,} answers",
            "0",
            last.failed == 0,
            f"each answer has {_TOKENS} tokens, the first of them {_FIRST:.0f} ms after the model was asked;"
            f" {processes} API processes; good is what ends as answered{'; ' if reasons else ''}{reasons}",
        ),
        Row(
            f"{name}: time to the first token, added",
            f"p50 {last.added(50):.0f}, p95 {last.added(95):.0f} ms",
            f"p50 < {_P50:.0f}, p95 < {_P95:.0f} ms",
            last.added(50) < _P50 and last.added(95) < _P95,
            f"the bare model p50 {last.bare.at(50):.0f}, p95 {last.bare.at(95):.0f} ms; through"
            f" Carrel p50 {last.carrel.at(50):.0f}, p95 {last.carrel.at(95):.0f} ms; each of Carrel's is compared with"
            " the bare model's p50; readers and model are other processes on the same cores",
        ),
        Row(
            f"{name}: processor time",
            f"{last.spent.whole * 1_000_000 / _TOKENS / asked:.0f} µs for a token",
            note=f"Carrel {last.spent.carrel:.1f} s and PostgreSQL {last.spent.postgres:.1f} s for {asked} answers,"
            f" search included; a whole answer takes p50 {percentile(last.carrel.whole, 50) / 1000:.2f} s, at the bare"
            f" model {percentile(last.bare.whole, 50) / 1000:.2f} s",
        ),
    ]


def _told(alone: _Pair) -> Row:
    measured = f"p50 {alone.added(50):.0f}, p95 {alone.added(95):.0f} ms; {alone.failed} errors"
    return Row(f"streams: {alone.readers} readers, one API process: added", measured)


def _plot(bench: Bench, pairs: Sequence[_Pair]) -> None:
    series = {f"p{percent}": [(pair.readers, pair.added(percent)) for pair in pairs] for percent in (50, 95)}
    file = bench.results / "streams.png"
    plots.lines(file, "Time to the first token, added by Carrel", series, across="readers at once", up="ms")
