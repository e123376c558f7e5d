"""Group grants: operators say which group of an issuer is which role in which tenant."""

import uuid
from typing import Final

from carrel.domain.access import Principal, for_accounts, operate
from carrel.domain.audit import Act
from carrel.domain.errors import Conflict, Invalid, NotFound
from carrel.domain.ids import GroupGrantId, TenantId, new_id
from carrel.domain.rights import Role
from carrel.store import audit, groups, idempotency, members, tenants
from carrel.store.groups import GroupGrant
from carrel.store.pages import Page
from carrel.store.transaction import Database

__all__ = ["GroupGrant", "GroupGrants"]

GIVEN: Final = (Role.ADMIN, Role.EDITOR, Role.VIEWER)
"""Not owner: whoever keeps groups elsewhere could leave an organisation without an owner."""


class GroupGrants:
    """`issuer` is the one that is trusted here, None if none is."""

    def __init__(self, database: Database, *, issuer: str | None) -> None:
        self._database = database
        self._issuer = issuer

    async def create(
        self,
        principal: Principal,
        tenant: TenantId,
        *,
        group: str,
        role: Role,
        issuer: str | None = None,
        once: str | None = None,
    ) -> GroupGrant:
        """Counts from the next request on; `once` is the caller's Idempotency-Key.

        Raises Denied, NotFound for the tenant, Invalid `invalid_choice` or `issuer_required`, Conflict
        `group_grant_exists`.
        """
        asked = operate(principal)
        if role not in GIVEN:
            raise Invalid("A group gives admin, editor or viewer.", code="invalid_choice", field="role")
        wanted = issuer or self._issuer
        if wanted is None:
            raise Invalid(
                "No issuer is set here (CARREL_LOGIN__ISSUER): name one.", code="issuer_required", field="issuer"
            )
        async with self._database.transaction(asked) as tx:
            if await tenants.find(tx, str(tenant)) is None:
                raise NotFound
        identifier = _id_for(principal, once)
        said = (wanted, group, tenant, role)
        try:
            async with self._database.transaction(for_accounts(tenant=tenant)) as tx:
                made = await groups.add(tx, identifier, issuer=wanted, group=group, role=role)
                await audit.record(tx, Act.GROUP_GRANTED, made.id, facts=_facts(principal, made))
        except Conflict:
            return await self._repeated(identifier, said)
        return made

    async def _repeated(self, identifier: GroupGrantId, said: tuple[str, str, TenantId, Role]) -> GroupGrant:
        """The same request again finds what the first one made; any other conflict stays one."""
        async with self._database.transaction(for_accounts()) as tx:
            try:
                made = await groups.get(tx, identifier)
            except NotFound:
                raise Conflict("This group has a role in this tenant already.", code="group_grant_exists") from None
        if (made.issuer, made.group, made.tenant, made.role) != said:
            raise idempotency.mismatch()
        return made

    async def listed(self, principal: Principal, *, limit: int = 50, cursor: str | None = None) -> Page[GroupGrant]:
        """Newest first. Raises Denied, Invalid `invalid_cursor`."""
        operate(principal)
        async with self._database.transaction(for_accounts()) as tx:
            return await groups.listed(tx, limit=limit, cursor=cursor)

    async def revoke(self, principal: Principal, grant: GroupGrantId) -> None:
        """Whoever has this role in the tenant by groups of the issuer is no member any more from the commit on.

        Those to whom another group gives a place get it again with their next request. Raises Denied, NotFound.
        """
        operate(principal)
        async with self._database.transaction(for_accounts()) as tx:
            found = await groups.get(tx, grant)
        async with self._database.transaction(for_accounts(tenant=found.tenant)) as tx:
            if not await groups.remove(tx, grant):
                raise NotFound
            left = await members.leave_role(tx, found.role, issuer=found.issuer)
            facts = {**_facts(principal, found), "members": left}
            await audit.record(tx, Act.GROUP_REVOKED, grant, facts=facts)


def _facts(principal: Principal, grant: GroupGrant) -> dict[str, str | None]:
    operator = None if principal.credential is None else str(principal.credential)
    return {"issuer": grant.issuer, "group": grant.group, "role": grant.role.value, "operator": operator}


def _id_for(principal: Principal, once: str | None) -> GroupGrantId:
    """With an Idempotency-Key the id follows from it, so the second request finds what the first one made."""
    if once is None or principal.credential is None:
        return GroupGrantId(new_id())
    return GroupGrantId(uuid.uuid5(principal.credential, f"group grant:{once}"))
