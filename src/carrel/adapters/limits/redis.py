"""Limits in Redis: for many processes, which then count together."""

import time
from typing import Final

from limits.aio.storage import RedisStorage
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from carrel.adapters.limits.windows import WindowLimiter
from carrel.domain.errors import Unavailable
from carrel.domain.limits import Limit, Standing

_CONNECTIONS: Final = 20
_PATIENCE: Final = 0.5  # seconds to connect, to answer, and to wait for a free connection
_PAUSE: Final = 1.0  # seconds after a failure in which nobody else waits for it


class RedisLimiter(WindowLimiter):
    """Counts at the time of the process that asks: machines whose clocks differ by a second count a second apart.

    After a failure the next second's hits fail at once, so that a Redis that hangs does not hold everybody up; then one
    tries again. No connection is made before the first hit. `patience` is how many seconds each wait may last.
    """

    def __init__(self, url: str, *, patience: float = _PATIENCE) -> None:
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=patience,
            socket_timeout=patience,
            socket_connect_timeout=patience,
            retry=Retry(NoBackoff(), 1),  # a connection that was idle while Redis restarted
        )
        storage = RedisStorage(
            f"async+{url}",
            implementation="redispy",
            wrap_exceptions=True,
            key_prefix="carrel",
            connection_pool=self._pool,  # type: ignore[arg-type] # it says what it takes, and its types do not
        )
        super().__init__(storage, now=time.time)
        self._again = 0.0

    async def hit(self, limit: Limit, *key: str, cost: int = 1) -> Standing:
        if time.monotonic() < self._again:
            raise Unavailable("The limiter does not answer.", code="limiter_unavailable")
        try:
            return await super().hit(limit, *key, cost=cost)
        except Unavailable:
            self._again = time.monotonic() + _PAUSE
            raise

    async def close(self) -> None:
        await self._pool.aclose()
