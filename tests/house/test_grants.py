"""The first wall alone: a right is a value that one module can make, and nobody can make it in another way."""

import ast
import copy
import dataclasses
import pickle
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from carrel.domain import access
from carrel.domain.access import (
    AccountGrant,
    PlatformGrant,
    Principal,
    PrincipalKind,
    ReadScope,
    TenantGrant,
    as_member,
    both,
    can,
    console,
    enter,
    for_accounts,
    for_job,
    for_machine,
    govern,
    operate,
    read_scope,
    within,
)
from carrel.domain.errors import Denied, NotFound
from carrel.domain.ids import SourceId, TenantId, UserId
from carrel.domain.rights import RIGHTS, Permission, Role, Scope

SOURCES = Path(__file__).parents[2] / "src" / "carrel"
SEALED = ("TenantGrant", "ReadScope", "PlatformGrant", "AccountGrant")
ONLY_HERE = r"made in carrel\.domain\.access only"
TENANT, OTHER = TenantId(uuid.uuid4()), TenantId(uuid.uuid4())
HR, LEGAL = SourceId(uuid.uuid4()), SourceId(uuid.uuid4())


def a_principal(*scopes: Scope, **limits: Any) -> Principal:
    return Principal(PrincipalKind.API_KEY, TENANT, UserId(uuid.uuid4()), scopes=frozenset(scopes), **limits)


GRANT = enter(a_principal(Scope.SEARCH), Permission.SEARCH)
SCOPE = read_scope(GRANT, {HR})
REAL: tuple[Any, ...] = (GRANT, SCOPE, for_machine(), for_accounts(tenant=TENANT))


# At run time


@pytest.mark.parametrize("seal", [None, object(), True, "seal", 0])
def test_no_other_seal_makes_a_grant(seal: object) -> None:
    for make in (
        lambda: TenantGrant(OTHER, None, None, None, None, seal),
        lambda: AccountGrant(OTHER, None, seal),
        lambda: ReadScope((GRANT,), seal),
        lambda: PlatformGrant(None, seal),
    ):
        with pytest.raises(TypeError, match=ONLY_HERE):
            make()


def test_nor_does_no_seal() -> None:
    kinds: tuple[Any, ...] = (TenantGrant, ReadScope, PlatformGrant, AccountGrant)
    for kind in kinds:
        with pytest.raises(TypeError):
            kind(*[None for _ in dataclasses.fields(kind)])


@pytest.mark.parametrize("real", REAL, ids=SEALED)
def test_a_grant_does_not_hand_its_seal_on(real: Any) -> None:
    assert not hasattr(real, "__dict__")
    held = [getattr(real, slot) for kind in type(real).__mro__ for slot in getattr(kind, "__slots__", ())]
    assert access._SEAL not in held
    assert "seal" not in repr(real)


def test_a_grant_cannot_be_made_from_another() -> None:
    changed: Callable[..., Any] = dataclasses.replace
    forgeries: list[Callable[[], Any]] = [
        lambda: changed(GRANT, tenant=OTHER),
        lambda: changed(GRANT, tenant=OTHER, seal=None),
        lambda: changed(SCOPE, grants=(GRANT, GRANT)),
        lambda: changed(for_machine(), credential=None),
    ]
    for forge in forgeries:
        with pytest.raises((TypeError, ValueError)):
            forge()


@pytest.mark.parametrize("real", REAL, ids=SEALED)
def test_a_grant_is_neither_copied_nor_written_down(real: Any) -> None:
    ways: list[Callable[[Any], Any]] = [copy.copy, copy.deepcopy, pickle.dumps, *_pickles()]
    for way in ways:
        with pytest.raises(TypeError, match=ONLY_HERE):
            way(real)


def _pickles() -> Iterator[Callable[[Any], bytes]]:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield lambda real, protocol=protocol: pickle.dumps(real, protocol)  # type: ignore[misc]


@pytest.mark.parametrize("real", REAL, ids=SEALED)
def test_a_grant_cannot_be_changed(real: Any) -> None:
    for field in dataclasses.fields(real):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(real, field.name, None)


@pytest.mark.parametrize("kind", [TenantGrant, ReadScope, PlatformGrant, AccountGrant])
def test_a_grant_has_no_heirs(kind: type) -> None:
    """An heir could leave the check of the seal out."""
    with pytest.raises(TypeError, match=ONLY_HERE):
        type("Forged", (kind,), {"__post_init__": lambda *_: None})


# What the makers give


def test_each_scope_gives_what_the_table_says_only() -> None:
    for scope in Scope:
        principal = a_principal(scope)
        given = {permission for permission in Permission if can(principal, permission)}
        assert given == {permission for permission, right in RIGHTS.items() if scope in right.scopes}
        for permission in set(Permission) - given:
            with pytest.raises(Denied):
                enter(principal, permission)
        with pytest.raises(Denied):
            operate(principal)
    assert not any(can(a_principal(), permission) for permission in Permission)


def test_an_operator_enters_no_tenant() -> None:
    operator = Principal(PrincipalKind.OPERATOR_KEY, None, scopes=frozenset(Scope))
    for permission in set(Permission) - {Permission.PLATFORM}:
        with pytest.raises(Denied):
            enter(operator, permission)
    assert operate(operator).credential is None


def test_a_grant_carries_the_limits_of_its_principal() -> None:
    principal = a_principal(Scope.SEARCH, only_sources=frozenset({HR}), only_bots=frozenset())
    grant = enter(principal, Permission.SEARCH)
    assert (grant.tenant, grant.user) == (TENANT, principal.user)
    assert (grant.sources, grant.bots) == (frozenset({HR}), frozenset())


