"""The life of a tenant: looked at, renamed, suspended, resumed, given up. What is given up is destroyed by a job."""

from typing import Final

import structlog

from carrel.domain.access import Principal, govern, operate
from carrel.domain.audit import Act
from carrel.domain.errors import NotFound
from carrel.domain.ids import TenantId
from carrel.domain.jobs import JobKind
from carrel.domain.library import Tenant, TenantStatus
from carrel.domain.rights import Permission
from carrel.store import audit, jobs, life, tenants
from carrel.store.life import TenantReceipt
from carrel.store.transaction import Database, Transaction
from carrel.tenancy import vault

__all__ = ["Life", "TenantReceipt"]

log = structlog.get_logger(__name__)

_ACTS: Final = {
    TenantStatus.ACTIVE: Act.TENANT_RESUMED,
    TenantStatus.SUSPENDED: Act.TENANT_SUSPENDED,
}


class Life:
    """Operators act on any tenant, owners on their own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, principal: Principal, tenant: TenantId) -> Tenant:
        """Raises Denied, NotFound."""
        async with self._database.transaction(govern(principal, Permission.TENANT, tenant)) as tx:
            return await _found(tx, tenant)

    async def rename(self, principal: Principal, tenant: TenantId, name: str) -> Tenant:
        """The slug stays. Raises Denied, NotFound."""
        async with self._database.transaction(govern(principal, Permission.TENANT, tenant)) as tx:
            await life.rename(tx, name)
            await audit.record(tx, Act.TENANT_RENAMED, tenant)
            return await _found(tx, tenant)

    async def suspend(self, principal: Principal, tenant: TenantId) -> Tenant:
        """Every credential is refused from the next request on; nothing is lost. Raises Denied, NotFound."""
        return await self._turn(principal, tenant, TenantStatus.SUSPENDED)

    async def resume(self, principal: Principal, tenant: TenantId) -> Tenant:
        """Raises Denied, NotFound."""
        return await self._turn(principal, tenant, TenantStatus.ACTIVE)

    async def delete(self, principal: Principal, tenant: TenantId) -> None:
        """Invisible with this transaction, its slug free again, its secrets shredded; a job destroys the rest.

        Raises Denied, NotFound.
        """
        grant = govern(principal, Permission.TENANT, tenant)
        async with self._database.transaction(grant) as tx:
            await life.turn(tx, TenantStatus.DELETING, credential=grant.credential)
            await life.note_keys(tx, await vault.shred(tx))
            await audit.record(tx, Act.TENANT_DELETED, tenant)
            await jobs.enqueue(tx, JobKind.DESTROY, tenant)
        log.info("tenant.given_up", tenant=str(tenant))

    async def receipt(self, principal: Principal, tenant: TenantId) -> TenantReceipt:
        """Of a tenant that is being destroyed, or was. Raises Denied, NotFound."""
        async with self._database.transaction(operate(principal)) as tx:
            return await life.receipt(tx, tenant)

    async def _turn(self, principal: Principal, tenant: TenantId, wanted: TenantStatus) -> Tenant:
        grant = govern(principal, Permission.PLATFORM, tenant)
        async with self._database.transaction(grant) as tx:
            if await life.turn(tx, wanted, credential=grant.credential) is not wanted:
                await audit.record(tx, _ACTS[wanted], tenant)
                if wanted is TenantStatus.ACTIVE:
                    await jobs.rejoin(tx)
            return await _found(tx, tenant)


async def _found(tx: Transaction, tenant: TenantId) -> Tenant:
    found = await tenants.find(tx, str(tenant))
    if found is None:
        raise NotFound
    return found
