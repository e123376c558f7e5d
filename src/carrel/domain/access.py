"""Authorization as a value: only this module makes a grant, and whatever shows data demands one.

A `Principal` is who asks, loaded from live rows. `enter` turns it into a `TenantGrant` (the right to a transaction in
one tenant), `read_scope` narrows that grant to named sources (the right to text).
"""

import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import InitVar, dataclass, field, replace
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any, Final, Never, SupportsIndex, TypeAlias, final

from carrel.domain.errors import Conflict, Denied, NotFound
from carrel.domain.ids import BotId, SourceId, TenantId, UserId
from carrel.domain.rights import RIGHTS, Permission, Role, Scope, scopes_of

_SEAL: Final = object()
_ONLY_HERE: Final = "Grants and scopes are made in carrel.domain.access only."
_CONSOLE_USER: Final = UserId(uuid.UUID("c0450c0e-0000-4000-8000-000000000000"))


class EndUsers(Enum):
    """All the end users of a principal: for work on its chats as a whole."""

    ALL = "all"


EndUser: TypeAlias = str | EndUsers | None
"""For whom a principal of its own asks: an opaque name, nobody in particular, or (for work on chats) all."""


class PrincipalKind(StrEnum):
    API_KEY = "api_key"
    OPERATOR_KEY = "operator_key"
    CONSOLE = "console"
    SESSION = "session"
    LOGIN = "login"


_PEOPLE: Final = frozenset({PrincipalKind.SESSION, PrincipalKind.LOGIN})
_OPERATORS: Final = frozenset({PrincipalKind.OPERATOR_KEY, PrincipalKind.CONSOLE})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a key, an operator, or a person by a session or by a login at another issuer.

    `credential` is the key's or the session's id. `only_sources` and `only_bots` are the limits of a limited key; None
    means no limit. `expires_at` is the end of the credential; None means that it has none. `roles` is what a person is
    in each tenant; `tenant` is the one that the credential names, None where it names none. `person` is who signed in,
    or who made the key; what nobody made acts as a user of its own.
    """

    kind: PrincipalKind
    tenant: TenantId | None
    user: UserId | None = None
    credential: uuid.UUID | None = None
    scopes: frozenset[Scope] = frozenset()
    only_sources: frozenset[SourceId] | None = None
    only_bots: frozenset[BotId] | None = None
    expires_at: datetime | None = None
    roles: Mapping[TenantId, Role] = field(default_factory=dict)
    person: UserId | None = None

    @property
    def is_person(self) -> bool:
        return self.kind in _PEOPLE

    @property
    def is_operator(self) -> bool:
        return self.kind in _OPERATORS

    @property
    def role(self) -> Role | None:
        """In the tenant that the credential names."""
        return None if self.tenant is None else self.roles.get(self.tenant)


class _Sealed:
    """Made with the seal or not at all. It is checked and not kept, so `dataclasses.replace` has none to give on."""

    __slots__ = ()

    def __init_subclass__(cls, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if cls.__module__ != __name__:
            raise TypeError(_ONLY_HERE)

    def __post_init__(self, seal: object) -> None:
        _demand(seal)

    def __reduce_ex__(self, protocol: SupportsIndex) -> Never:
        """No copy and no pickle: what is read back was not made here."""
        raise TypeError(_ONLY_HERE)


@final
@dataclass(frozen=True, slots=True)
class TenantGrant(_Sealed):
    """The right to one tenant's rows as one user; `sources` is what it may read, None every source of the tenant.

    Of the user's chats it sees those of one `end_user`.
    """

    tenant: TenantId
    user: UserId | None
    sources: frozenset[SourceId] | None
    bots: frozenset[BotId] | None
    credential: uuid.UUID | None
    seal: InitVar[object]
    end_user: EndUser = None


@final
@dataclass(frozen=True, slots=True)
class ReadScope(_Sealed):
    """The right to search and read text: one grant for each tenant, each with its sources named."""

    grants: tuple[TenantGrant, ...]
    seal: InitVar[object]


@final
@dataclass(frozen=True, slots=True)
class PlatformGrant(_Sealed):
    """The right to the platform's own rows (tenants, operator keys), and to no tenant's content."""

    credential: uuid.UUID | None
    seal: InitVar[object]


@final
@dataclass(frozen=True, slots=True)
class AccountGrant(_Sealed):
    """The right to the rows of accounts (users, passwords, sessions, codes), and with a tenant to its rows as `user`.

    For the journeys by which people come in: whoever signs in or accepts an invitation has no principal yet.
    """

    tenant: TenantId | None
    user: UserId | None
    seal: InitVar[object]


def can(principal: Principal, permission: Permission) -> bool:
    right = RIGHTS[permission]
    if principal.is_operator and right.operator:
        return True
    if permission is Permission.ACCOUNT:
        return principal.is_person
    if principal.tenant is None:
        return False
    if principal.is_person:
        return principal.role in right.roles
    if principal.kind is PrincipalKind.CONSOLE:
        return permission is not Permission.PLATFORM
    return not right.scopes.isdisjoint(principal.scopes)


def require(principal: Principal, permission: Permission) -> None:
    """Raises Denied with the name of what is missing, Conflict `tenant_ambiguous` for a person who must choose."""
    if can(principal, permission):
        return
    right = RIGHTS[permission]
    if right.operator and not right.roles:
        raise Denied("This needs an operator key.", code="operator_required")
    if principal.is_operator:
        raise Denied("An operator key has no right to a tenant's content.", code="operator_has_no_content")
    if principal.is_person:
        _refuse_person(principal, permission)
    if not right.scopes:
        raise Denied(f"A key cannot do this: {right.meaning}. Sign in as a person.", code="person_required")
    named = " or ".join(repr(scope.value) for scope in Scope if scope in right.scopes)
    raise Denied(f"This key lacks the scope {named}.", code="scope_missing")


def require_somewhere(principal: Principal, permission: Permission) -> None:
    """As `require`, for what names its tenants itself: a person who has not chosen one needs the right in any of them.

    It opens nothing: `enter` still asks for one tenant. Raises what `require` raises.
    """
    somewhere = any(role in RIGHTS[permission].roles for role in principal.roles.values())
    if not (principal.is_person and principal.tenant is None and somewhere):
        require(principal, permission)


def as_member(principal: Principal, tenant: TenantId) -> Principal:
    """The same person, having chosen one of the tenants in which they have a role. Raises NotFound for any other.

    Whoever has chosen already, and a key, stays where they are.
    """
    role = principal.roles.get(tenant)
    if role is None or not principal.is_person or principal.tenant not in (None, tenant):
        raise NotFound
    return replace(principal, tenant=tenant, scopes=scopes_of(role))


def _refuse_person(principal: Principal, permission: Permission) -> Never:
    if principal.tenant is None and principal.roles:
        raise Conflict("Choose one organisation: ask for a token of it.", code="tenant_ambiguous")
    if principal.role is None:
        raise Denied("You are a member of no organisation.", code="no_membership")
    raise Denied(f"As {principal.role.value} you may not {RIGHTS[permission].meaning}.", code="role_lacks_permission")


def enter(principal: Principal, permission: Permission, *, end_user: EndUser = None) -> TenantGrant:
    """The grant for one tenant, with the limits of the principal. Raises Denied, Conflict `tenant_ambiguous`."""
    require(principal, permission)
    if principal.tenant is None:
        raise Denied("Name a tenant first.", code="tenant_required")
    return TenantGrant(
        principal.tenant,
        principal.user,
        principal.only_sources,
        principal.only_bots,
        principal.credential,
        _SEAL,
        end_user,
    )


def enter_unlimited(principal: Principal, permission: Permission) -> TenantGrant:
    """As `enter`, for what concerns the whole tenant: a limited key sees a part of it and must not decide on the rest.

    Raises Denied (`limited_key`).
    """
    grant = enter(principal, permission)
    if grant.sources is not None or grant.bots is not None:
        raise Denied("A limited key manages no keys, sources or bots.", code="limited_key")
    return grant


def operate(principal: Principal) -> PlatformGrant:
    """The grant for the platform's own rows. Raises Denied."""
    require(principal, Permission.PLATFORM)
    return PlatformGrant(principal.credential, _SEAL)


