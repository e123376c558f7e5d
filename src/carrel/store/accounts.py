"""Accounts as rows: people, their passwords, and who has registered and is not verified yet. Under an AccountGrant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from carrel.domain.errors import NotFound
from carrel.domain.ids import TenantId, UserId
from carrel.domain.rights import Role
from carrel.store.pages import Page, Place, page, place_of
from carrel.store.transaction import Statement, Transaction

_LISTED: Final = "users"
_COLUMNS: Final = "u.id, u.email, u.name, u.status, u.verified_at, u.created_at"
_ADD: Final = Statement("""
    insert into users (id, email, name, verified_at) values (:id, :email, :name, now()) on conflict do nothing
""")
_GET: Final = Statement(f"select {_COLUMNS} from users u where u.id = :id")
_BY_EMAIL: Final = Statement(f"select {_COLUMNS} from users u where u.email = :email")
_FIND: Final = Statement(f"select {_COLUMNS} from users u where u.email = :name or u.id::text = :name")
# One row also for nobody, so that nobody takes as long as somebody.
_KNOCKING: Final = Statement("""
    select u.id, u.status = 'active' and u.verified_at is not null as welcome, u.epoch, p.hash
    from (values (1)) one left join users u on u.email = :email left join passwords p on p.user_id = u.id
""")
_HASH: Final = Statement("select hash from passwords where user_id = :user")
_SET_PASSWORD: Final = Statement("""
    insert into passwords (user_id, hash) values (:user, :hash)
    on conflict (user_id) do update set hash = excluded.hash, changed_at = now()
""")
_CHANGE_PASSWORD: Final = Statement("""
    update passwords set hash = :hash, changed_at = now() where user_id = :user and hash = :former
""")
_RENAME: Final = Statement(f"update users u set name = :name where u.id = :id returning {_COLUMNS}")
_SET_STATUS: Final = Statement(f"""
    update users u set status = :status, epoch = u.epoch + 1 where u.id = :id returning {_COLUMNS}
""")
_RAISE_EPOCH: Final = Statement("update users set epoch = epoch + 1 where id = :user returning epoch")
_LIST: Final = Statement(f"""
    select {_COLUMNS} from users u
    where (:moment::timestamptz is null or (u.created_at, u.id) < (:moment, :id::uuid))
    order by u.created_at desc, u.id desc limit :most
""")
_MEMBERSHIPS: Final = Statement("select * from memberships_of(:user) where status <> 'deleting'")
_JOIN: Final = Statement("insert into memberships (tenant_id, user_id, role) values (:tenant, :user, :role)")
_REGISTER: Final = Statement("""
    insert into registrations as r (email, user_id, name, organisation, hash, expires_at)
    values (:email, :user, :name, :organisation, :hash, now() + make_interval(secs => :lifetime))
    on conflict (email) do update
    set name = excluded.name, organisation = excluded.organisation, expires_at = excluded.expires_at,
        hash = case when r.expires_at > now() then null else excluded.hash end
    returning user_id
""")
_PENDING: Final = Statement("select user_id from registrations where email = :email and expires_at > now()")
_ADDRESSEE: Final = Statement("""
    select r.email, exists (select from users u where u.email = r.email) as known
    from registrations r where r.user_id = :user and r.expires_at > now()
""")
_RESETTABLE: Final = Statement("""
    select u.email from users u
    where u.id = :user and u.status = 'active'
      and (exists (select from passwords p where p.user_id = u.id)
           or not exists (select from identities i where i.user_id = u.id))
""")
_TAKE_UP: Final = Statement("""
    delete from registrations where user_id = :user and expires_at > now()
    returning user_id, email, name, organisation, hash
""")
_FORGET: Final = Statement("delete from registrations where expires_at < now()")


@dataclass(frozen=True, slots=True)
class User:
    id: UserId
    email: str
    name: str
    status: str
    verified_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Knocking:
    """Who stands at the door: `welcome` if verified and not suspended; without `hash` no password opens it."""

    user: UserId
    welcome: bool
    epoch: int
    hash: str | None


@dataclass(frozen=True, slots=True)
class Membership:
    """`status` is the tenant's, if that is not active."""

    tenant: TenantId
    slug: str
    name: str
    role: Role
    status: str


@dataclass(frozen=True, slots=True)
class Registration:
    """`hash` is None when two registered the same address within its lifetime: nobody knows whose password it was."""

    user: UserId
    email: str
    name: str
    organisation: str
    hash: str | None


@dataclass(frozen=True, slots=True)
class Addressee:
    """`known`: there is an account with this address already."""

    email: str
    known: bool


async def add(tx: Transaction, user: UserId, *, email: str, name: str) -> bool:
    """A verified person. False when there is one with this address, or with this id, already."""
    return await tx.run(_ADD, id=user, email=email, name=name) == 1


