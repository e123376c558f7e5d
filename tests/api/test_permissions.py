"""Beside the matrix: what a stranger sees, ids that are none, the order of the checks, limited keys."""

import uuid

import pytest
from fastapi import FastAPI

from api.callers import Caller, CallerMaker
from api.calls import ABSENT, CALLS, Call, World
from api.conftest import Admitted
from carrel.api.envelope import Envelope
from carrel.domain.rights import RIGHTS, Permission

DELETED = [call for call in CALLS if call.method == "DELETE" and "{" in call.path and call.owner_gets == 204]


@pytest.mark.parametrize("call", DELETED, ids=lambda call: call.name)
async def test_deleting_again_gets_404(admitted: Admitted, an_operator: Caller, world: World, call: Call) -> None:
    """By an operator where operators may: with a tenant its people are gone too."""
    caller = an_operator if RIGHTS[call.needs].operator else await admitted(call)
    first = await caller("DELETE", call.to(world))
    again = await caller("DELETE", call.to(world))
    assert (first.status_code, again.status_code) == (204, 404)


@pytest.mark.parametrize("call", [call for call in CALLS if call.body], ids=lambda call: f"{call.method} {call.path}")
async def test_the_credential_is_judged_before_the_body(nobody: Caller, a_caller: CallerMaker, call: Call) -> None:
    broken = {"content": b'{"name": ', "headers": {"Content-Type": "application/json"}}
    assert (await nobody(call.method, call.to(ABSENT), **broken)).status_code == 401
    wrong = await a_caller("search" if call.needs is not Permission.SEARCH else "ask")
    assert (await wrong(call.method, call.to(ABSENT), **broken)).status_code == 403


@pytest.mark.parametrize("call", [call for call in CALLS if "{" in call.path.split("?")[0]], ids=lambda call: call.name)
@pytest.mark.parametrize("bad", ["nope", "1", "%00", "{5}", "0" * 32, "1e18d3a6-0000-0000-0000-00000000000g"])
async def test_a_malformed_id_in_the_path_is_the_id_of_nothing(admitted: Admitted, call: Call, bad: str) -> None:
    caller = await admitted(call)
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
