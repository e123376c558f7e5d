"""Who goes first waits for nobody; who goes last waits for the others, and not for ever."""

import asyncio
import uuid
from contextlib import suppress

import pytest

from carrel.domain import precedence
from carrel.domain.access import Principal, console
from carrel.domain.ids import TenantId
from carrel.domain.precedence import Place, Precedence
from carrel.domain.rights import Permission

GREEDY, MODEST = console(TenantId(uuid.uuid4())), console(TenantId(uuid.uuid4()))
LONG, SHORT = 60.0, 0.05


@pytest.fixture(params=[LONG])
def order(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Precedence:
    """With so much patience."""
    monkeypatch.setattr(precedence, "_PATIENCE", request.param)
    return Precedence(lambda principal, permission: principal is GREEDY and permission is Permission.SEARCH)


async def has_gone_on(going: "asyncio.Task[None]") -> bool:
    """After everybody who could run has run."""
    for _ in range(10):
        await asyncio.sleep(0)
    return going.done()


def asks(order: Precedence, principal: Principal, permission: Permission = Permission.SEARCH) -> "asyncio.Task[None]":
    async def ask() -> None:
        with order.asking(principal, permission) as place:
            await place.give_way()

    return asyncio.create_task(ask())


async def test_alone_nobody_waits(order: Precedence) -> None:
    with order.asking(GREEDY, Permission.SEARCH):
        assert await has_gone_on(asks(order, GREEDY))
        assert await has_gone_on(asks(order, MODEST))
        assert await has_gone_on(asyncio.create_task(order.last().give_way()))


async def test_who_asks_too_much_and_what_comes_last_wait_until_all_others_are_through(order: Precedence) -> None:
    with order.asking(MODEST, Permission.SEARCH):
        with order.asking(MODEST, Permission.SEARCH):
            waiting = [asks(order, GREEDY), asks(order, GREEDY), asyncio.create_task(order.last().give_way())]
            assert await has_gone_on(asks(order, MODEST))
            assert await has_gone_on(asks(order, GREEDY, Permission.ASK))
        assert not any([await has_gone_on(one) for one in waiting])
    assert all([await has_gone_on(one) for one in waiting])


async def test_whoever_wakes_up_when_another_was_faster_waits_on(order: Precedence) -> None:
    with order.asking(MODEST, Permission.SEARCH):
        waiting = asks(order, GREEDY)
        assert not await has_gone_on(waiting)
    with order.asking(MODEST, Permission.SEARCH):
        assert not await has_gone_on(waiting)
    assert await has_gone_on(waiting)


async def test_who_fails_or_is_cancelled_is_out_of_the_way(order: Precedence) -> None:
    async def stuck() -> None:
        with order.asking(MODEST, Permission.SEARCH):
            await asyncio.Event().wait()

    going = asyncio.create_task(stuck())
    waiting = asks(order, GREEDY)
    assert not await has_gone_on(waiting)
    going.cancel()
    with suppress(asyncio.CancelledError):
        await going
    assert await has_gone_on(waiting)
    with suppress(RuntimeError), order.asking(MODEST, Permission.SEARCH):
        raise RuntimeError
    assert await has_gone_on(asks(order, GREEDY))


async def test_who_waits_can_be_cancelled(order: Precedence) -> None:
    with order.asking(MODEST, Permission.SEARCH):
        waiting = asks(order, GREEDY)
        assert not await has_gone_on(waiting)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert await has_gone_on(asks(order, GREEDY))


@pytest.mark.parametrize("order", [SHORT], indirect=True)
async def test_patience_is_for_all_waits_together(order: Precedence) -> None:
    clock = asyncio.get_running_loop().time
    with order.asking(MODEST, Permission.SEARCH):
        place: Place = order.last()
        began = clock()
        await place.give_way()
        assert clock() - began >= SHORT
        assert await has_gone_on(asyncio.create_task(place.give_way()))
