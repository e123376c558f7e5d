"""Tenants: made, found and listed by operators."""

import re
import unicodedata
import uuid
from typing import Final

from carrel.domain.access import Principal, for_job, operate
from carrel.domain.errors import Conflict, Invalid, NotFound
from carrel.domain.ids import TenantId, new_id
from carrel.domain.layout import Isolation
from carrel.domain.library import Tenant
from carrel.store import idempotency, layouts, tenants
from carrel.store.pages import Page
from carrel.store.transaction import Database

_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # tenants are named by slug or id: never both


class Tenants:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        principal: Principal,
        name: str,
        *,
        slug: str | None = None,
        once: str | None = None,
        isolation: Isolation | None = None,
    ) -> Tenant:
        """`once` is the caller's Idempotency-Key; without `isolation` the tenant's size decides on it.

        Raises Denied, Invalid `invalid_slug`, Conflict `tenant_exists`.
        """
        identifier = _id_for(principal, once)
        wanted = slug or slug_of(name)
        if not _SLUG.fullmatch(wanted) or _ID.fullmatch(wanted):
            raise Invalid("A slug has 1 to 63 of a-z, 0-9 and '-'.", code="invalid_slug", field="slug")
        made = await self._made(principal, identifier) if once else None
        if made is None:
            try:
                async with self._database.transaction(operate(principal)) as tx:
                    added = await tenants.add(tx, identifier, slug=wanted, name=name, asked=isolation)
                return await self._settled(principal, added, isolation)
            except Conflict:
                made = await self._made(principal, identifier)  # the same request, at the same time
                if made is None:
                    raise
        if (made.slug, made.name) != (wanted, name):
            raise idempotency.mismatch()
        return made

    async def _settled(self, principal: Principal, tenant: Tenant, isolation: Isolation | None) -> Tenant:
        """Should the process die before this, the worker's hourly round does it."""
        if isolation is not Isolation.DEDICATED:
            return tenant
        async with self._database.transaction(for_job(tenant.id, None)) as tx:
            await layouts.begin_dedicated(tx)
        return await self._made(principal, tenant.id) or tenant

    async def _made(self, principal: Principal, identifier: TenantId) -> Tenant | None:
        async with self._database.transaction(operate(principal)) as tx:
            return await tenants.find(tx, str(identifier))

    async def find(self, principal: Principal, name: str) -> Tenant:
        """By slug or id. Raises Denied, NotFound."""
        async with self._database.transaction(operate(principal)) as tx:
            tenant = await tenants.find(tx, name)
        if tenant is None:
            raise NotFound
        return tenant

    async def listed(self, principal: Principal, *, limit: int = 50, cursor: str | None = None) -> Page[Tenant]:
        """Raises Denied, Invalid `invalid_cursor`."""
        async with self._database.transaction(operate(principal)) as tx:
            return await tenants.listed(tx, limit=limit, cursor=cursor)


def slug_of(name: str) -> str:
    """`Forgecraft Supply` gives `forgecraft-supply`."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:63].strip("-")


def _id_for(principal: Principal, once: str | None) -> TenantId:
    """With an Idempotency-Key the id follows from it, so the second request finds what the first one made."""
    if once is None or principal.credential is None:
        return TenantId(new_id())
    return TenantId(uuid.uuid5(principal.credential, once))
