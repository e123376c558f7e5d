"""Brakes: how often somebody may try to come in. They are always on, whatever other limits are set.

Each kind of try is counted for the account from one network, for the account, for the network and for the whole
instance, the narrowest first: who is stopped by one's own limit uses up nobody else's. Without the first, whoever knows
an address could lock its owner out with a few wrong passwords. But a network, or an instance, that has no try left
counts for no account: else one network could name addresses without end, and each would take a place in the counter.
"""

import hmac
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from carrel.domain.errors import Throttled, Unavailable
from carrel.domain.limits import Limit, Standing
from carrel.ports.limits import Limiter


class Try(StrEnum):
    """What is tried: a password, to have a mail sent, a code, a refresh token, to invite somebody."""

    PASSWORD = "password"  # noqa: S105 - a word, not a secret
    MAIL = "mail"
    CODE = "code"
    REFRESH = "refresh"
    INVITATION = "invitation"


class Of(StrEnum):
    """Whose limit."""

    ACCOUNT_HERE = "account_here"
    ACCOUNT = "account"
    ORIGIN = "origin"
    INSTANCE = "instance"


_WIDE: Final = frozenset({Of.ORIGIN, Of.INSTANCE})


@dataclass(frozen=True, slots=True)
class Brake:
    of: Of
    limit: Limit


_MINUTE: Final = 60
_HOUR: Final = 3600

BRAKES: Final = MappingProxyType(
    {
        Try.PASSWORD: (
            Brake(Of.ACCOUNT_HERE, Limit(10, 15 * _MINUTE)),
            Brake(Of.ACCOUNT, Limit(100, _HOUR)),
            Brake(Of.ORIGIN, Limit(300, 5 * _MINUTE)),
            Brake(Of.INSTANCE, Limit(3000, _MINUTE)),
        ),
        Try.MAIL: (
            Brake(Of.ACCOUNT, Limit(1, _MINUTE)),
            Brake(Of.ACCOUNT, Limit(5, _HOUR)),
            Brake(Of.ORIGIN, Limit(100, _HOUR)),
            Brake(Of.INSTANCE, Limit(1000, _MINUTE)),
        ),
        Try.CODE: (
            Brake(Of.ACCOUNT_HERE, Limit(10, 10 * _MINUTE)),
            Brake(Of.ACCOUNT, Limit(50, _HOUR)),
            Brake(Of.ORIGIN, Limit(300, _HOUR)),
            Brake(Of.INSTANCE, Limit(300, _MINUTE)),  # six digits: many networks together try few of them
        ),
        Try.REFRESH: (Brake(Of.ORIGIN, Limit(600, _MINUTE)), Brake(Of.INSTANCE, Limit(6000, _MINUTE))),
        # Here the origin is the tenant. What others sent to an address counts for nobody: it would tell of them.
        Try.INVITATION: (
            Brake(Of.ACCOUNT_HERE, Limit(10, _HOUR)),
            Brake(Of.ORIGIN, Limit(200, _HOUR)),
            Brake(Of.INSTANCE, Limit(1000, _MINUTE)),
        ),
    }
)


class Brakes:
    def __init__(self, limiter: Limiter, *, pepper: bytes) -> None:
        self._limiter = limiter
        self._pepper = pepper

    async def on(self, what: Try, *, account: str = "", origin: str) -> None:
        """`account` is an address or an id, `origin` the network that it is tried from.

        Raises Throttled, Unavailable when nobody counts: then nobody comes in.
        """
        for brake in BRAKES[what]:
            if brake.of in _WIDE:
                standing = await self._hit(what, brake, account, origin, cost=0)
                if not standing.remaining:
                    raise _throttled(standing)
        for brake in BRAKES[what]:
            standing = await self._hit(what, brake, account, origin, cost=1)
            if not standing.allowed:
                raise _throttled(standing)

    async def look(self, what: Try, *, account: str = "", origin: str) -> None:
        """For what may turn out to be a repetition: `count` it when it was none. Raises as `on`."""
        for brake in BRAKES[what]:
            standing = await self._hit(what, brake, account, origin, cost=0)
            if not standing.remaining:
                raise _throttled(standing)

    async def count(self, what: Try, *, account: str = "", origin: str) -> None:
        """It was done: nothing is refused any more, and that nobody counts is no reason to."""
        with suppress(Unavailable):
            for brake in BRAKES[what]:
                await self._hit(what, brake, account, origin, cost=1)

    async def _hit(self, what: Try, brake: Brake, account: str, origin: str, *, cost: int) -> Standing:
        whose = self._whose(brake.of, account, origin)
        return await self._limiter.hit(brake.limit, "try", what, brake.of, *whose, cost=cost)

    def _whose(self, of: Of, account: str, origin: str) -> Sequence[str]:
        match of:
            case Of.ACCOUNT_HERE:
                return self._hidden(account), origin
            case Of.ACCOUNT:
                return (self._hidden(account),)
            case Of.ORIGIN:
                return (origin,)
            case Of.INSTANCE:
                return ()

    def _hidden(self, account: str) -> str:
        """Whoever looks into the counter's storage finds no addresses."""
        return hmac.digest(self._pepper, b"brake:" + account.encode(), sha256).hex()[:32]


def _throttled(standing: Standing) -> Throttled:
    return Throttled("Too many tries: wait a while.", wait=standing.wait)