def test_a_scope_is_never_wider_than_its_grant() -> None:
    narrow = enter(a_principal(Scope.SEARCH, only_sources=frozenset({HR})), Permission.SEARCH)
    with pytest.raises(Denied):
        read_scope(narrow, {HR, LEGAL})
    scope = read_scope(narrow, {HR})
    with pytest.raises(Denied):
        read_scope(scope.grants[0], {LEGAL})
    assert scope.grants[0].sources == frozenset({HR})
    assert read_scope(GRANT, ()).grants[0].sources == frozenset()


def test_several_scopes_keep_their_own_tenants() -> None:
    together = both([SCOPE, read_scope(for_job(OTHER, None), {LEGAL})])
    assert [(grant.tenant, grant.sources) for grant in together.grants] == [
        (TENANT, frozenset({HR})),
        (OTHER, frozenset({LEGAL})),
    ]


def test_an_index_searches_nothing_outside_of_the_grant() -> None:
    assert within(SCOPE.grants[0], frozenset({HR, LEGAL})) == {HR}
    assert within(SCOPE.grants[0], frozenset({LEGAL})) == frozenset()
    assert within(GRANT, frozenset({HR, LEGAL})) == {HR, LEGAL}


def test_a_person_becomes_a_member_only_where_a_role_is_held() -> None:
    person = Principal(PrincipalKind.SESSION, None, UserId(uuid.uuid4()), roles={TENANT: Role.VIEWER})
    assert enter(as_member(person, TENANT), Permission.SEARCH).tenant == TENANT
    chosen = dataclasses.replace(person, tenant=TENANT, roles={TENANT: Role.VIEWER, OTHER: Role.OWNER})
    for who in (person, chosen, a_principal(Scope.SEARCH), console(TENANT)):
        with pytest.raises(NotFound):
            as_member(who, OTHER)


def test_only_an_operator_decides_on_another_tenant() -> None:
    owner = Principal(PrincipalKind.SESSION, TENANT, UserId(uuid.uuid4()), roles={TENANT: Role.OWNER})
    assert govern(owner, Permission.TENANT, TENANT).tenant == TENANT
    with pytest.raises(NotFound):
        govern(owner, Permission.TENANT, OTHER)


def test_the_console_has_every_right_in_its_tenant() -> None:
    assert all(can(console(TENANT), permission) for permission in set(Permission) - {Permission.ACCOUNT})
    with pytest.raises(Denied):
        enter(console(None), Permission.SEARCH)


# In the source


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCES.rglob("*.py")):
        yield path.relative_to(SOURCES).as_posix(), ast.parse(path.read_text())


def called(tree: ast.Module) -> Iterator[str]:
    """The names of everything that is called, without what stands before the last dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield _last_name(node.func)


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def callers(*names: str) -> set[str]:
    return {module for module, tree in modules() if set(called(tree)) & set(names)}


def mentions(*words: str) -> set[str]:
    """The modules in which one of these names stands, however it is used."""
    return {
        module
        for module, tree in modules()
        if any(
            (isinstance(node, ast.Name) and node.id in words)
            or (isinstance(node, ast.Attribute) and node.attr in words)
            or (isinstance(node, ast.alias) and node.name in words)
            or (isinstance(node, ast.Constant) and node.value in words)
            for node in ast.walk(tree)
        )
    }


def test_only_the_access_module_makes_grants() -> None:
    assert callers(*SEALED) == {"domain/access.py"}
    assert mentions("_SEAL") == {"domain/access.py"}


def test_nothing_goes_around_a_constructor() -> None:
    """`object.__new__` and `object.__setattr__` would make a grant without its check; no code of ours needs them."""
    assert mentions("__new__", "__setattr__", "__reduce__", "__setstate__", "__class__", "__post_init__") == set()
    assert callers("__import__", "eval", "exec", "setattr") == set()
    assert callers("import_module") == {"adapters/parsers/zygote.py"}, "the parsers' process imports parsers by name"
    assert mentions("pickle", "marshal", "shelve", "dill", "cloudpickle") == set()


def test_principals_come_from_credentials_or_from_the_console_only() -> None:
    """A principal that is made up would be as good as a grant. Of several tenants' one, it is the same person's."""
    assert callers("Principal") == {"domain/access.py", "tenancy/principals.py", "tenancy/logins.py"}
    assert callers("as_member") == {"ask/across.py"}
    assert {module for module in callers("console") if not module.startswith("cli/")} == {"operate/doctor.py"}


# What is done for every tenant in its turn: sealed, forgotten, wrapped anew, told to its webhooks, read again.
ROUNDS = {"ingest/scrub.py", "operate/seal.py", "tenancy/courier.py", "tenancy/retention.py", "tenancy/rotation.py"}


# Who may export the whole tenant, or imports one, meets the rows of each owner under a grant of that owner.
MOVES = {"tenancy/export.py", "tenancy/imports.py"}


def test_few_know_how_to_act_without_a_principal() -> None:
    """A job's grant is for the worker that claimed it; the machine's own sees tenants and no content.

    Who makes a tenant enters it once, while it is empty, to give it tables of its own.
    """
    assert callers("for_job") == {
        "worker/loop.py",
        "ingest/sweep.py",
        "ingest/listen.py",
        "ingest/schedule.py",
        "tenancy/tenants.py",
        "tenancy/refusals.py",
        *MOVES,
        *ROUNDS,
    }
    assert callers("for_machine") == {
        "operate/seal.py",
        "store/tenants.py",
        "ingest/desk.py",
        "ingest/sweep.py",
        "ingest/listen.py",
        "ingest/schedule.py",
        "operate/doctor.py",
        "operate/health.py",
        "tenancy/dispatch.py",
        "tenancy/keys.py",
    }
    assert mentions("for_job", "for_machine") == callers("for_job", "for_machine")