async def get(tx: Transaction, user: UserId) -> User:
    """Raises NotFound."""
    return _found(await tx.row(_GET, id=user))


async def by_email(tx: Transaction, email: str) -> User | None:
    row = await tx.row(_BY_EMAIL, email=email)
    return None if row is None else _user(row)


async def named(tx: Transaction, name: str) -> User:
    """By address or id. Raises NotFound."""
    return _found(await tx.row(_FIND, name=name))


async def knocking(tx: Transaction, email: str) -> Knocking | None:
    row = await tx.row(_KNOCKING, email=email)
    assert row is not None
    return None if row["id"] is None else Knocking(UserId(row["id"]), row["welcome"], row["epoch"], row["hash"])


async def password_of(tx: Transaction, user: UserId) -> str | None:
    """The hash."""
    found = await tx.value(_HASH, user=user)
    return None if found is None else str(found)


async def set_password(tx: Transaction, user: UserId, hashed: str) -> None:
    await tx.run(_SET_PASSWORD, user=user, hash=hashed)


async def change_password(tx: Transaction, user: UserId, *, former: str, hashed: str) -> bool:
    """False when the password is not the former one any more."""
    return await tx.run(_CHANGE_PASSWORD, user=user, former=former, hash=hashed) == 1


async def rename(tx: Transaction, user: UserId, name: str) -> User:
    """Raises NotFound."""
    return _found(await tx.row(_RENAME, id=user, name=name))


async def set_status(tx: Transaction, user: UserId, status: str) -> User:
    """Every session of before has ended with it. Raises NotFound."""
    return _found(await tx.row(_SET_STATUS, id=user, status=status))


async def raise_epoch(tx: Transaction, user: UserId) -> int:
    """Ends every session that is not told the new epoch."""
    return int(await tx.value(_RAISE_EPOCH, user=user))


async def listed(tx: Transaction, *, limit: int, cursor: str | None) -> Page[User]:
    """Raises Invalid `invalid_cursor`."""
    place = place_of(cursor, of=_LISTED)
    rows = await tx.rows(_LIST, moment=place and place.created_at, id=place and place.id, most=limit + 1)
    places = [Place(row["created_at"], row["id"]) for row in rows]
    return page([_user(row) for row in rows], places, limit, of=_LISTED)


async def memberships(tx: Transaction, user: UserId) -> Sequence[Membership]:
    """By slug, suspended ones too, but none that was given up."""
    return [
        Membership(TenantId(row["tenant_id"]), row["slug"], row["name"], Role(row["role"]), row["status"])
        for row in await tx.rows(_MEMBERSHIPS, user=user)
    ]


async def join(tx: Transaction, user: UserId, role: Role) -> None:
    """A member of the transaction's tenant."""
    await tx.run(_JOIN, user=user, role=role)


async def register(
    tx: Transaction, *, user: UserId, email: str, name: str, organisation: str, hashed: str, lifetime: float
) -> UserId:
    """Holds nothing that another could want: whoever registers the address next takes its place.

    The id of the person to be: `user`, or that of the registration which was there.
    """
    row = await tx.value(
        _REGISTER, user=user, email=email, name=name, organisation=organisation, hash=hashed, lifetime=lifetime
    )
    return UserId(row)


async def pending(tx: Transaction, email: str) -> UserId | None:
    """The person to be of a registration that is not over."""
    user = await tx.value(_PENDING, email=email)
    return None if user is None else UserId(user)


async def addressee(tx: Transaction, user: UserId) -> Addressee | None:
    """To whom the code of a registration is sent; None when it is over."""
    row = await tx.row(_ADDRESSEE, user=user)
    return None if row is None else Addressee(row["email"], row["known"])


async def resettable(tx: Transaction, user: UserId) -> str | None:
    """The address of somebody who may set a password; who only comes in through another issuer may not."""
    found = await tx.value(_RESETTABLE, user=user)
    return None if found is None else str(found)


async def take_up(tx: Transaction, user: UserId) -> Registration | None:
    """The registration, as it is now and no more afterwards; None when it is over."""
    row = await tx.row(_TAKE_UP, user=user)
    if row is None:
        return None
    return Registration(UserId(row["user_id"]), row["email"], row["name"], row["organisation"], row["hash"])


async def forget_old(tx: Transaction) -> int:
    """Registrations that nobody verified go; how many these were."""
    return await tx.run(_FORGET)


def _found(row: Any) -> User:
    if row is None:
        raise NotFound
    return _user(row)


def _user(row: Any) -> User:
    return User(
        id=UserId(row["id"]),
        email=row["email"],
        name=row["name"],
        status=row["status"],
        verified_at=row["verified_at"],
        created_at=row["created_at"],
    )