def govern(principal: Principal, permission: Permission, tenant: TenantId) -> TenantGrant:
    """The grant for the fate of one tenant as a whole, for operators too; it reads no source of it.

    Raises Denied; NotFound when a person names another tenant than the one that the credential names.
    """
    require(principal, permission)
    if not principal.is_operator and principal.tenant != tenant:
        raise NotFound
    return TenantGrant(tenant, principal.user, frozenset(), None, principal.credential, _SEAL)


def read_scope(grant: TenantGrant, sources: Collection[SourceId]) -> ReadScope:
    """Narrow a grant to sources that were found under it. Raises Denied if one lies outside: a mistake of ours."""
    wanted = frozenset(sources)
    if grant.sources is not None and not wanted <= grant.sources:
        raise Denied("A source lies outside the grant.", code="scope_exceeded")
    narrowed = TenantGrant(
        grant.tenant, grant.user, wanted, grant.bots, grant.credential, _SEAL, end_user=grant.end_user
    )
    return ReadScope((narrowed,), _SEAL)


def within(grant: TenantGrant, sources: frozenset[SourceId]) -> frozenset[SourceId]:
    """Those of the sources that the grant may read: an index searches no other, whatever it is asked for."""
    return sources if grant.sources is None else sources & grant.sources


def both(scopes: Iterable[ReadScope]) -> ReadScope:
    """Several tenants' scopes as one; each keeps its own grant."""
    return ReadScope(tuple(grant for scope in scopes for grant in scope.grants), _SEAL)


def for_job(tenant: TenantId, owner: UserId | None) -> TenantGrant:
    """The grant of a claimed job: its own tenant, as the owner of the row that it works on."""
    return TenantGrant(tenant, owner, None, None, None, _SEAL, end_user=EndUsers.ALL)


def for_machine() -> PlatformGrant:
    """The grant of the machine itself: counting what waits, reading which tenants exist."""
    return PlatformGrant(None, _SEAL)


def for_accounts(*, tenant: TenantId | None = None, user: UserId | None = None) -> AccountGrant:
    """The grant of the journeys by which people come in. With a tenant: one that the journey itself has found."""
    return AccountGrant(tenant, user, _SEAL)


def console(tenant: TenantId | None) -> Principal:
    """Whoever sits at the machine's own terminal: it holds the database's password, so it has every right."""
    return Principal(PrincipalKind.CONSOLE, tenant, _CONSOLE_USER, scopes=frozenset(Scope))


def _demand(seal: object) -> None:
    if seal is not _SEAL:
        raise TypeError(_ONLY_HERE)
