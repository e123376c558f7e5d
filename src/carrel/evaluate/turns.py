"""Many questions, a few at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, TypeVar

A = TypeVar("A")
B = TypeVar("B")

_AT_ONCE: Final = 4


async def in_turns(things: Sequence[A], put: Callable[[A], Awaitable[B]], *, tell: Callable[[], None]) -> list[B]:
    """What became of each, in their order; `tell` is called after each. The first exception ends all and is raised."""
    results: dict[int, B] = {}
    waiting = iter(enumerate(things))

    async def work(waiting: Iterator[tuple[int, A]]) -> None:
        for number, thing in waiting:
            results[number] = await put(thing)
            tell()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(work(waiting))
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    return [results[number] for number in range(len(things))]
