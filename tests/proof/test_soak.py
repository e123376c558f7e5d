"""Hours in minutes: thousands of mixed requests to a served Carrel leave it as large and as quick as it was.

The mix repeats every hundred requests, so each third of the run holds the same; documents are replaced, deleted and
made anew under a fixed set of names, so the amount of data stays, too. What grows or slows down all the same is a leak.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression
from typing import Any, Final
from uuid import UUID

import httpx2
import numpy as np
import pytest

from carrel.domain.ids import SourceId, document_id
from support.rounds import rounds
from support.served import Served, resident, served

pytestmark = [pytest.mark.proof, pytest.mark.slow, pytest.mark.alone]

COUNTED: Final = rounds(240, 24_000)
WARM: Final = rounds(60, 12_000)  # before: caches fill, pools open, the allocator finds its size
REQUESTS: Final = WARM + COUNTED
CLIENTS: Final = 4
EVERY: Final = rounds(50, 200)  # requests between two looks at the memory
MOST_GROWTH: Final = 1.0  # MB in 10,000 requests, over all of Carrel's processes
MOST_DRIFT: Final = 1.10
MOST_SECONDS: Final = 20 * 60.0  # a machine that is too slow for the whole run tells what it has seen
DOCUMENTS: Final = 40
TOPICS: Final = ("ledger", "gateway", "mailer", "search", "billing", "exports", "sessions", "archive")

Step = Callable[["World", int], "Call"]


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    expected: frozenset[int]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class World:
    """What the requests are about."""

    source: str
    other: str
    bot: str


@dataclass
class Course:
    """How the run went: seconds of each answer in order, and the memory of each process now and then."""

    took: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    weighed: list[tuple[int, dict[str, float]]] = field(default_factory=list)


def test_the_mix_is_of_a_hundred() -> None:
    assert len(MIX) == 100


async def test_it_stays_as_large_and_as_quick_as_it_was(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served(tmp_path / "home", models) as carrel:
        key = await carrel.tenant("Soak")
        async with carrel.client(key) as client:
            course = await run(carrel, client, await a_world(client))
        said = carrel.log.read_text()
    with capsys.disabled():
        sys.stdout.write("\n" + told(course))
    assert course.wrong == [], said[-3000:]
    assert len(course.took) == REQUESTS
    assert all(set(weights) == set(course.weighed[0][1]) for _, weights in course.weighed)
    if COUNTED >= 10_000:  # a slope over a few hundred requests says nothing
        assert growth(course) <= MOST_GROWTH
        assert drift(course) <= MOST_DRIFT


async def run(carrel: Served, client: httpx2.AsyncClient, world: World) -> Course:
    course, numbers, pids = Course(), iter(range(REQUESTS)), carrel.pids
    assert set(pids) == {"supervisor", "api", "worker", "zygote"}

    deadline = time.monotonic() + MOST_SECONDS

    async def one_after_the_other() -> None:
        for number in numbers:
            if time.monotonic() > deadline:
                return
            if number % EVERY == 0:
                course.weighed.append((number, {name: resident(pid) for name, pid in pids.items()}))
            await _ask(client, MIX[number % len(MIX)](world, number), course)

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(one_after_the_other())
    assert carrel.pids == pids, "a process was started again"
    return course


async def _ask(client: httpx2.AsyncClient, call: Call, course: Course) -> None:
    began = time.perf_counter()
    answer = await client.request(call.method, call.path, **call.options)
    course.took.append(time.perf_counter() - began)
    if answer.status_code not in call.expected or "event: error" in answer.text[:100_000]:
        course.wrong.append(f"{call.method} {call.path}: {answer.status_code} {answer.text[:300]}")


async def a_world(client: httpx2.AsyncClient) -> World:
    made = [(await client.post("/v1/sources", json={"name": name})).json()["id"] for name in ("runbooks", "other")]
    bot = (await client.post("/v1/bots", json={"name": "helper", "source_ids": made[:1]})).json()["id"]
    world = World(source=made[0], other=made[1], bot=bot)
    for number in range(DOCUMENTS):
        answer = await client.put(f"{_shelf(world)}/{number}.md?wait=true", content=_text(number, 0))
        assert answer.status_code == 201, answer.text
    return world


def growth(course: Course) -> float:
    """MB that all processes together gain in 10,000 requests: the slope of the line through what was weighed."""
    return sum(growths(course).values())


def growths(course: Course) -> dict[str, float]:
    warm = [(number, weights) for number, weights in course.weighed if number >= WARM]
    numbers = [number for number, _ in warm]
    return {
        name: linear_regression(numbers, [weights[name] for _, weights in warm]).slope * 10_000
        for name in course.weighed[0][1]
    }


def drift(course: Course) -> float:
    """The p95 of the last third over that of the first, of what is counted."""
    first, _, last = np.array_split(np.array(course.took[WARM:]), 3)
    return float(np.percentile(last, 95) / np.percentile(first, 95))


def told(course: Course) -> str:
    thirds = [np.percentile(third, [50, 95, 99]) * 1000 for third in np.array_split(np.array(course.took[WARM:]), 3)]
    weights = [course.weighed[0][1], course.weighed[-1][1]]
    lines = [f"{len(course.took)} requests, the first {WARM} not counted, {len(course.wrong)} wrong, {CLIENTS} clients"]
    lines += [
        f"third {number}: p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms"
        for number, (p50, p95, p99) in enumerate(thirds, 1)
    ]
    lines += [
        f"{name}: {weights[0][name]:.1f} MB at first, {weights[1][name]:.1f} MB at last, slope {slope:+.2f}"
        for name, slope in growths(course).items()
    ]
    lines += [f"memory slope {growth(course):+.2f} MB per 10,000 requests, p95 drift {drift(course):.3f}"]
    return "\n".join(lines) + "\n"


def search(world: World, number: int) -> Call:
    body = {"query": f"Who restarts the {_topic(number)} of region {number % 31}?", "explain": number % 2 == 0}
    scope = ({}, {"bot_id": world.bot}, {"source_ids": [world.source]})[number % 3]
    return Call("POST", "/v1/search", _OK, {"json": {**body, **scope}})


def chat(world: World, number: int) -> Call:
    body = {"message": f"On which port does the {_topic(number)} service listen?", "bot_id": world.bot}
    return Call("POST", "/v1/chat", _OK, {"json": {**body, "stream": number % 2 == 0}})


def put(world: World, number: int) -> Call:
    name = f"{_shelf(world)}/{number % DOCUMENTS}.md"
    return Call("PUT", name, frozenset({202}), {"content": _text(number % DOCUMENTS, number)})


def put_again(world: World, number: int) -> Call:
    return Call("PUT", f"{_shelf(world, world.other)}/same.md", frozenset({202}), {"content": b"# The same\n\nAlways."})


def upload(world: World, number: int) -> Call:
    files = [("files", (f"{one}.md", _text(one, number))) for one in (DOCUMENTS - 1, DOCUMENTS - 2)]
    return Call("POST", _shelf(world), frozenset({202}), {"files": files})


def forget(world: World, number: int) -> Call:
    document = document_id(SourceId(UUID(world.source)), f"{number // 100 % DOCUMENTS}.md")
    return Call("DELETE", f"/v1/documents/{document}", frozenset({204, 404}))


def lists(world: World, number: int) -> Call:
    path = ("/v1/sources", "/v1/documents?limit=20", "/v1/bots", "/v1/keys", f"/v1/sources/{world.source}")[number % 5]
    return Call("GET", path, _OK)


def repeated(world: World, number: int) -> Call:
    headers = {"Idempotency-Key": f"chat-{number % 7}"}
    body = {"message": f"Who owns the {_topic(number % 7)}?", "source_ids": [world.other]}
    return Call("POST", "/v1/chat", _OK, {"json": body, "headers": headers})


def nonsense(world: World, number: int) -> Call:
    return (
        Call("POST", "/v1/search", frozenset({422}), {"json": {"query": ""}}),
        Call("GET", f"/v1/documents/{world.bot}", frozenset({404})),
        Call("GET", "/v1/sources", frozenset({401}), {"headers": {"Authorization": "Bearer nobody"}}),
        Call("PUT", f"{_shelf(world)}/a.exe", frozenset({415}), {"content": b"MZ\x00\x01" * 100}),
        Call("GET", "/nowhere", frozenset({404})),
    )[number % 5]


def describe(world: World, number: int) -> Call:
    return Call("GET", ("/health/ready", "/openapi.json")[number % 2], _OK)


_OK: Final = frozenset({200})
_SHARES: Final = {
    search: 44,
    chat: 16,
    lists: 18,
    put: 5,
    put_again: 3,
    upload: 1,
    forget: 1,
    repeated: 3,
    nonsense: 6,
    describe: 3,
}


def _mixed() -> tuple[Step, ...]:
    """Spread evenly: each kind comes as often in every part of the hundred."""
    placed = [
        ((turn + 0.5) / share, order, step)
        for order, (step, share) in enumerate(_SHARES.items())
        for turn in range(share)
    ]
    return tuple(step for _, _, step in sorted(placed, key=lambda one: one[:2]))


MIX: Final = _mixed()


def _topic(number: int) -> str:
    return TOPICS[number % len(TOPICS)]


def _shelf(world: World, source: str = "") -> str:
    return f"/v1/sources/{source or world.source}/documents"


def _text(document: int, edition: int) -> bytes:
    topic = _topic(document)
    lines = (f"The {topic} of region {document} listens on port {7000 + line + edition}." for line in range(12))
    return "\n\n".join(itertools.chain([f"# {topic} {document}"], lines)).encode()
