"""Another master key: every tenant's data key is wrapped anew, beside whoever uses it."""

from dataclasses import dataclass

import structlog

from carrel.domain.access import for_job
from carrel.domain.errors import Refusal
from carrel.domain.ids import TenantId
from carrel.store import tenants
from carrel.store.transaction import Database
from carrel.tenancy.vault import Vault

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """How many data keys are under the current master key now that were not, and which tenants' could not be read."""

    keys: int
    unreadable: tuple[TenantId, ...]


async def rewrap_all(database: Database, vault: Vault) -> Rewrapped:
    """Each tenant in a transaction of its own, so an interruption costs nothing and it can be run again.

    A tenant whose key cannot be read is passed over and named. Raises Unavailable when the database does not answer.
    """
    keys, unreadable = 0, []
    async for tenant in tenants.each(database):
        async with database.transaction(for_job(tenant, None)) as tx:
            try:
                keys += await vault.rewrap(tx)
            except Refusal as refusal:
                if refusal.code not in {"master_key_unknown", "secret_unreadable"}:
                    raise
                log.warning("secrets.unreadable", tenant=str(tenant), code=refusal.code)
                unreadable.append(tenant)
    return Rewrapped(keys, tuple(unreadable))
