"""Counting hits against limits, in one process or for many."""

from typing import Protocol

from carrel.domain.limits import Limit, Standing


class Limiter(Protocol):
    """A hit within the limit counts, one beyond it does not. Hits of one key never use up another's limit.

    All that share a limiter's storage share its counts: with a limit of N, N hits are allowed and no more, however many
    come at the same time from however many processes.
    """

    async def hit(self, limit: Limit, *key: str, cost: int = 1) -> Standing:
        """`key` says whose limit it is, for example `("search", tenant, principal)`. A cost of 0 only looks.

        Raises Unavailable.
        """
        ...
