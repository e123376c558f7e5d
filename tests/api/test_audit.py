"""The audit log over HTTP: who may read it, by what it is filtered, and what refusals leave in it."""

import uuid
import zlib
from typing import Any

import pytest

from api.callers import Caller, CallerMaker
from carrel.domain.rights import Role
from carrel.operate.seal import Sealer
from support.people import a_person
from support.stand import Stand


async def events(caller: Caller, query: str = "") -> list[dict[str, Any]]:
    answer = await caller("GET", f"/v1/audit{query}")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def test_an_event_says_who_did_what_to_which(carrel: Stand, owner: Caller) -> None:
    answer = await owner("POST", "/v1/sources", json={"name": "Secret plans of Acme"})
    (event,) = await events(owner, "?action=source.created")
    (key,) = await events(owner, "?action=key.created")
    assert event == {
        "id": event["id"],
        "created_at": event["created_at"],
        "actor_id": key["object_id"],
        "credential_id": key["object_id"],
        "action": "source.created",
        "object_id": answer.json()["id"],
        "result": "done",
        "request_id": answer.headers["X-Request-Id"],
        "facts": {"kind": "upload"},
        "sealed": False,
    }
    await Sealer(carrel.database, margin=0).run()
    assert (await events(owner, f"?object={answer.json()['id']}"))[0]["sealed"] is True


async def test_filters_and_pages(owner: Caller) -> None:
    sources = [await owner.source(f"number {number}") for number in range(5)]
    every = await events(owner, "?action=source.created")
    assert [event["object_id"] for event in every] == sources[::-1]
    at = every[2]["created_at"].replace("+00:00", "Z")
    assert await events(owner, f"?action=source.created&from={at}") == every[:3]
    assert await events(owner, f"?action=source.created&to={at}") == every[3:]
    assert await events(owner, f"?actor={every[0]['actor_id']}&result=done") == every
    assert await events(owner, "?result=refused") == []
    assert await events(owner, f"?object={uuid.uuid4()}") == []
    first = (await owner("GET", "/v1/audit?action=source.created&limit=2")).json()
    rest = (await owner("GET", f"/v1/audit?action=source.created&limit=3&cursor={first['next_cursor']}")).json()
    assert first["items"] + rest["items"] == every
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("from=yesterday", "from", "invalid_time"),
        ("to=2026-01-01", "to", "invalid_time"),
        ("actor=me", "actor", "invalid_id"),
        ("object=1", "object", "invalid_id"),
        ("action=everything", "action", "invalid_choice"),
        ("result=maybe", "result", "invalid_choice"),
        ("since=2026-01-01T00:00:00Z", "since", "unknown_field"),
        ("tenant=acme", "tenant", "unknown_field"),
        ("limit=0", "limit", "out_of_range"),
        ("cursor=abc", "cursor", "invalid_cursor"),
    ],
)
async def test_bad_filters_are_refused(owner: Caller, query: str, field: str, code: str) -> None:
    answer = await owner("GET", f"/v1/audit?{query}")
    assert answer.status_code == 422
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(field, code)]


async def test_each_tenant_reads_its_own_log(owner: Caller, a_caller: CallerMaker) -> None:
    stranger = await a_caller()
    source = await owner.source()
    assert await events(stranger, f"?object={source}") == []
    assert {event["action"] for event in await events(stranger)} == {"key.created"}


async def test_a_refusal_is_told_with_its_reason_and_its_count(owner: Caller, a_caller: CallerMaker) -> None:
    weak = await a_caller("search", of=owner)
    for _ in range(20):
        assert (await weak("GET", "/v1/keys")).status_code == 403
    (event,) = await events(owner, "?action=access.refused")
    assert (event["result"], event["facts"]) == (
        "refused",
        {"code": "scope_missing", "permission": "manage", "count": 1},
    )
    assert event["credential_id"] == str(uuid.UUID(str(weak.key).split("_")[1]))


async def test_so_is_one_that_the_route_itself_finds(owner: Caller) -> None:
    source = await owner.source()
    limited = await owner.made("/v1/keys", {"name": "k", "scopes": ["manage"], "source_ids": [source]})
    answer = await Caller(owner.client, limited["key"])("GET", "/v1/keys")
    assert (answer.status_code, answer.json()["code"]) == (403, "limited_key")
    (event,) = await events(owner, "?action=access.refused")
    assert event["facts"]["code"] == "limited_key"


async def test_a_persons_refusal_names_the_person(carrel: Stand, owner: Caller) -> None:
    assert owner.tenant is not None
    viewer = await a_person(carrel, **{Role.VIEWER.value: owner.tenant.id})
    await Caller(owner.client, viewer.token(owner.tenant.id))("POST", "/v1/sources", json={"name": "x"})
    (event,) = await events(owner, "?action=access.refused")
    assert (event["actor_id"], event["credential_id"]) == (str(viewer.id), str(viewer.session))


async def test_a_404_leaves_no_trace_anywhere(owner: Caller, a_caller: CallerMaker) -> None:
    """It must cost the same whether it is foreign or absent."""
    stranger, source = await a_caller(), await owner.source()
    for identifier in (source, uuid.uuid4()):
        assert (await stranger("GET", f"/v1/sources/{identifier}")).status_code == 404
    for somebody in (owner, stranger):
        assert await events(somebody, "?result=refused") == []


async def test_a_wrong_secret_for_a_known_key_is_told_and_an_unknown_key_is_not(owner: Caller) -> None:
    _, identifier, secret, _ = str(owner.key).split("_")
    for body in (f"ck_{identifier}_{'0' * len(secret)}", f"ck_{uuid.uuid4().hex}_{secret}"):
        forged = f"{body}_{zlib.crc32(body.encode()):08x}"
        assert (await Caller(owner.client, forged)("GET", "/v1/sources")).json()["code"] == "unknown_key"
    (event,) = await events(owner, "?action=access.refused")
    assert (event["credential_id"], event["facts"]["code"]) == (str(uuid.UUID(identifier)), "unknown_key")
