"""The counts that streams show: made once a round for all who would see the same, however many watch."""

import asyncio
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final

from carrel.domain.access import TenantGrant
from carrel.domain.ids import SourceId, TenantId
from carrel.domain.library import DocumentStatus
from carrel.store import progress
from carrel.store.transaction import Database

__all__ = ["Counts", "Tally"]

_ROUND: Final = 2.0  # seconds between two counts of the same, which look at every document
_MOST_SCOPES: Final = 100  # of one tenant


@dataclass(frozen=True, slots=True)
class Counts:
    """How many documents there are in each state."""

    amounts: Mapping[DocumentStatus, int]

    @property
    def is_settled(self) -> bool:
        return not self.amounts[DocumentStatus.PENDING] and not self.amounts[DocumentStatus.PROCESSING]


@dataclass(slots=True)
class _Scope:
    """What one reader may see of one source, or of all, as it was counted last."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    begun: float = float("-inf")
    counts: Counts | None = None


@dataclass(slots=True)
class _Tenant:
    changed: float = float("-inf")
    scopes: dict[Hashable, _Scope] = field(default_factory=dict)


class Tally:
    """`change` says that a tenant's documents changed, `forget` that nobody watches them any more."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tenants: dict[TenantId, _Tenant] = {}

    def change(self, tenant: TenantId) -> None:
        self._of(tenant).changed = _now()

    def forget(self, tenant: TenantId) -> None:
        self._tenants.pop(tenant, None)

    async def of(self, grant: TenantGrant, source: SourceId | None) -> Counts | None:
        """As the grant sees it, no older than the last change; None when that has to wait for the next round."""
        tenant = self._of(grant.tenant)
        scope = tenant.scopes.setdefault((grant.user, grant.sources, source), _Scope())
        if len(tenant.scopes) > _MOST_SCOPES:
            del tenant.scopes[next(iter(tenant.scopes))]
        async with scope.turn:
            if _now() - scope.begun < _ROUND:
                return scope.counts if scope.begun > tenant.changed else None
            begun = _now()
            async with self._database.transaction(grant) as tx:
                scope.counts = Counts(await progress.counts(tx, source))
            scope.begun = begun
            return scope.counts

    def _of(self, tenant: TenantId) -> _Tenant:
        return self._tenants.setdefault(tenant, _Tenant())


def _now() -> float:
    return asyncio.get_running_loop().time()
