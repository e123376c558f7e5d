"""Timing does not tell who has an account: known and unknown addresses, asked in turn, cannot be told apart by it."""

import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import pytest

from carrel.domain.errors import Refusal
from support.entrance import ACTS, Entrance
from support.rounds import rounds
from support.stand import Stand


def how_often_slower(ones: list[float], others: list[float]) -> float:
    """How often one of the first takes longer than one of the second: 0.5 when nothing tells them apart.

    The statistic of Mann and Whitney (1947), divided by the number of pairs.
    """
    ranked = sorted([(one, 0) for one in ones] + [(other, 1) for other in others])
    ranks = sum(rank for rank, (_, group) in enumerate(ranked, 1) if group == 0)
    return (ranks - len(ones) * (len(ones) + 1) / 2) / (len(ones) * len(others))


async def seconds_of(act: Callable[[Entrance, str], Awaitable[object]], entrance: Entrance, email: str) -> float:
    started = time.perf_counter()
    with suppress(Refusal):
        await act(entrance, email)
    return time.perf_counter() - started


pytestmark = [pytest.mark.proof, pytest.mark.alone]

PRICE: Final = (2, 19 * 1024)  # the product's own


@pytest.mark.parametrize("act", ACTS)
async def test_an_address_is_not_told_by_the_time_that_it_takes(carrel: Stand, act: str) -> None:
    """Five deviations of what chance would do, and the part that a busy machine adds.

    A sign-in reads a row more of somebody than of nobody: some microseconds, which the hash at its true price hides
    from three times as many tries as an account allows in an hour. All else is judged without that help.
    """
    is_sign_in = act == "sign in"
    entrance = Entrance(carrel, price=PRICE) if is_sign_in else Entrance(carrel)
    number = rounds(5, 300) if is_sign_in else rounds(60, 1000)
    known, unknown = await entrance.person(), f"{uuid.uuid4().hex}@people.example"
    times: dict[str, list[float]] = {known: [], unknown: []}
    for turn in range(number):
        for email in (known, unknown) if turn % 2 else (unknown, known):
            times[email].append(await seconds_of(ACTS[act], entrance, email))
    deviation = ((2 * number + 1) / (12 * number * number)) ** 0.5
    assert abs(how_often_slower(times[known], times[unknown]) - 0.5) < 5 * deviation + 0.02
