"""Who asks: every kind of credential ends here, in one `Principal` loaded from live rows."""

from carrel.domain.access import Permission, Principal, PrincipalKind, enter, for_machine, operate
from carrel.domain.credentials import ApiKey, parse_api_key
from carrel.domain.errors import Unauthenticated
from carrel.domain.ids import UserId
from carrel.store import credentials
from carrel.store.credentials import FoundKey
from carrel.store.transaction import Database


class Principals:
    def __init__(self, database: Database, *, pepper: bytes) -> None:
        self._database = database
        self._pepper = pepper

    async def authenticate(self, token: str) -> Principal:
        """Raises Unauthenticated with a code that says why: malformed, unknown, expired, revoked, tenant_inactive."""
        key = parse_api_key(token)
        async with self._database.transaction(for_machine()) as tx:
            found = await credentials.find(tx, key.id)
        principal = self._judge(key, found)
        if found and found.stale:
            await self._note_use(key, principal)
        return principal

    def _judge(self, key: ApiKey, found: FoundKey | None) -> Principal:
        if found is None or not key.proves(found.mac, self._pepper):
            raise Unauthenticated("This key is not known here.", code="unknown_key")
        if found.revoked:
            raise Unauthenticated("This key was revoked.", code="revoked_key")
        if found.expired:
            raise Unauthenticated("This key has expired.", code="expired_key")
        if not found.active:
            raise Unauthenticated("This organisation is not active.", code="tenant_inactive")
        return Principal(
            kind=PrincipalKind(found.kind),
            tenant=found.tenant,
            user=None if found.tenant is None else UserId(key.id),
            credential=key.id,
            scopes=found.scopes,
            only_sources=found.sources,
            only_bots=found.bots,
            expires_at=found.expires_at,
        )

    async def _note_use(self, key: ApiKey, principal: Principal) -> None:
        """Written at most once a minute for each key."""
        if principal.tenant is None:
            async with self._database.transaction(operate(principal)) as tx:
                await credentials.note_operator_use(tx, key.id)
            return
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            await credentials.note_use(tx, key.id)
