"""How much, how fast: a limit, and where somebody stands against it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """`amount` hits in any window of `seconds`."""

    amount: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Standing:
    """After a hit: whether it was within the limit, how many are left, and in how many seconds one comes back."""

    limit: Limit
    allowed: bool
    remaining: int
    wait: float
