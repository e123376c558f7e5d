"""Retention: how long chats are kept after their last question, and the round that forgets them then."""

from dataclasses import dataclass
from typing import Final

import structlog

from carrel.domain.access import Principal, for_job, govern
from carrel.domain.audit import Act
from carrel.domain.errors import Invalid, NotFound
from carrel.domain.ids import TenantId
from carrel.domain.rights import Permission
from carrel.store import audit, chats, retention, tenants
from carrel.store.transaction import Database, Transaction

log = structlog.get_logger(__name__)

MOST_DAYS: Final = 36_500
_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Kept:
    """In days; None is for ever. `own` is what the tenant says, `deployment` what nobody's chats outlive."""

    own: int | None
    deployment: int | None

    @property
    def effective(self) -> int | None:
        said = [days for days in (self.own, self.deployment) if days is not None]
        return min(said, default=None)


class Retention:
    """`days` is the deployment's own: a tenant keeps its chats as long or shorter, never longer."""

    def __init__(self, database: Database, *, days: int | None, batch: int = _BATCH) -> None:
        self._database = database
        self._days = days
        self._batch = batch

    async def of(self, principal: Principal, tenant: TenantId) -> Kept:
        """Raises Denied, NotFound."""
        async with self._database.transaction(govern(principal, Permission.TENANT, tenant)) as tx:
            await _demand(tx, tenant)
            return Kept(await retention.own(tx), self._days)

    async def set(self, principal: Principal, tenant: TenantId, days: int | None) -> Kept:
        """None is as the deployment says. Raises Denied, NotFound, Invalid `out_of_range`."""
        longest = self._days or MOST_DAYS
        if days is not None and not 1 <= days <= longest:
            raise Invalid(f"Chats are kept for 1 to {longest} days here.", code="out_of_range", field="chat_days")
        async with self._database.transaction(govern(principal, Permission.TENANT, tenant)) as tx:
            await _demand(tx, tenant)
            await retention.put(tx, days)
            await audit.record(tx, Act.RETENTION_SET, tenant, facts={"chat_days": days})
            return Kept(days, self._days)

    async def sweep(self) -> None:
        """Every tenant's old chats, in batches, each a transaction of its own. Raises Unavailable."""
        async for tenant in tenants.each(self._database):
            forgotten = await self._forget(tenant)
            if forgotten:
                log.info("chats.forgotten", tenant=str(tenant), count=forgotten)

    async def _forget(self, tenant: TenantId) -> int:
        total = 0
        while True:
            async with self._database.transaction(for_job(tenant, None)) as tx:
                days = Kept(await retention.own(tx), self._days).effective
                gone = 0 if days is None else await chats.forget_old(tx, days=days, most=self._batch)
            total += gone
            if gone < self._batch:
                return total


async def _demand(tx: Transaction, tenant: TenantId) -> None:
    if await tenants.find(tx, str(tenant)) is None:
        raise NotFound
