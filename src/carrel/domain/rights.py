"""Who may do what: roles of people, scopes of keys, and the one table of permissions that both are read from.

docs/permissions.md shows the same table, and a test compares the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What a person is in one tenant, mightiest first."""

    OWNER = "owner"
    ADMIN = "admin"
    EDITOR = "editor"
    VIEWER = "viewer"


class Scope(StrEnum):
    """What a key may be used for."""

    SEARCH = "search"
    ASK = "ask"
    INGEST = "ingest"
    MANAGE = "manage"


class Permission(StrEnum):
    """What a route or a command needs."""

    METADATA = "metadata"
    SEARCH = "search"
    ASK = "ask"
    INGEST = "ingest"
    CURATE = "curate"
    MANAGE = "manage"
    MEMBERS = "members"
    AUDIT = "audit"
    TENANT = "tenant"
    EXPORT = "export"
    ACCOUNT = "account"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True)
class Right:
    """Who holds a permission: people of these roles, keys with any of these scopes, operators if `operator`."""

    meaning: str
    roles: frozenset[Role] = frozenset()
    scopes: frozenset[Scope] = frozenset()
    operator: bool = False


_EVERYBODY: Final = frozenset(Role)
_WRITERS: Final = frozenset({Role.OWNER, Role.ADMIN, Role.EDITOR})
_ADMINS: Final = frozenset({Role.OWNER, Role.ADMIN})
_OWNERS: Final = frozenset({Role.OWNER})

RIGHTS: Final[Mapping[Permission, Right]] = {
    Permission.METADATA: Right("see what sources, bots and documents there are", _EVERYBODY, frozenset(Scope)),
    Permission.SEARCH: Right("search", _EVERYBODY, frozenset({Scope.SEARCH})),
    Permission.ASK: Right("ask, and read one's own chats", _EVERYBODY, frozenset({Scope.ASK})),
    Permission.INGEST: Right("write and delete documents", _WRITERS, frozenset({Scope.INGEST})),
    Permission.CURATE: Right("make, change and delete sources and bots", _WRITERS, frozenset({Scope.MANAGE})),
    Permission.MANAGE: Right(
        "make and revoke keys, keep provider credentials and webhooks, let a source use a credential",
        _ADMINS,
        frozenset({Scope.MANAGE}),
    ),
    Permission.MEMBERS: Right("invite, change, suspend and remove members", _ADMINS, frozenset({Scope.MANAGE})),
    Permission.AUDIT: Right("read the audit log and the usage", _ADMINS, frozenset({Scope.MANAGE})),
    Permission.TENANT: Right("rename and delete the organisation", _OWNERS, operator=True),
    Permission.EXPORT: Right("export everything, hand ownership over", _OWNERS),
    Permission.ACCOUNT: Right("one's own account and sign-ins", _EVERYBODY),
    Permission.PLATFORM: Right("make, list, suspend and resume organisations", operator=True),
}


def is_above(role: Role, other: Role) -> bool:
    """Whether the first is the mightier one."""
    order = list(Role)
    return order.index(role) < order.index(other)


def scopes_of(role: Role) -> frozenset[Scope]:
    """The scopes that a person of this role can give to a key: those whose every permission the person holds."""
    return frozenset(
        scope for scope in Scope if all(role in right.roles for right in RIGHTS.values() if scope in right.scopes)
    )
