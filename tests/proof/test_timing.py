"""Foreign and absent take the same time: nobody learns from a clock which ids another tenant has.

A stranger asks for pairs, one id of another tenant and one of nobody, in a random order, in the server's own process,
so that no network hides a difference. The measure is how often the foreign one took longer: one half if nothing tells
them apart. It knows no unit, so a busy machine makes it no larger. With n pairs chance alone moves it by a standard
deviation of 1 / (2 sqrt(n)); the bound is 4.5 of them, which chance passes once in a thousand whole runs. That the
measure sees what there is to see is shown by pairs that do differ: what is one's own, and what is nobody's.
"""

import random
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns
from typing import Final

import httpx2
import pytest

from api.callers import Caller
from api.calls import ABSENT, CALLS, Call, World
from api.worlds import a_world
from carrel.api.app import create_app
from carrel.domain.ids import TenantId
from carrel.domain.rights import RIGHTS, Permission, Role
from support.people import a_person
from support.rounds import rounds
from support.stand import Stand
from support.tenants import a_tenant

pytestmark = [pytest.mark.proof, pytest.mark.alone]

PAIRS: Final = rounds(3, 500)
WARM: Final = rounds(1, 20)
DEVIATIONS: Final = 4.5
BOUND: Final = DEVIATIONS / (2 * PAIRS**0.5)  # above one half, and so no bound at all, in a short run


@dataclass(frozen=True)
class Scene:
    """A stranger with a world of their own, and somebody else's world."""

    stranger: Caller
    own: World
    foreign: World


@pytest.fixture(scope="module")
async def scene(carrel: Stand) -> AsyncIterator[Scene]:
    app = create_app(lambda: nullcontext(carrel.app))
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://carrel.test", timeout=90) as client,
    ):
        worlds = []
        for name in ("Own", "Foreign"):
            tenant = await a_tenant(carrel.app, name)
            worlds.append(await a_world(carrel, Caller(client, await tenant.key(), tenant)))
        own, foreign = worlds
        place = TenantId(uuid.UUID(own["tenant"]))
        person = await a_person(carrel, owner=place)
        yield Scene(Caller(client, person.token(place)), own, foreign)


async def taken(caller: Caller, call: Call, world: World, *, status: int) -> int:
    """Nanoseconds."""
    path, sent = call.to(world), call.sent(world)
    begun = perf_counter_ns()
    answer = await caller(call.method, path, **sent)
    ended = perf_counter_ns()
    assert answer.status_code == status, answer.text
    return ended - begun


async def how_often(caller: Caller, call: Call, world: World, *, status: int = 404) -> float:
    """How often the call in this world took longer than in a world of nothing, of all pairs."""
    pairs = [await a_pair(caller, call, world, status=status) for _ in range(WARM + PAIRS)][WARM:]
    often = sum(there > absent for there, absent in pairs) / PAIRS
    there, absent = (median(side) / 1e3 for side in zip(*pairs, strict=True))
    sys.stdout.write(
        f"{call.method} {call.path}: {often:.3f} of the pairs; medians {there:.0f} and {absent:.0f} microseconds\n"
    )
    return often


async def a_pair(caller: Caller, call: Call, world: World, *, status: int) -> tuple[int, int]:
    """In this world, and in one of ids that were never seen before; which of them comes first is chance."""
    nothing = {name: str(uuid.uuid4()) for name in ABSENT}
    if random.random() < 0.5:
        there = await taken(caller, call, world, status=status)
        return there, await taken(caller, call, nothing, status=404)
    absent = await taken(caller, call, nothing, status=404)
    return await taken(caller, call, world, status=status), absent


LOOKED_UP = [
    call
    for call in CALLS
    if Role.OWNER in RIGHTS[call.needs].roles
    and call.needs is not Permission.PLATFORM
    and ("{" in call.path or call.names_ids)
]


@pytest.mark.parametrize("call", LOOKED_UP, ids=lambda call: f"{call.method} {call.path}")
async def test_a_clock_does_not_tell_foreign_from_absent(scene: Scene, call: Call) -> None:
    assert abs(await how_often(scene.stranger, call, scene.foreign) - 0.5) <= BOUND


async def test_the_measure_sees_what_differs(scene: Scene) -> None:
    """A search in one's own source embeds the question, and one in a source of nobody's does not."""
    call = next(call for call in LOOKED_UP if call.name == "search" and "source_ids" in str(call.sent(scene.own)))
    often = await how_often(scene.stranger, call, scene.own, status=200)
    assert PAIRS < 100 or often - 0.5 > BOUND
