"""Authorization as a value: only this module makes a grant, and whatever shows data demands one.

A `Principal` is who asks, loaded from live rows. `enter` turns it into a `TenantGrant` (the right to a transaction in
one tenant), `read_scope` narrows that grant to named sources (the right to text).
"""

import uuid
from collections.abc import Collection, Iterable
from dataclasses import InitVar, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Never, SupportsIndex, final

from carrel.domain.errors import Denied
from carrel.domain.ids import BotId, KeyId, SourceId, TenantId, UserId

_SEAL: Final = object()
_ONLY_HERE: Final = "Grants and scopes are made in carrel.domain.access only."
_CONSOLE_USER: Final = UserId(uuid.UUID("c0450c0e-0000-4000-8000-000000000000"))


class Scope(StrEnum):
    """What a key may be used for."""

    SEARCH = "search"
    ASK = "ask"
    INGEST = "ingest"
    MANAGE = "manage"


class Permission(StrEnum):
    """What a route or a command needs. Each names the one scope that gives it; METADATA comes with any scope."""

    METADATA = "metadata"
    SEARCH = "search"
    ASK = "ask"
    INGEST = "ingest"
    MANAGE = "manage"
    PLATFORM = "platform"


class PrincipalKind(StrEnum):
    API_KEY = "api_key"
    OPERATOR_KEY = "operator_key"
    CONSOLE = "console"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `only_sources` and `only_bots` are the limits of a limited key; None means no limit.

    `expires_at` is the end of the credential; None means that it has none.
    """

    kind: PrincipalKind
    tenant: TenantId | None
    user: UserId | None = None
    credential: KeyId | None = None
    scopes: frozenset[Scope] = frozenset()
    only_sources: frozenset[SourceId] | None = None
    only_bots: frozenset[BotId] | None = None
    expires_at: datetime | None = None


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
    """The right to one tenant's rows as one user; `sources` is what it may read, None every source of the tenant."""

    tenant: TenantId
    user: UserId | None
    sources: frozenset[SourceId] | None
    bots: frozenset[BotId] | None
    seal: InitVar[object]


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

    credential: KeyId | None
    seal: InitVar[object]


def can(principal: Principal, permission: Permission) -> bool:
    if permission is Permission.PLATFORM:
        return principal.kind in {PrincipalKind.OPERATOR_KEY, PrincipalKind.CONSOLE}
    if principal.tenant is None:
        return False
    if permission is Permission.METADATA:
        return bool(principal.scopes)
    return Scope(permission.value) in principal.scopes


def require(principal: Principal, permission: Permission) -> None:
    """Raises Denied with the name of what is missing."""
    if can(principal, permission):
        return
    if permission is Permission.PLATFORM:
        raise Denied("This needs an operator key.", code="operator_required")
    if principal.tenant is None:
        raise Denied("An operator key has no right to a tenant's content.", code="operator_has_no_content")
    raise Denied(f"This key lacks the scope {permission.value!r}.", code="scope_missing")


def enter(principal: Principal, permission: Permission) -> TenantGrant:
    """The grant for one tenant, with the limits of the principal. Raises Denied."""
    require(principal, permission)
    if principal.tenant is None:
        raise Denied("Name a tenant first.", code="tenant_required")
    return TenantGrant(principal.tenant, principal.user, principal.only_sources, principal.only_bots, _SEAL)


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


def read_scope(grant: TenantGrant, sources: Collection[SourceId]) -> ReadScope:
    """Narrow a grant to sources that were found under it. Raises Denied if one lies outside: a mistake of ours."""
    wanted = frozenset(sources)
    if grant.sources is not None and not wanted <= grant.sources:
        raise Denied("A source lies outside the grant.", code="scope_exceeded")
    return ReadScope((TenantGrant(grant.tenant, grant.user, wanted, grant.bots, _SEAL),), _SEAL)


def within(grant: TenantGrant, sources: frozenset[SourceId]) -> frozenset[SourceId]:
    """Those of the sources that the grant may read: an index searches no other, whatever it is asked for."""
    return sources if grant.sources is None else sources & grant.sources


def both(scopes: Iterable[ReadScope]) -> ReadScope:
    """Several tenants' scopes as one; each keeps its own grant."""
    return ReadScope(tuple(grant for scope in scopes for grant in scope.grants), _SEAL)


def for_job(tenant: TenantId, owner: UserId | None) -> TenantGrant:
    """The grant of a claimed job: its own tenant, as the owner of the row that it works on."""
    return TenantGrant(tenant, owner, None, None, _SEAL)


def for_machine() -> PlatformGrant:
    """The grant of the machine itself: counting what waits, reading which tenants exist."""
    return PlatformGrant(None, _SEAL)


def console(tenant: TenantId | None) -> Principal:
    """Whoever sits at the machine's own terminal: it holds the database's password, so it has every right."""
    return Principal(PrincipalKind.CONSOLE, tenant, _CONSOLE_USER, scopes=frozenset(Scope))


def _demand(seal: object) -> None:
    if seal is not _SEAL:
        raise TypeError(_ONLY_HERE)
