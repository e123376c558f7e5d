"""What a worker's jobs needed goes back to the system, also when they overlapped."""

import asyncio
from typing import cast

from carrel.ingest.pipeline import Work
from carrel.wiring.application import _resident, _return_memory, _returning_memory

SIZE = 2_000
PIECES = 40_000  # 80 MB
MOST = 30 << 20


async def goes_back_to(most: int) -> None:
    async with asyncio.timeout(30):
        while _resident() > most:  # noqa: ASYNC110 - the system tells nobody
            await asyncio.sleep(0.05)


async def test_what_stayed_because_another_job_needed_it_goes_when_nothing_is_in_hand() -> None:
    held, release, pins = asyncio.Event(), asyncio.Event(), list[bytes]()

    async def large(_: Work) -> None:
        pieces = [bytes(SIZE) for _ in range(PIECES)]
        pins.extend(pieces[::500])  # what lies between them does not go by itself
        held.set()
        await release.wait()
        pieces.clear()

    async def small(_: Work) -> None:
        await held.wait()

    async def either(work: Work) -> None:
        await (large(work) if work is first else small(work))

    first, second = cast("Work", object()), cast("Work", object())
    _return_memory()
    before = _resident()
    run = _returning_memory(either)
    reading = asyncio.ensure_future(run(first))
    await run(second)
    assert _resident() > before + 2 * MOST
    release.set()
    await reading
    await goes_back_to(before + MOST)


async def test_what_a_failure_holds_goes_when_it_is_forgotten() -> None:
    pins = list[bytes]()

    async def failing(_: Work) -> None:
        pieces = [bytes(SIZE) for _ in range(PIECES)]
        pins.extend(pieces[::500])
        raise ValueError(len(pieces))

    _return_memory()
    before = _resident()
    run = _returning_memory(failing)
    try:
        await run(cast("Work", object()))
    except ValueError:
        assert _resident() > before + 2 * MOST
    await goes_back_to(before + MOST)
