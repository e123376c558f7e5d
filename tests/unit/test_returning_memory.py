"""What a worker's jobs needed goes back to the system, also when they overlapped."""

import asyncio
import sys
from typing import cast

import pytest

from carrel.ingest.pipeline import Work
from carrel.wiring.memory import give_back, resident, rest, returning

SIZE = 2_000
PIECES = 40_000  # 80 MB
MOST = 30 << 20


async def test_much_goes_back_at_a_jobs_end_while_another_is_in_hand() -> None:
    pins, go_on = list[bytes](), asyncio.Event()

    async def either(work: Work) -> None:
        if work is second:
            await go_on.wait()
            return
        pieces = [bytes(SIZE) for _ in range(PIECES)]
        pins.extend(pieces[::500])  # what lies between them does not go by itself

    first, second = cast("Work", object()), cast("Work", object())
    give_back()
    before = resident()
    run = returning(either)
    waiting = asyncio.ensure_future(run(second))

    await run(first)

    assert resident() < before + MOST
    go_on.set()
    await waiting


async def test_what_stayed_because_another_job_needed_it_goes_when_nothing_is_in_hand() -> None:
    held, release, pins = asyncio.Event(), asyncio.Event(), list[bytes]()

    async def large(_: Work) -> None:
        pieces = [bytes(SIZE) for _ in range(PIECES)]
        pins.extend(pieces[::500])
        held.set()
        await release.wait()
        pieces.clear()

    async def small(_: Work) -> None:
        await held.wait()

    async def either(work: Work) -> None:
        await (large(work) if work is first else small(work))

    first, second = cast("Work", object()), cast("Work", object())
    give_back()
    before = resident()
    run = returning(either)
    reading = asyncio.ensure_future(run(first))
    await run(second)
    assert resident() > before + 2 * MOST
    release.set()
    await reading
    rest()
    assert resident() < before + MOST


async def test_what_a_failure_holds_goes_when_it_is_forgotten() -> None:
    pins = list[bytes]()

    async def failing(_: Work) -> None:
        pieces = [bytes(SIZE) for _ in range(PIECES)]
        pins.extend(pieces[::500])
        raise ValueError(len(pieces))

    give_back()
    before = resident()
    run = returning(failing)
    try:
        await run(cast("Work", object()))
    except ValueError:
        assert resident() > before + 2 * MOST
    rest()
    assert resident() < before + MOST


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="From 3.13 on a pattern makes no name anew.")
def test_names_that_patterns_left_in_the_cache_of_lookups_are_forgotten() -> None:
    kept = [matched(number) for number in range(20_000)]
    before = sys.getallocatedblocks()

    rest()

    assert len(kept) == 20_000
    assert sys.getallocatedblocks() < before - 200


def matched(number: int) -> str:
    match number:
        case int(value):
            return "x" * (value % 37 + 5)  # so that the next name lies elsewhere
