"""Precedence within one process: what somebody waits for goes first, what can wait goes last."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from carrel.domain.access import Principal
from carrel.domain.rights import Permission

__all__ = ["FIRST", "Place", "Precedence"]

Presses = Callable[[Principal, Permission], bool]

_PATIENCE: Final = 0.25


class Place:
    """Where one piece of work stands: behind whatever `busy` tells of, or nowhere.

    `patience` is how many seconds it gives way at most, all its waits together: being behind delays, it never starves.
    """

    def __init__(self, gap: "_Gap | None" = None, *, patience: float = 0.0) -> None:
        self._gap = gap
        self._patience = patience

    async def give_way(self) -> None:
        """Between two steps, while nothing is held that others need."""
        if self._gap is None or self._patience <= 0.0 or self._gap.is_open:
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._gap.wait()
        self._patience -= loop.time() - began


FIRST: Final = Place()


class Precedence:
    """Questions go before what is brought by the batch, and before the questions of those who `presses` tells of."""

    def __init__(self, presses: Presses) -> None:
        self._presses = presses
        self._gap = _Gap()

    @contextmanager
    def asking(self, principal: Principal, permission: Permission) -> Iterator[Place]:
        if self._presses(principal, permission):
            yield self.last()
            return
        with self._gap.closed():
            yield FIRST

    def last(self) -> Place:
        return Place(self._gap, patience=_PATIENCE)


class _Gap:
    """Open while nobody stands in it."""

    def __init__(self) -> None:
        self._inside = 0
        self._opened = asyncio.Event()

    @property
    def is_open(self) -> bool:
        return not self._inside

    @contextmanager
    def closed(self) -> Iterator[None]:
        self._inside += 1
        self._opened.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._opened.set()

    async def wait(self) -> None:
        """Whoever wakes up may find that somebody was faster."""
        while self._inside:
            await self._opened.wait()
