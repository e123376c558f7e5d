"""Sign-ins as rows: what a session's person may do now, read by a definer function before any tenant is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from carrel.domain.ids import SessionId, TenantId, UserId
from carrel.domain.rights import Role
from carrel.store.transaction import Database, Statement

_FIND: Final = Statement("select * from find_session(:id)")


@dataclass(frozen=True, slots=True)
class FoundSession:
    """`live`: not ended, not expired, and its person not suspended. `roles` by tenant, active ones only."""

    user: UserId
    live: bool
    verified: bool
    roles: Mapping[TenantId, Role]


async def find(database: Database, session: SessionId) -> FoundSession | None:
    """In one message, by a definer function: nothing else is open to it."""
    row = await database.look_up(_FIND, id=session)
    if row is None:
        return None
    roles = {TenantId(tenant): Role(role) for tenant, role in zip(row["tenants"], row["roles"], strict=True)}
    return FoundSession(UserId(row["user_id"]), row["live"], row["verified"], roles)
