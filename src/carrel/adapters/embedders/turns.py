"""Turns: flows that want the same scarce thing have it one after the other, by start-time fair queueing, as jobs do.

A flow is whoever must not hinder others: a tenant. See Goyal, Vin, Cheng (1996), "Start-time Fair Queueing".
"""

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from itertools import count
from typing import Generic, TypeVar

__all__ = ["FairSemaphore", "Turns"]

T = TypeVar("T")


class Turns(Generic[T]):
    """What waits, each flow's things in order. `is_over` tells what nobody waits for any more: it costs no turn.

    A flow that was idle comes in with the present turn, not behind all that others have waiting, and had nothing saved
    up. For one thread at a time.
    """

    def __init__(self, is_over: Callable[[T], bool] = lambda _: False) -> None:
        self._is_over = is_over
        self._lines: dict[Hashable, deque[T]] = {}
        self._heads: list[tuple[int, int, Hashable]] = []
        self._following: dict[Hashable, int] = {}
        self._present = 0
        self._arrivals = count()

    def put(self, flow: Hashable, thing: T) -> None:
        if flow in self._lines:
            self._lines[flow].append(thing)
        else:
            self._lines[flow] = deque([thing])
            self._line_up(flow)

    def take(self) -> T | None:
        """None when nothing waits."""
        while self._heads:
            turn, _, flow = heapq.heappop(self._heads)
            line = self._lines[flow]
            while line and self._is_over(line[0]):
                line.popleft()
            if line:
                self._present, self._following[flow] = turn, turn + 1
                thing = line.popleft()
                self._go_on(flow)
                return thing
            del self._lines[flow]
        return None

    def _go_on(self, flow: Hashable) -> None:
        if self._lines[flow]:
            self._line_up(flow)
        else:
            del self._lines[flow]
        if not self._heads:
            self._following = {flow: self._following[flow]}

    def _line_up(self, flow: Hashable) -> None:
        turn = max(self._following.get(flow, 0), self._present)
        heapq.heappush(self._heads, (turn, next(self._arrivals), flow))


class FairSemaphore:
    """`most` at a time within one event loop; whoever must wait comes in by turns."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: Turns[asyncio.Future[None]] = Turns(asyncio.Future.done)

    @asynccontextmanager
    async def held(self, flow: Hashable) -> AsyncIterator[None]:
        await self._enter(flow)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, flow: Hashable) -> None:
        if self._free:
            self._free -= 1
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put(flow, mine)
        try:
            await mine
        except asyncio.CancelledError:
            if not mine.cancelled():
                self._leave()
            raise

    def _leave(self) -> None:
        following = self._waiting.take()
        if following is None:
            self._free += 1
        else:
            following.set_result(None)
