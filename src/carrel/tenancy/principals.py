"""Who asks: every kind of credential ends here, in one `Principal` loaded from live rows."""

import uuid
from typing import Protocol

from carrel.domain.access import Principal, PrincipalKind, can, enter, operate
from carrel.domain.credentials import ApiKey, parse_api_key
from carrel.domain.errors import Unauthenticated
from carrel.domain.ids import KeyId, TenantId, UserId
from carrel.domain.rights import Permission, scopes_of
from carrel.store import credentials, sessions
from carrel.store.credentials import FoundKey
from carrel.store.sessions import FoundSession
from carrel.store.transaction import Database
from carrel.tenancy import tokens
from carrel.tenancy.refusals import Refusals, Refused
from carrel.tenancy.tokens import AccessTokens, Claims


class Logins(Protocol):
    """Whoever knows other issuers than ourselves."""

    async def principal(self, token: str, issuer: str) -> Principal:
        """Raises Unauthenticated for a token that does not prove itself, Unavailable when its issuer is down."""
        ...


class Principals:
    """`logins` is for the tokens of other issuers; None means that none is trusted.

    `refusals` is told of dead credentials of a known tenant.
    """

    def __init__(
        self,
        database: Database,
        *,
        pepper: bytes,
        tokens: AccessTokens,
        logins: Logins | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        self._database = database
        self._pepper = pepper
        self._tokens = tokens
        self._logins = logins
        self._refusals = refusals

    async def authenticate(self, token: str) -> Principal:
        """Raises Unauthenticated with a code that says why: malformed, unknown, expired, revoked, tenant_inactive."""
        issuer = tokens.issuer_of(token)
        if issuer is None:
            return await self._by_key(parse_api_key(token))
        if issuer == tokens.ISSUER:
            return await self._by_session(token)
        if self._logins is None:
            raise Unauthenticated("This token is of an issuer that is not trusted here.", code="invalid_token")
        return await self._logins.principal(token, issuer)

    async def _by_key(self, key: ApiKey) -> Principal:
        found = await credentials.find(self._database, key.id)
        try:
            principal = self._judge(key, found)
        except Unauthenticated as refusal:
            if found is not None:
                await self._tell(refusal, found.tenant, user=found.made_by or UserId(key.id), credential=key.id)
            raise
        if found and found.stale and can(principal, Permission.METADATA if principal.tenant else Permission.PLATFORM):
            await self._note_use(key.id, principal)
        return principal

    def _judge(self, key: ApiKey, found: FoundKey | None) -> Principal:
        if found is None or not key.proves(found.mac, self._pepper):
            raise Unauthenticated("This key is not known here.", code="unknown_key")
        if found.revoked:
            raise Unauthenticated("This key was revoked.", code="revoked_key")
        if found.expired:
            raise Unauthenticated("This key has expired.", code="expired_key")
        if not found.active:
            raise Unauthenticated("This organisation, or whoever made the key, is not active.", code="tenant_inactive")
        user = found.made_by or UserId(key.id)
        return Principal(
            kind=PrincipalKind(found.kind),
            tenant=found.tenant,
            user=None if found.tenant is None else user,
            credential=key.id,
            scopes=found.scopes if found.role is None else found.scopes & scopes_of(found.role),
            only_sources=found.sources,
            only_bots=found.bots,
            expires_at=found.expires_at,
            person=found.made_by,
        )

    async def _by_session(self, token: str) -> Principal:
        claims = self._tokens.read(token)
        row = await sessions.find(self._database, claims.session)
        try:
            found = _judged_session(claims, row)
        except Unauthenticated as refusal:
            await self._tell(refusal, claims.tenant, user=claims.user, credential=claims.session)
            raise
        role = None if claims.tenant is None else found.roles[claims.tenant]
        return Principal(
            kind=PrincipalKind.SESSION,
            tenant=claims.tenant,
            user=claims.user,
            credential=claims.session,
            scopes=frozenset() if role is None else scopes_of(role),
            expires_at=claims.expires_at,
            roles=found.roles,
            person=claims.user,
        )

    async def _tell(
        self, refusal: Unauthenticated, tenant: TenantId | None, *, user: UserId, credential: uuid.UUID
    ) -> None:
        if self._refusals is not None and tenant is not None:
            await self._refusals.note(Refused(tenant, user, credential, refusal.code))

    async def _note_use(self, key: KeyId, principal: Principal) -> None:
        """Written at most once a minute for each key."""
        if principal.tenant is None:
            async with self._database.transaction(operate(principal)) as tx:
                await credentials.note_operator_use(tx, key)
            return
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            await credentials.note_use(tx, key)


def _judged_session(claims: Claims, found: FoundSession | None) -> FoundSession:
    if found is None or found.user != claims.user or not found.live:
        raise Unauthenticated("This session has ended: sign in again.", code="session_ended")
    if claims.tenant is not None and claims.tenant not in found.roles:
        raise Unauthenticated("You have no way into this organisation any more.", code="tenant_inactive")
    return found
