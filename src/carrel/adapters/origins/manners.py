"""How often one host is asked: by one request at a time of this process, with a pause after each."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

_MANY: Final = 1_000


@dataclass
class _Host:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    free_at: float = 0.0
    waiting: int = 0


class Manners:
    """All walks of a process share one. `pause` is in seconds; `sleep` and `clock` are those of the process."""

    def __init__(
        self,
        pause: float = 0.5,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pause = pause
        self._sleep = sleep
        self._clock = clock
        self._hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def turn(self, host: str, delay: float = 0.0) -> AsyncIterator[None]:
        """`delay` is the pause that the host asks for, if that is longer than ours."""
        known = self._host(host)
        known.waiting += 1
        try:
            async with known.turn:
                if (wait := known.free_at - self._clock()) > 0:
                    await self._sleep(wait)
                try:
                    yield
                finally:
                    known.free_at = self._clock() + max(self._pause, delay)
        finally:
            known.waiting -= 1

    async def wait(self, seconds: float) -> None:
        """For a host that asks for it, within its turn."""
        await self._sleep(seconds)

    def _host(self, host: str) -> _Host:
        if len(self._hosts) > _MANY:
            now = self._clock()
            self._hosts = {name: one for name, one in self._hosts.items() if one.waiting or one.free_at > now}
        return self._hosts.setdefault(host, _Host())
