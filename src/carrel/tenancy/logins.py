"""People who come with a token of another issuer: known by (issuer, subject), provisioned at first sight.

What they may do follows from rows, as everybody's does. The groups in the token, through the live group grants, say
which memberships the rows should hold; where the two differ, the rows are changed before the request goes on.
"""

from collections.abc import Mapping
from datetime import timedelta

from carrel.domain.access import Principal, PrincipalKind, for_accounts
from carrel.domain.audit import Act
from carrel.domain.errors import Denied, Unauthenticated
from carrel.domain.ids import SessionId, TenantId, UserId, new_id
from carrel.domain.logins import Login
from carrel.domain.rights import Role, scopes_of
from carrel.ports.issuers import Issuer
from carrel.store import audit, logins, members
from carrel.store.logins import FoundLogin
from carrel.store.transaction import Database
from carrel.tenancy.tokens import LIFETIME, AccessTokens


class IssuerLogins:
    """Keeps `carrel.tenancy.principals.Logins` for one issuer."""

    def __init__(self, database: Database, issuer: Issuer) -> None:
        self._database = database
        self._issuer = issuer

    async def principal(self, token: str, issuer: str) -> Principal:
        """Raises Unauthenticated, Denied `no_membership` for a stranger to whom groups give nothing, Unavailable."""
        if issuer != self._issuer.name:
            raise Unauthenticated("This token is of an issuer that is not trusted here.", code="invalid_token")
        login = await self._issuer.prove(token)
        found = await self._settled(login, await logins.find(self._database, login))
        if found.user is None:
            raise Denied("You are a member of no organisation.", code="no_membership")
        if not found.active:
            raise Unauthenticated("This account is suspended.", code="account_suspended")
        return _principal(login, found.user, found.roles())

    async def _settled(self, login: Login, found: FoundLogin) -> FoundLogin:
        """With the rows as the groups say, unless a newer token has said otherwise."""
        changes = found.changes()
        if not changes or not found.active or (found.claimed_at and login.issued_at < found.claimed_at):
            return found
        async with self._database.transaction(for_accounts()) as tx:
            user = await logins.provide(tx, login, UserId(new_id()))
            newest = await logins.claim(tx, login)
        if newest:
            for tenant, role in changes.items():
                await self._follow(login, user, tenant, role)
        return await logins.find(self._database, login)

    async def _follow(self, login: Login, user: UserId, tenant: TenantId, role: Role | None) -> None:
        async with self._database.transaction(for_accounts(tenant=tenant, user=user)) as tx:
            if not await logins.is_newest(tx, login):
                return
            await members.hold(tx)
            if role is not None and not await logins.is_given(tx, login, role):
                return  # the grant was revoked meanwhile, and whoever revoked it did not see this place
            if await members.follow(tx, user, role, issuer=login.issuer):
                facts = {"role": role.value if role else None, "issuer": login.issuer}
                await audit.record(tx, Act.MEMBER_BY_GROUPS, user, facts=facts)


class Exchange:
    """From a login, or a session, to an access token of one tenant."""

    def __init__(self, database: Database, tokens: AccessTokens) -> None:
        self._database = database
        self._tokens = tokens

    async def exchange(self, principal: Principal, name: str) -> tuple[str, timedelta]:
        """The token and its lifetime. `name` is a slug or an id.

        The session behind it ends with the login's own token, or with the session it came from.
        Raises Denied `person_required`, NotFound for a tenant in which the person has no role.
        """
        if principal.user is None or not principal.is_person:
            raise Denied("Only a person who has signed in chooses an organisation.", code="person_required")
        (tenant,) = await logins.own_tenants(self._database, principal, (name,))
        session = await self._session(principal, principal.user, tenant)
        return self._tokens.mint(principal.user, session, tenant), LIFETIME

    async def _session(self, principal: Principal, user: UserId, tenant: TenantId) -> SessionId:
        if principal.kind is PrincipalKind.SESSION and principal.credential is not None:
            return SessionId(principal.credential)
        session, ends = SessionId(new_id()), principal.expires_at
        assert ends is not None
        async with self._database.transaction(for_accounts(user=user)) as tx:
            await logins.begin_session(tx, session, user, tenant=tenant, ends=ends)
        return session


def _principal(login: Login, user: UserId, roles: Mapping[TenantId, Role]) -> Principal:
    """Of one tenant, it acts there; of several, it names none until it has chosen."""
    tenant = next(iter(roles)) if len(roles) == 1 else None
    return Principal(
        kind=PrincipalKind.LOGIN,
        tenant=tenant,
        user=user,
        scopes=frozenset() if tenant is None else scopes_of(roles[tenant]),
        expires_at=login.expires_at,
        roles=roles,
        person=user,
    )
