"""Logins at other issuers as rows: who came with which subject, and what the groups of the token give by now."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from carrel.domain.access import Principal
from carrel.domain.errors import NotFound
from carrel.domain.ids import SessionId, TenantId, UserId
from carrel.domain.logins import Login
from carrel.domain.rights import Role
from carrel.store.transaction import Database, Statement, Transaction

_FIND: Final = Statement("select * from find_login(:issuer, :subject, :groups)")
_HOLD: Final = Statement("select pg_advisory_xact_lock(hashtextextended('login ' || :subject::text, 0))")
_KNOWN: Final = Statement("select user_id from identities where issuer = :issuer and subject = :subject")
_ADD_USER: Final = Statement("insert into users (id, email, name) values (:id, :email, :name)")
_ADD: Final = Statement("""
    insert into identities (issuer, subject, user_id, email) values (:issuer, :subject, :user, :email)
""")
_CLAIM: Final = Statement("""
    update identities set claimed_at = :at, email = coalesce(:email::text, email)
    where issuer = :issuer and subject = :subject and claimed_at <= :at
""")
_NEWEST: Final = Statement("""
    select claimed_at <= :at from identities where issuer = :issuer and subject = :subject for share
""")
_GIVEN: Final = Statement("""
    select exists (select from group_grants where issuer = :issuer and for_tenant = :tenant and role = :role
                   and group_name = any (:groups::text[]))
""")
_BEGIN: Final = Statement("""
    insert into sessions (id, user_id, chosen_tenant, epoch, client, expires_at)
    select :id, u.id, :chosen::uuid, u.epoch, :client, :ends::timestamptz from users u where u.id = :user
""")
_PLACES: Final = Statement("""
    select coalesce(array_agg(m.tenant_id), '{}') as tenants, coalesce(array_agg(m.slug), '{}') as slugs
    from memberships_of(:user) m
""")


@dataclass(frozen=True, slots=True)
class Place:
    """What the person is in one active tenant. Groups may change or take away what came `by_groups`."""

    role: Role
    present: bool
    by_groups: bool


@dataclass(frozen=True, slots=True)
class FoundLogin:
    """`user` is None at first sight; `granted` is what the groups give now, and `claimed_at` the newest claim seen."""

    user: UserId | None
    active: bool
    claimed_at: datetime | None
    places: Mapping[TenantId, Place]
    granted: Mapping[TenantId, Role]

    def changes(self) -> Mapping[TenantId, Role | None]:
        """What the groups say and the rows do not yet; None is a place that is lost."""
        places = self.places
        come = {
            tenant: role
            for tenant, role in self.granted.items()
            if tenant not in places or (places[tenant].by_groups and places[tenant].role is not role)
        }
        gone = [tenant for tenant, place in places.items() if place.by_groups and tenant not in self.granted]
        return {**come, **dict.fromkeys(gone)}

    def roles(self) -> Mapping[TenantId, Role]:
        """By the rows alone."""
        return {tenant: place.role for tenant, place in self.places.items() if place.present}


async def find(database: Database, login: Login) -> FoundLogin:
    """In one message, by a definer function."""
    row = await database.look_up(_FIND, issuer=login.issuer, subject=login.subject, groups=sorted(login.groups))
    assert row is not None
    columns = (row["tenants"], row["roles"], row["present"], row["by_groups"])
    return FoundLogin(
        user=UserId(row["user_id"]) if row["user_id"] else None,
        active=row["active"],
        claimed_at=row["claimed_at"],
        places={
            TenantId(tenant): Place(Role(role), present, by_groups)
            for tenant, role, present, by_groups in zip(*columns, strict=True)
        },
        granted={
            TenantId(tenant): Role(role)
            for tenant, role in zip(row["granted_tenants"], row["granted_roles"], strict=True)
        },
    )


async def provide(tx: Transaction, login: Login, user: UserId) -> UserId:
    """The person of this login; `user` is who it will be at first sight. Two first sights at once are one.

    The account has no address at which mail or a local sign-in could reach it: the issuer alone vouches for it.
    """
    await tx.run(_HOLD, subject=f"{login.issuer} {login.subject}")
    known = await tx.value(_KNOWN, issuer=login.issuer, subject=login.subject)
    if known is not None:
        return UserId(known)
    await tx.run(_ADD_USER, id=user, email=f"{user}@login.invalid", name=login.name)
    await tx.run(_ADD, issuer=login.issuer, subject=login.subject, user=user, email=login.email)
    return user


async def claim(tx: Transaction, login: Login) -> bool:
    """False when a newer token of this login has been seen: what an older one says of groups is over."""
    said = {"issuer": login.issuer, "subject": login.subject, "at": login.issued_at, "email": login.email}
    return bool(await tx.run(_CLAIM, **said))


async def is_newest(tx: Transaction, login: Login) -> bool:
    """As `claim` left it, and until the commit."""
    return bool(await tx.value(_NEWEST, issuer=login.issuer, subject=login.subject, at=login.issued_at))


async def is_given(tx: Transaction, login: Login, role: Role) -> bool:
    """Whether a group of the login still gives the role in the transaction's tenant, whose members are held."""
    return bool(await tx.value(_GIVEN, issuer=login.issuer, role=role, groups=sorted(login.groups)))


async def begin_session(tx: Transaction, session: SessionId, user: UserId, *, tenant: TenantId, ends: datetime) -> None:
    """A session without a refresh token: it ends with what it was exchanged for."""
    await tx.run(_BEGIN, id=session, user=user, chosen=tenant, client="exchanged login", ends=ends)


async def own_tenants(database: Database, principal: Principal, names: Iterable[str]) -> tuple[TenantId, ...]:
    """The tenants of these slugs or ids, none twice. Raises NotFound when the person has no role in one of them."""
    row = await database.look_up(_PLACES, user=principal.user)
    assert row is not None
    known = {slug: TenantId(tenant) for slug, tenant in zip(row["slugs"], row["tenants"], strict=True)}
    known |= {str(tenant): tenant for tenant in principal.roles}
    found = {name: known.get(name.lower()) for name in names}
    if not all(tenant in principal.roles for tenant in found.values()):
        raise NotFound
    return tuple(dict.fromkeys(tenant for tenant in found.values() if tenant is not None))
