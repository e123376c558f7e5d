"""Limits for tests: real ones, that a test may begin anew; and none at all."""

from carrel.adapters.limits.memory import MemoryLimiter
from carrel.domain.limits import Limit, Standing


class RenewableLimiter:
    """Counts as in one process. `renew` is as if all windows had passed."""

    def __init__(self) -> None:
        self._limiter = MemoryLimiter()

    def renew(self) -> None:
        self._limiter = MemoryLimiter()

    async def hit(self, limit: Limit, *key: str, cost: int = 1) -> Standing:
        return await self._limiter.hit(limit, *key, cost=cost)


class NoLimiter:
    """For what must hold without any limit."""

    async def hit(self, limit: Limit, *key: str, cost: int = 1) -> Standing:  # noqa: ARG002 - the port's own names
        return Standing(limit, allowed=True, remaining=limit.amount, wait=0.0)
