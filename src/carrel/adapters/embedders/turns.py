"""Turns: flows that want the same scarce thing have it one after the other, by start-time fair queueing, as jobs do.

A flow is whoever must not hinder others: a tenant. See Goyal, Vin, Cheng (1996), "Start-time Fair Queueing".
"""

import asyncio
import heapq
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from itertools import count
from typing import Generic, TypeVar

__all__ = ["FairSemaphore", "Turns"]

T = TypeVar("T")


class Turns(Generic[T]):
    """What waits. One flow's things stay in order; a flow that was idle comes in with the present turn, not behind all
    that others have waiting, and had nothing saved up. For one thread at a time.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, Hashable, T]] = []
        self._following: dict[Hashable, int] = {}
        self._present = 0
        self._arrivals = count()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, flow: Hashable, thing: T) -> None:
        turn = max(self._following.get(flow, 0), self._present)
        self._following[flow] = turn + 1
        heapq.heappush(self._waiting, (turn, next(self._arrivals), flow, thing))

    def take(self) -> T:
        """Raises IndexError when nothing waits."""
        self._present, _, flow, thing = heapq.heappop(self._waiting)
        if not self._waiting:
            self._following = {flow: self._present + 1}
        return thing


class FairSemaphore:
    """`most` at a time within one event loop; whoever must wait comes in by turns."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: Turns[asyncio.Future[None]] = Turns()

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
        while self._waiting:
            following = self._waiting.take()
            if not following.done():
                following.set_result(None)
                return
        self._free += 1
