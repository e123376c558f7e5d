"""Turns between flows: who waits, who comes in next, and what becomes of those who go away."""

import asyncio
from collections.abc import Sequence

import pytest

from carrel.adapters.embedders.turns import FairSemaphore, Turns


def taken(turns: Turns[str], count: int) -> str:
    return "".join(turns.take() or "-" for _ in range(count))


def waiting(*things: str) -> Turns[str]:
    """Each thing is a letter, its flow; in this order they come."""
    turns: Turns[str] = Turns()
    for thing in things:
        turns.put(thing, thing)
    return turns


def test_flows_take_turns_whatever_each_has_waiting() -> None:
    assert taken(waiting(*"AAAABB"), 6) == "ABABAA"


def test_a_flow_that_comes_goes_before_all_that_another_has_waiting_but_its_next_at_most() -> None:
    turns = waiting(*"AAAAAA")
    taken(turns, 3)
    turns.put("B", "B")
    assert "B" in taken(turns, 2)


def test_who_comes_again_and_again_starves_nobody() -> None:
    turns = waiting(*"AAAA")
    order = ""
    for _ in range(8):
        turns.put("B", "B")
        order += taken(turns, 1)
    assert order.count("A") >= 3


def test_a_flow_that_was_idle_has_saved_nothing_up() -> None:
    turns = waiting(*"AAAA")
    taken(turns, 4)
    for thing in "BBBAAA":
        turns.put(thing, thing)
    assert taken(turns, 7) == "BABABA-"


def test_what_nobody_waits_for_any_more_costs_no_turn() -> None:
    gone = set(range(500))
    turns: Turns[int] = Turns(lambda thing: thing in gone)
    for number in range(500):
        turns.put("A", number)
    for number in range(1_000, 1_010):
        turns.put("B", number)
    turns.put("A", 500)
    assert [turns.take(), turns.take()] == [500, 1_000]


def test_what_is_over_is_forgotten() -> None:
    turns: Turns[int] = Turns()
    for number in range(1_000):
        turns.put(number, number)
        turns.take()
    assert len(turns._following) <= 1


async def test_so_many_hold_it_at_a_time_and_the_others_by_turns() -> None:
    semaphore, order = FairSemaphore(2), list[str]()
    holding = most = 0

    async def hold(flow: str) -> None:
        nonlocal holding, most
        async with semaphore.held(flow):
            holding += 1
            most = max(most, holding)
            order.append(flow)
            await asyncio.sleep(0)
            holding -= 1

    await asyncio.gather(*map(hold, "AAAAAABB"))
    assert most == 2
    assert "".join(order).index("B") <= 3
    assert order.count("A") == 6


@pytest.mark.parametrize("gone", [(0,), (1,), (0, 1), (2,)])
async def test_whoever_gives_up_while_it_waits_takes_no_place(gone: Sequence[int]) -> None:
    semaphore, held = FairSemaphore(1), list[int]()
    leave = asyncio.Event()

    async def hold(number: int) -> None:
        async with semaphore.held(number):
            held.append(number)
            await leave.wait()

    async with semaphore.held("first"):
        tasks = [asyncio.create_task(hold(number)) for number in range(3)]
        await asyncio.sleep(0)
        for number in gone:
            tasks[number].cancel()
    leave.set()
    await asyncio.wait(tasks)
    assert held == [number for number in range(3) if number not in gone]
    async with asyncio.timeout(30), semaphore.held("last"):
        pass


async def test_whoever_gives_up_just_when_its_turn_comes_passes_it_on() -> None:
    semaphore = FairSemaphore(1)
    entered = asyncio.Event()

    async def hold(event: asyncio.Event | None) -> None:
        async with semaphore.held("flow"):
            if event:
                event.set()

    async with semaphore.held("first"):
        early, late = asyncio.create_task(hold(None)), asyncio.create_task(hold(entered))
        await asyncio.sleep(0)
    early.cancel()
    async with asyncio.timeout(30):
        await asyncio.wait([early, late])
    assert early.cancelled()
    assert entered.is_set()
