"""Every endpoint: nobody 401, wrong scope 403, stranger 404 (the same bytes as absent), owner 2xx."""

import uuid

import pytest
from fastapi import FastAPI

from api.callers import Caller, CallerMaker
from api.calls import CALLS, Call, World
from carrel.api.app import ROUTES
from carrel.api.envelope import Envelope
from carrel.api.security import PUBLIC, GuardedRoute
from carrel.domain.rights import RIGHTS, Permission, Scope

ABSENT = {name: str(uuid.uuid4()) for name in ("tenant", "source", "bot", "document", "failed", "key", "chat")}
NO_PDF = b"%PDF-1.7\nThis is no PDF after all."
EACH = pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method} {call.path}")
LOOKED_UP = pytest.mark.parametrize(
    "call",
    [call for call in CALLS if call.needs is not Permission.PLATFORM and ("{" in call.path or call.names_ids)],
    ids=lambda call: f"{call.method} {call.path}",
)


@pytest.fixture
async def world(owner: Caller) -> World:
    """Something of everything, in the owner's tenant."""
    assert owner.tenant is not None
    source = await owner.source()
    bot = await owner.made("/v1/bots", {"name": "Helper", "source_ids": [source]})
    document = await owner.put(source, "boats.md", "# Boats\n\nBoats float on water.")
    failed = await owner.put(source, "bad.pdf", NO_PDF)
    assert failed["status"] == "failed"
    key = await owner.made("/v1/keys", {"name": "k", "scopes": ["search"]})
    chat = await owner("POST", "/v1/chat", json={"message": "Do boats float?"})
    return {
        "tenant": str(owner.tenant.id),
        "source": source,
        "bot": bot["id"],
        "document": document["id"],
        "failed": failed["id"],
        "key": key["id"],
        "chat": chat.json()["chat_id"],
    }


def test_every_guarded_route_stands_in_the_table() -> None:
    routes = {route.name for route in ROUTES if isinstance(route, GuardedRoute)}
    assert {call.name for call in CALLS} == routes - PUBLIC


@EACH
async def test_nobody_gets_401(nobody: Caller, call: Call) -> None:
    answer = await nobody(call.method, call.to(ABSENT), **call.sent(ABSENT))
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["code"] == "unauthenticated"


@EACH
async def test_a_key_without_the_scope_gets_403(
    an_operator: Caller, a_caller: CallerMaker, call: Call, owner: Caller
) -> None:
    others = {scope.value for scope in set(Scope) - RIGHTS[call.needs].scopes}
    wrong = an_operator if call.needs is Permission.METADATA else await a_caller(*others, of=owner)
    answer = await wrong(call.method, call.to(ABSENT), **call.sent(ABSENT))
    assert answer.status_code == 403
    assert answer.json()["code"] in {"scope_missing", "operator_required", "operator_has_no_content"}


@EACH
async def test_an_operator_has_no_right_to_a_tenants_things(an_operator: Caller, call: Call) -> None:
    answer = await an_operator(call.method, call.to(ABSENT), **call.sent(ABSENT))
    if call.needs is Permission.PLATFORM:
        assert answer.status_code in {200, 201, 404}
    else:
        assert (answer.status_code, answer.json()["code"]) == (403, "operator_has_no_content")


@LOOKED_UP
async def test_a_stranger_gets_the_same_404_as_for_what_is_absent(
    a_caller: CallerMaker, world: World, call: Call
) -> None:
    stranger = await a_caller()
    foreign = await stranger(call.method, call.to(world), **call.sent(world))
    absent = await stranger(call.method, call.to(ABSENT), **call.sent(ABSENT))
    assert (foreign.status_code, absent.status_code) == (404, 404)
    assert foreign.content == absent.content
    for header in foreign.headers.keys() - {"x-request-id"}:
        assert foreign.headers[header] == absent.headers[header]


@EACH
async def test_the_owner_gets_2xx(an_operator: Caller, owner: Caller, world: World, call: Call) -> None:
    caller = an_operator if call.needs is Permission.PLATFORM else owner
    answer = await caller(call.method, call.to(world), **call.sent(world))
    assert answer.status_code == call.owner_gets, answer.text


@pytest.mark.parametrize("call", [call for call in CALLS if call.method == "DELETE"], ids=lambda call: call.name)
async def test_deleting_again_gets_404(owner: Caller, world: World, call: Call) -> None:
    first = await owner("DELETE", call.to(world))
    again = await owner("DELETE", call.to(world))
    assert (first.status_code, again.status_code) == (204, 404)


@pytest.mark.parametrize("call", [call for call in CALLS if call.body], ids=lambda call: f"{call.method} {call.path}")
async def test_the_credential_is_judged_before_the_body(nobody: Caller, a_caller: CallerMaker, call: Call) -> None:
    broken = {"content": b'{"name": ', "headers": {"Content-Type": "application/json"}}
    assert (await nobody(call.method, call.to(ABSENT), **broken)).status_code == 401
    wrong = await a_caller("search" if call.needs is not Permission.SEARCH else "ask")
    assert (await wrong(call.method, call.to(ABSENT), **broken)).status_code == 403


@pytest.mark.parametrize("call", [call for call in CALLS if "{" in call.path.split("?")[0]], ids=lambda call: call.name)
@pytest.mark.parametrize("bad", ["nope", "1", "%00", "{5}", "0" * 32, "1e18d3a6-0000-0000-0000-00000000000g"])
async def test_a_malformed_id_in_the_path_is_the_id_of_nothing(
    an_operator: Caller, owner: Caller, call: Call, bad: str
) -> None:
    caller = an_operator if call.needs is Permission.PLATFORM else owner
    answer = await caller(call.method, call.to(dict.fromkeys(ABSENT, bad)), **call.sent(ABSENT))
    absent = await caller(call.method, call.to(ABSENT), **call.sent(ABSENT))
    assert answer.status_code == absent.status_code == 404
    assert answer.content == absent.content


async def test_an_unknown_path_gets_the_same_404(nobody: Caller, owner: Caller) -> None:
    unknown = await nobody("GET", "/v1/unknown")
    absent = await owner("GET", f"/v1/bots/{uuid.uuid4()}")
    assert unknown.status_code == 404
    assert unknown.content == absent.content


async def test_a_limited_key_sees_its_sources_only(owner: Caller, client: object) -> None:
    one, other = await owner.source("one"), await owner.source("other")
    document = await owner.put(other, "hidden.txt", "Hidden boats.")
    made = await owner.made("/v1/keys", {"name": "k", "scopes": ["search", "ingest"], "source_ids": [one]})
    limited = Caller(owner.client, made["key"])
    assert [item["id"] for item in (await limited("GET", "/v1/sources")).json()["items"]] == [one]
    assert (await limited("GET", f"/v1/documents/{document['id']}")).status_code == 404
    assert (await limited("POST", "/v1/search", json={"query": "boats", "source_ids": [other]})).status_code == 404
    assert (await limited("POST", "/v1/search", json={"query": "hidden boats"})).json()["hits"] == []
    assert (await limited("PUT", f"/v1/sources/{other}/documents/x.txt", content=b"x")).status_code == 404


def test_the_door_has_no_cross_origin_access(door: FastAPI) -> None:
    assert [str(middleware.cls) for middleware in door.user_middleware] == [str(Envelope)]
