"""Moving windows of the `limits` library as our port: the same for every storage."""

from collections.abc import Callable
from hashlib import blake2b

from limits import RateLimitItemPerSecond
from limits.aio.storage import Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError

from carrel.domain.errors import Unavailable
from carrel.domain.limits import Limit, Standing


class WindowLimiter:
    """`now` is the clock that the storage writes down its hits with, in seconds."""

    def __init__(self, storage: Storage, *, now: Callable[[], float]) -> None:
        self._windows = MovingWindowRateLimiter(storage)
        self._now = now

    async def hit(self, limit: Limit, *key: str, cost: int = 1) -> Standing:
        item, name = RateLimitItemPerSecond(limit.amount, limit.seconds), _name(key)
        try:
            allowed = await self._windows.hit(item, name, cost=cost)
            stats = await self._windows.get_window_stats(item, name)
        except StorageError as error:
            raise Unavailable("The limiter does not answer.", code="limiter_unavailable") from error
        wait = min(max(stats.reset_time - self._now(), 0.0), float(limit.seconds))
        return Standing(limit, allowed, max(stats.remaining, 0), wait)


def _name(key: tuple[str, ...]) -> str:
    """Of a fixed length, the same for no two keys, and without the addresses of people that a key may hold."""
    return blake2b("".join(f"{len(part)}:{part}" for part in key).encode(), digest_size=16).hexdigest()
