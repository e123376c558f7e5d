"""The authorization matrix: every operation of the description × every kind of caller, judged by the one table.

An operation that is described and stands in no call fails here, so that a new route is tested the day it appears.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from unittest.mock import patch

import httpx2
import pytest
from fastapi import FastAPI

from api.callers import Caller, CallerMaker
from api.calls import ABSENT, CALLS, Call, World
from api.conftest import Admitted
from api.worlds import a_world, admitted_to
from carrel.api.app import ROUTES
from carrel.api.openai_error import PREFIX
from carrel.api.security import PUBLIC, GuardedRoute
from carrel.domain.access import console
from carrel.domain.rights import RIGHTS, Permission, Role, Scope
from carrel.store.members import MemberStatus
from carrel.tenancy import tokens
from support.people import Person, a_person
from support.stand import Stand
from support.tenants import SomeTenant, a_tenant

METHODS: Final = {"get", "put", "post", "patch", "delete"}
OPERATOR, STRANGER = "operator", "stranger"
OUTSIDE: Final = ("nobody", "suspended", "removed", "expired")
ROLES: Final = {f"the {role}": role for role in Role}
KEYS: Final = {f"key to {scope}": scope for scope in Scope}
CALLERS: Final = (*OUTSIDE, OPERATOR, *ROLES, *KEYS, STRANGER)


def named(call: Call) -> str:
    return f"{call.method} {call.path}"


EACH = pytest.mark.parametrize("call", CALLS, ids=named)


# The description


def operations(document: Mapping[str, Any]) -> dict[str, tuple[str, str, dict[str, Any]]]:
    return {
        operation["operationId"]: (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    }


def test_every_operation_stands_in_a_call_with_the_permission_that_it_declares(door: FastAPI) -> None:
    described = operations(door.openapi())
    guarded = {name for name, (_, _, operation) in described.items() if operation["security"]}
    assert {call.name for call in CALLS} == guarded
    for call in CALLS:
        method, path, operation = described[call.name]
        assert (call.method, call.needs.value) == (method, operation["x-permission"])
        assert re.fullmatch(re.sub(r"{[^}]*}", ".+", path), call.path.partition("?")[0]), call


def test_what_is_open_to_everybody_is_named(door: FastAPI) -> None:
    routes = {route.name for route in ROUTES if isinstance(route, GuardedRoute)}
    opened = {name for name, (_, _, operation) in operations(door.openapi()).items() if not operation["security"]}
    assert opened <= PUBLIC <= routes
    assert {call.name for call in CALLS} == routes - PUBLIC


# The matrix


@dataclass(frozen=True)
class Cast:
    """One of each kind before the door of one tenant, anew for each call: some calls end what they are made with."""

    carrel: Stand
    client: httpx2.AsyncClient
    place: SomeTenant
    operator: str

    async def caller(self, name: str) -> Caller:
        return Caller(self.client, await self._credential(name))

    async def _credential(self, name: str) -> str | None:
        match name:
            case "nobody":
                return None
            case "operator":
                return self.operator
            case "stranger":
                elsewhere = await a_tenant(self.carrel.app, "Elsewhere")
                return (await a_person(self.carrel, owner=elsewhere.id)).token(elsewhere.id)
            case "suspended" | "removed" | "expired":
                return await self._outside(name)
            case _ if name in KEYS:
                return await self.place.key(KEYS[name])
            case _:
                return (await self._person(ROLES[name])).token(self.place.id)

    async def _outside(self, name: str) -> str:
        person = await self._person(Role.OWNER)
        match name:
            case "suspended":
                await self.carrel.app.members.change(self.place.console, person.id, status=MemberStatus.SUSPENDED)
            case "removed":
                await self.carrel.app.members.remove(self.place.console, person.id)
            case _:
                with patch.object(tokens, "LIFETIME", -timedelta(seconds=1)):
                    return person.token(self.place.id)
        return person.token(self.place.id)

    async def _person(self, role: Role) -> Person:
        return await a_person(self.carrel, **{role.value: self.place.id})


@pytest.fixture(scope="module")
async def cast(carrel: Stand, client: httpx2.AsyncClient) -> Cast:
    place = await a_tenant(carrel.app, "Stage")
    await a_person(carrel, owner=place.id)  # so that none of the others is the last
    operator = (await carrel.app.keys.create_operator(console(None), name="matrix")).reveal()
    return Cast(carrel, client, place, operator)


def is_admitted(caller: str, needs: Permission) -> bool:
    """By the table, and by nothing else."""
    right = RIGHTS[needs]
    if caller == OPERATOR:
        return right.operator
    if caller in KEYS:
        return KEYS[caller] in right.scopes
    return ROLES.get(caller, Role.OWNER) in right.roles


def expected(caller: str, call: Call) -> int:
    """With ids of nothing: whoever is admitted learns that nothing is there, and nobody else learns even that."""
    if caller in OUTSIDE:
        return 401
    if not all(is_admitted(caller, needed) for needed in (call.needs, call.needs_too) if needed):
        return 403
    return 404 if "{" in call.path or call.names_ids else call.owner_gets


@EACH
async def test_each_caller_gets_what_the_table_says(cast: Cast, call: Call) -> None:
    got, wanted = {}, {}
    for name in CALLERS:
        answer = await (await cast.caller(name))(call.method, call.to(ABSENT), **call.sent(ABSENT))
        got[name], wanted[name] = answer.status_code, expected(name, call)
        if answer.status_code == 401:
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        if answer.status_code >= 400:
            assert told_status(answer) == answer.status_code
    assert got == wanted


def told_status(answer: httpx2.Response) -> int:
    """As the body says, each door in its own words."""
    told = answer.json()
    if "jsonrpc" in told:
        return int(told["error"]["data"]["status"])
    if answer.request.url.path.startswith(PREFIX):
        assert told["error"].keys() == {"message", "type", "param", "code"}
        return answer.status_code  # which that body does not repeat
    return int(told["status"])


@dataclass(frozen=True)
class House:
    """A world that stays as it is, and whoever may look at it."""

    cast: Cast
    owner: Caller
    world: World

    async def admitted(self, call: Call) -> Caller:
        return await admitted_to(call, self.cast.carrel, self.owner, await self.cast.caller(OPERATOR))


@pytest.fixture(scope="module")
async def house(cast: Cast) -> House:
    tenant = await a_tenant(cast.carrel.app, "House")
    owner = Caller(cast.client, await tenant.key(), tenant)
    return House(cast, owner, await a_world(cast.carrel, owner))


@pytest.mark.parametrize("call", [call for call in CALLS if call.method != "GET"], ids=named)
async def test_who_may_gets_2xx(admitted: Admitted, world: World, call: Call) -> None:
    """In a world that is there."""
    answer = await (await admitted(call))(call.method, call.to(world), **call.sent(world))
    assert answer.status_code == call.owner_gets, answer.text


@pytest.mark.parametrize("call", [call for call in CALLS if call.method == "GET"], ids=named)
async def test_who_may_looks_at_what_is_there(house: House, call: Call) -> None:
    answer = await (await house.admitted(call))(call.method, call.to(house.world), **call.sent(house.world))
    assert answer.status_code == call.owner_gets, answer.text


# Foreign and absent


LOOKED_UP = [call for call in CALLS if call.needs is not Permission.PLATFORM and ("{" in call.path or call.names_ids)]


@pytest.mark.parametrize("kind", ["a person", "a key"])
@pytest.mark.parametrize("call", LOOKED_UP, ids=named)
async def test_a_stranger_gets_the_same_404_as_for_what_is_absent(
    carrel: Stand, a_caller: CallerMaker, *, house: House, call: Call, kind: str
) -> None:
    stranger = await a_caller()
    assert stranger.tenant
    if kind == "a person":
        owner = await a_person(carrel, owner=stranger.tenant.id)
        stranger = Caller(stranger.client, owner.token(stranger.tenant.id))
    elif not RIGHTS[call.needs].scopes:
        return  # no key may; the matrix says so
    there = await stranger(call.method, call.to(house.world), **call.sent(house.world))
    absent = await stranger(call.method, call.to(ABSENT), **call.sent(ABSENT))
    assert (there.status_code, absent.status_code) == (404, 404)
    alike(there, absent)


def alike(one: httpx2.Response, other: httpx2.Response) -> None:
    assert one.content == other.content
    assert one.headers.keys() == other.headers.keys()
    for header in one.headers.keys() - {"x-request-id"}:
        assert one.headers[header] == other.headers[header]


NOTHING: Final = set(ABSENT.values())


def names_nothing(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(one, str) and one in NOTHING for one in value)


BATCHED = [
    call for call in LOOKED_UP if call.body and any(names_nothing(value) for value in call.body(ABSENT).values())
]


@pytest.mark.parametrize("call", BATCHED, ids=named)
async def test_one_foreign_id_among_ones_own_is_as_absent(
    owner: Caller, world: World, house: House, call: Call
) -> None:
    """One by one for each list of ids in the body, at its end and at its beginning."""
    mine, theirs, nothing = call.sent(world), call.sent(house.world), call.sent(ABSENT)
    lists = [name for name, value in nothing["json"].items() if names_nothing(value)]
    for name in lists:
        for turned in (1, -1):
            there, absent = [
                await owner(
                    call.method,
                    call.to(world),
                    json={**mine["json"], name: [*mine["json"][name], *other["json"][name]][::turned]},
                )
                for other in (theirs, nothing)
            ]
            assert (there.status_code, absent.status_code) == (404, 404)
            alike(there, absent)
    assert (await owner(call.method, call.to(world), **mine)).is_success


# What clients cannot decide

SERVED: Final = (
    "id", "tenant_id", "owner_id", "user_id", "made_by", "invited_by", "requested_by", "created_by", "created_at",
    "updated_at", "deleted_at", "revoked_at", "accepted_at", "verified_at", "last_used_at", "expires_at", "joined_at",
    "status", "state", "stage", "role", "roles", "scopes", "slug", "isolation", "isolation_asked", "kind", "visibility",
    "mac", "key", "hash", "epoch", "version", "live_version", "newest_version_id", "document_id", "source_id", "chunks",
    "attempts", "issuer", "email", "operator", "is_admin", "permissions", "tenant", "user", "owner",
)  # fmt: skip
# OpenAI's door names one field at a time: test_openai_errors.py
WRITTEN = [call for call in CALLS if call.body and not call.names_ids and not call.path.startswith(PREFIX)]


@pytest.mark.parametrize("call", WRITTEN, ids=named)
async def test_what_the_server_decides_is_refused_from_a_client(door: FastAPI, house: House, call: Call) -> None:
    """Every such field that the operation does not describe, each named in the answer; nothing has changed."""
    document = door.openapi()
    known = described_fields(document, operations(document)[call.name][2])
    foreign = [name for name in SERVED if name not in known]
    caller, world = await house.admitted(call), house.world
    before = await looked_at(caller, call, world)
    sent = call.sent(world)
    answer = await caller(call.method, call.to(world), **{**sent, "json": {**sent["json"], **values(foreign)}})
    assert answer.status_code == 422, answer.text
    said = {problem["field"].rpartition(".")[2]: problem["code"] for problem in answer.json()["errors"]}
    assert said == dict.fromkeys(foreign, "unknown_field")
    assert await looked_at(caller, call, world) == before


def described_fields(document: Mapping[str, Any], operation: Mapping[str, Any]) -> set[str]:
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    references = re.findall(r"'#/components/schemas/(\w+)'", str(schema))
    return {name for one in references for name in document["components"]["schemas"][one]["properties"]}


def values(names: list[str]) -> dict[str, Any]:
    return {name: ABSENT["tenant"] if name.endswith("id") else "owner" for name in names}


async def looked_at(caller: Caller, call: Call, world: World) -> Any:
    """The object, or the list that a new one would stand in, where there is such a view."""
    views = [one for one in CALLS if one.method == "GET" and one.path == call.path]
    if not views:
        return None
    answer = await caller("GET", views[0].to(world))
    return answer.json() if answer.is_success else answer.status_code
