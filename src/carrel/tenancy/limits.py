"""Rate limits at the door: who may call how often, and what happens when nobody can count."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog

from carrel.domain.access import Principal, enter
from carrel.domain.errors import Throttled, Unavailable
from carrel.domain.ids import TenantId
from carrel.domain.limits import Limit, Rates, RouteClass, Standing, class_of
from carrel.domain.rights import Permission
from carrel.ports.limits import Limiter
from carrel.store import rates
from carrel.store.transaction import Database
from carrel.tenancy.pace import Pace

log = structlog.get_logger(__name__)

_FRESH: Final = 5.0  # seconds for which a tenant's own rates are believed
_MOST_KEPT: Final = 10_000
_STREAM_WAIT: Final = 5.0
_NONE: Final = Rates()


@dataclass(slots=True)
class _Known:
    until: float
    rates: Rates = _NONE


@dataclass(slots=True)
class Gate:
    """Counts each call once, against its principal and its tenant; a tenant's own rates come before the settings'.

    When the limiter does not answer, calls are let through: an outage of what counts must not be one of search. It is
    logged when it begins and when it ends, with how many calls went uncounted. (Signing in is the exception, and does
    not come by here.)
    """

    database: Database
    limiter: Limiter
    rates: Rates
    uncounted: int = 0
    _known: dict[TenantId, _Known] = field(default_factory=dict)
    _streams: dict[TenantId, int] = field(default_factory=dict)
    _pace: Pace = field(default_factory=Pace)
    _blind: bool = False

    async def admit(self, principal: Principal, permission: Permission) -> Standing | None:
        """The tightest standing after this call, of which `allowed` is False for a call too many; None: no limit."""
        in_force = self.rates.overridden(await self._own(principal, permission))
        kind = class_of(permission)
        try:
            standing = await self._count(principal, kind, in_force)
        except Unavailable:
            self._let_through()
            return None
        if standing is not None and self._blind:
            log.warning("limits.counting_again", uncounted=self.uncounted)
            self._blind = False
        return standing

    @contextmanager
    def streaming(self, tenant: TenantId) -> Iterator[None]:
        """As long as an answer is streamed. Raises Throttled when so many are, in this process."""
        known = self._known.get(tenant)
        most = self.rates.overridden(known.rates if known else _NONE).streams
        running = self._streams.get(tenant, 0)
        if most is not None and running >= most:
            raise Throttled("Too many answers of this organisation are streamed now.", wait=_STREAM_WAIT)
        self._streams[tenant] = running + 1
        try:
            yield
        finally:
            self._streams[tenant] -= 1
            if not self._streams[tenant]:
                del self._streams[tenant]

    async def _count(self, principal: Principal, kind: RouteClass, in_force: Rates) -> Standing | None:
        """The principal's own limit first: what it refuses does not use up the tenant's."""
        tenant, who = str(principal.tenant or ""), str(principal.user or principal.credential or "")
        wanted = (
            (in_force.each.get(kind), ("each", kind, tenant, who)),
            (in_force.together.get(kind) if principal.tenant else None, ("together", kind, tenant)),
        )
        tightest: Standing | None = None
        for limit, key in wanted:
            if limit is not None:
                standing = self._pace.refusal(limit, key) or await self._hit(limit, key)
                if not standing.allowed:
                    return standing
                if tightest is None or standing.remaining < tightest.remaining:
                    tightest = standing
        return tightest

    async def _hit(self, limit: Limit, key: tuple[str, ...]) -> Standing:
        standing = await self.limiter.hit(limit, *key)
        self._pace.note(standing, key)
        return standing

    async def _own(self, principal: Principal, permission: Permission) -> Rates:
        """Read once in five seconds: whoever comes while it is read takes what was known before."""
        if principal.tenant is None:
            return _NONE
        now = asyncio.get_running_loop().time()
        known = self._known.get(principal.tenant)
        if known is None or known.until <= now:
            known = self._remembered(principal.tenant, known, now)
            async with self.database.transaction(enter(principal, permission)) as tx:
                known.rates = await rates.own(tx)
        return known.rates

    def _remembered(self, tenant: TenantId, known: _Known | None, now: float) -> _Known:
        if len(self._known) >= _MOST_KEPT:
            self._known = {key: one for key, one in self._known.items() if one.until > now}
        fresh = _Known(now + _FRESH, known.rates if known else _NONE)
        self._known[tenant] = fresh
        return fresh

    def _let_through(self) -> None:
        self._pace.clear()
        self.uncounted += 1
        if not self._blind:
            self._blind = True
            log.error("limits.uncounted", problem="the limiter does not answer; calls are let through")
