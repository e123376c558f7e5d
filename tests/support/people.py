"""People: made as rows, signed in as the product signs them in, so that a test of rights need not register anybody."""

import uuid
from dataclasses import dataclass

from carrel.domain.access import Principal, for_accounts
from carrel.domain.ids import SessionId, TenantId, UserId
from carrel.domain.rights import Role
from carrel.store.transaction import Statement
from carrel.tenancy.tokens import AccessTokens
from support.stand import SECRETS, Stand

_USER = Statement("insert into users (id, email, name, verified_at) values (:id, :email, :name, now())")
_SESSION = Statement("""
    insert into sessions (id, user_id, epoch, expires_at) values (:id, :user, 0, now() + interval '1 day')
""")
_MEMBER = Statement("insert into memberships (tenant_id, user_id, role) values (:tenant, :user, :role)")


@dataclass(frozen=True)
class Person:
    """Somebody with a session. `token(tenant)` is an access token in clear, for the HTTP door."""

    stand: Stand
    id: UserId
    email: str
    session: SessionId

    def token(self, tenant: TenantId | None = None) -> str:
        return AccessTokens(SECRETS.master_key).mint(self.id, self.session, tenant)

    async def principal(self, tenant: TenantId | None = None) -> Principal:
        return await self.stand.app.principals.authenticate(self.token(tenant))

    async def joins(self, tenant: TenantId, role: Role) -> None:
        async with self.stand.database.transaction(for_accounts(tenant=tenant)) as tx:
            await tx.run(_MEMBER, user=self.id, role=role)


async def a_person(stand: Stand, **roles: TenantId) -> Person:
    """`await a_person(stand, editor=tenant.id)`: a verified person of these roles, with a live session."""
    user, session = UserId(uuid.uuid4()), SessionId(uuid.uuid4())
    email = f"person-{user.hex[:12]}@people.example"
    async with stand.database.transaction(for_accounts()) as tx:
        await tx.run(_USER, id=user, email=email, name="Somebody")
        await tx.run(_SESSION, id=session, user=user)
    person = Person(stand, user, email, session)
    for role, tenant in roles.items():
        await person.joins(tenant, Role(role))
    return person
