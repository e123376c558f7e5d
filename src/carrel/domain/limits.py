"""How much, how fast: a limit, and where somebody stands against it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from carrel.domain.errors import Invalid
from carrel.domain.rights import Permission

_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_RATE: Final = re.compile(rf"([1-9][0-9]{{0,8}})/({'|'.join(_SECONDS)})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limit:
    """`amount` hits in any window of `seconds`."""

    amount: int
    seconds: int

    def __str__(self) -> str:
        """As `limit_of` reads it."""
        return f"{self.amount}/{next(name for name, seconds in _SECONDS.items() if seconds == self.seconds)}"


@dataclass(frozen=True, slots=True)
class Standing:
    """After a hit: whether it was within the limit, how many are left, and in how many seconds one comes back."""

    limit: Limit
    allowed: bool
    remaining: int
    wait: float


class RouteClass(StrEnum):
    """What is limited together."""

    SEARCH = "search"
    ASK = "ask"
    INGEST = "ingest"
    OTHER = "other"


_CLASSES: Final[Mapping[Permission, RouteClass]] = {
    Permission.SEARCH: RouteClass.SEARCH,
    Permission.ASK: RouteClass.ASK,
    Permission.INGEST: RouteClass.INGEST,
}


@dataclass(frozen=True, slots=True)
class Rates:
    """What each principal may do by itself, what all of a tenant may do together, and how many streams at once.

    What is not named is not limited.
    """

    each: Mapping[RouteClass, Limit] = field(default_factory=dict)
    together: Mapping[RouteClass, Limit] = field(default_factory=dict)
    streams: int | None = None

    def overridden(self, by: "Rates") -> "Rates":
        return Rates(
            {**self.each, **by.each},
            {**self.together, **by.together},
            self.streams if by.streams is None else by.streams,
        )


def class_of(permission: Permission) -> RouteClass:
    return _CLASSES.get(permission, RouteClass.OTHER)


def limit_of(rate: str) -> Limit:
    """`60/minute` as a limit. Raises Invalid `invalid_rate`."""
    if found := _RATE.fullmatch(rate):
        return Limit(int(found[1]), _SECONDS[found[2]])
    raise Invalid("A rate is a number and a time, as in 60/minute.", code="invalid_rate", field="rate")
