"""Sessions as their owner's rows, and the refresh tokens by which a session goes on. Under an AccountGrant.

A refresh token is kept as its SHA-256. It is replaced once; its successor is another row of the same session.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from carrel.domain.errors import NotFound
from carrel.domain.ids import SessionId, TenantId, UserId
from carrel.store.pages import Page, Place, page, place_of
from carrel.store.transaction import Statement, Transaction

_LISTED: Final = "sessions"
_IDLE: Final = "interval '14 days'"
_LONGEST: Final = "interval '90 days'"
_GRACE: Final = "interval '10 seconds'"
_LIVE: Final = "s.ended_at is null and s.expires_at > now() and u.status = 'active' and u.epoch = s.epoch"

_BEGIN: Final = Statement(f"""
    insert into sessions (id, user_id, chosen_tenant, epoch, client, expires_at)
    select :id, u.id, :chosen, u.epoch, :client, now() + {_IDLE} from users u
    where u.id = :user and u.status = 'active' and u.epoch = :epoch
""")
_ADD_TOKEN: Final = Statement("insert into refresh_tokens (hash, session_id) values (:hash, :session)")
_BY_TOKEN: Final = Statement("""
    select s.id, s.user_id, s.chosen_tenant from refresh_tokens r join sessions s on s.id = r.session_id
    where r.hash = :hash
""")
# The lock makes those who bring the same token at the same time come one after the other.
_LOCK: Final = Statement(f"""
    select r.replaced_at is not null as replaced, {_LIVE} as live,
           coalesce(r.replaced_at > clock_timestamp() - {_GRACE}, false) as in_grace
    from refresh_tokens r join sessions s on s.id = r.session_id join users u on u.id = s.user_id
    where r.hash = :hash for update of r
""")
_REPLACE: Final = Statement("update refresh_tokens set replaced_at = clock_timestamp() where hash = :hash")
_GO_ON: Final = Statement(f"""
    update sessions set chosen_tenant = :chosen, last_used_at = now(),
                        expires_at = greatest(expires_at, least(now() + {_IDLE}, created_at + {_LONGEST}))
    where id = :session
""")
_END: Final = Statement("""
    update sessions set ended_at = now() where id = :session and user_id = :user and ended_at is null
""")
_END_OTHERS: Final = Statement("""
    update sessions set ended_at = now()
    where user_id = :user and ended_at is null and id is distinct from :but::uuid
""")
_KEEP: Final = Statement("update sessions set epoch = :epoch where id = :session and user_id = :user")
_LIST: Final = Statement(f"""
    select s.id, s.client, s.chosen_tenant, s.created_at, s.last_used_at, s.expires_at
    from sessions s join users u on u.id = s.user_id
    where s.user_id = :user and {_LIVE}
      and (:moment::timestamptz is null or (s.created_at, s.id) < (:moment, :id::uuid))
    order by s.created_at desc, s.id desc limit :most
""")
_FORGET: Final = Statement("delete from sessions where least(ended_at, expires_at) < now() - interval '30 days'")
_FORGET_TOKENS: Final = Statement(f"delete from refresh_tokens where replaced_at < now() - {_IDLE}")


@dataclass(frozen=True, slots=True)
class SignIn:
    """A session that is to begin. `epoch` is the person's from before the password was judged."""

    id: SessionId
    user: UserId
    epoch: int
    tenant: TenantId | None
    client: str


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose session a refresh token belongs to, and which tenant it named last."""

    session: SessionId
    user: UserId
    tenant: TenantId | None


@dataclass(frozen=True, slots=True)
class Held:
    """How it stands with a refresh token. `in_grace`: replaced a moment ago, as by another window of its person."""

    live: bool
    replaced: bool
    in_grace: bool


@dataclass(frozen=True, slots=True)
class SessionRow:
    id: SessionId
    client: str
    tenant: TenantId | None
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


async def begin(tx: Transaction, new: SignIn, *, token: bytes) -> bool:
    """`token` is the hash of its first refresh token. False when the person was suspended or changed meanwhile."""
    begun = await tx.run(_BEGIN, id=new.id, user=new.user, epoch=new.epoch, chosen=new.tenant, client=new.client)
    if begun:
        await tx.run(_ADD_TOKEN, hash=token, session=new.id)
    return begun == 1


async def holder(tx: Transaction, token: bytes) -> Holder | None:
    row = await tx.row(_BY_TOKEN, hash=token)
    if row is None:
        return None
    tenant = row["chosen_tenant"]
    return Holder(SessionId(row["id"]), UserId(row["user_id"]), None if tenant is None else TenantId(tenant))


async def hold(tx: Transaction, token: bytes) -> Held:
    """Until the end of the transaction nobody else judges this token."""
    row = await tx.row(_LOCK, hash=token)
    return (
        Held(live=row["live"], replaced=row["replaced"], in_grace=row["in_grace"]) if row else Held(False, True, False)
    )


async def replace(tx: Transaction, token: bytes, *, by: bytes, session: SessionId) -> None:
    await tx.run(_REPLACE, hash=token)
    await tx.run(_ADD_TOKEN, hash=by, session=session)


async def go_on(tx: Transaction, session: SessionId, tenant: TenantId | None) -> None:
    """Used again: fourteen days more, ninety in all."""
    await tx.run(_GO_ON, session=session, chosen=tenant)


async def end(tx: Transaction, user: UserId, session: SessionId) -> None:
    """Raises NotFound, also for another's and for one that has ended."""
    if not await tx.run(_END, session=session, user=user):
        raise NotFound


async def end_others(tx: Transaction, user: UserId, *, but: SessionId | None) -> None:
    await tx.run(_END_OTHERS, user=user, but=but)


async def keep(tx: Transaction, user: UserId, session: SessionId, *, epoch: int) -> None:
    """This session lives on in the new epoch."""
    await tx.run(_KEEP, session=session, user=user, epoch=epoch)


async def listed(tx: Transaction, user: UserId, *, limit: int, cursor: str | None) -> Page[SessionRow]:
    """Living ones, newest first. Raises Invalid `invalid_cursor`."""
    place = place_of(cursor, of=_LISTED)
    rows = await tx.rows(_LIST, user=user, moment=place and place.created_at, id=place and place.id, most=limit + 1)
    places = [Place(row["created_at"], row["id"]) for row in rows]
    return page([_session(row) for row in rows], places, limit, of=_LISTED)


async def forget_old(tx: Transaction) -> int:
    """What ended a month ago goes; how many these were."""
    await tx.run(_FORGET_TOKENS)
    return await tx.run(_FORGET)


def _session(row: Any) -> SessionRow:
    tenant = row["chosen_tenant"]
    return SessionRow(
        id=SessionId(row["id"]),
        client=row["client"],
        tenant=None if tenant is None else TenantId(tenant),
        created_at=row["created_at"],
        last_used_at=row["last_used_at"],
        expires_at=row["expires_at"],
    )
