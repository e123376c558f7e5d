"""`Idempotency-Key`: the same request twice gets the stored answer, other content under the same key is refused."""

import asyncio
import json
import re
import uuid
from typing import Any

import pytest
from fastapi import FastAPI

from api.callers import Caller, CallerMaker
from api.calls import CALLS, Call
from api.worlds import a_world
from carrel.domain.access import for_job
from carrel.domain.rights import Permission, Role
from carrel.store import idempotency
from support.people import a_person
from support.raw import connected
from support.stand import Stand


def once(key: str | None = None) -> dict[str, str]:
    return {"Idempotency-Key": key or uuid.uuid4().hex}


async def count(caller: Caller, path: str) -> int:
    return len((await caller("GET", path)).json()["items"])


@pytest.mark.parametrize(
    ("path", "body", "other"),
    [
        ("/v1/sources", {"name": "Docs"}, {"name": "Other"}),
        ("/v1/bots", {"name": "Bot", "source_ids": []}, {"name": "Bot", "source_ids": [], "instructions": "Hi."}),
        ("/v1/keys", {"name": "Key", "scopes": ["ask"]}, {"name": "Key", "scopes": ["search"]}),
        ("/v1/invitations", {"email": "a@b.example", "role": "viewer"}, {"email": "a@b.example", "role": "admin"}),
    ],
)
async def test_a_repetition_gets_the_stored_answer(
    owner: Caller, path: str, body: dict[str, Any], other: dict[str, Any]
) -> None:
    headers = once()
    before = await count(owner, path)
    first = await owner("POST", path, json=body, headers=headers)
    again = await owner("POST", path, json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    mismatch = await owner("POST", path, json=other, headers=headers)
    assert (mismatch.status_code, mismatch.json()["code"]) == (422, "idempotency_mismatch")
    assert await count(owner, path) == before + 1


async def test_a_tenant_is_made_once(an_operator: Caller) -> None:
    headers, body = once(), {"name": "Acme", "slug": f"acme-{uuid.uuid4().hex[:8]}"}
    first = await an_operator("POST", "/v1/tenants", json=body, headers=headers)
    again = await an_operator("POST", "/v1/tenants", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    mismatch = await an_operator("POST", "/v1/tenants", json={**body, "name": "Other"}, headers=headers)
    assert (mismatch.status_code, mismatch.json()["code"]) == (422, "idempotency_mismatch")


async def test_a_tenant_that_is_asked_for_twice_at_once_is_made_once(an_operator: Caller) -> None:
    headers, body = once(), {"name": "Acme", "slug": f"acme-{uuid.uuid4().hex[:8]}"}
    answers = await asyncio.gather(*(an_operator("POST", "/v1/tenants", json=body, headers=headers) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_a_key_whose_answer_was_swept_is_a_conflict(carrel: Stand, owner: Caller) -> None:
    headers, body = once(), {"name": "Key", "scopes": ["search"]}
    await owner("POST", "/v1/keys", json=body, headers=headers)
    assert owner.tenant is not None
    async with connected(carrel.endpoint.superuser_url) as connection:
        await connection.execute(
            "update idempotency_keys set created_at = now() - interval '25 hours' where tenant_id = $1", owner.tenant.id
        )
    async with carrel.database.transaction(for_job(owner.tenant.id, None)) as tx:
        assert await idempotency.forget_old(tx) == 1
    again = await owner("POST", "/v1/keys", json=body, headers=headers)
    assert (again.status_code, again.json()["code"]) == (409, "key_exists")


async def test_a_repeated_key_is_the_same_key_in_clear_and_works(owner: Caller) -> None:
    headers, body = once(), {"name": "Key", "scopes": ["search"]}
    first = await owner("POST", "/v1/keys", json=body, headers=headers)
    again = await owner("POST", "/v1/keys", json=body, headers=headers)
    assert again.json()["key"] == first.json()["key"]
    assert (await Caller(owner.client, again.json()["key"])("GET", "/v1/sources")).status_code == 200


async def test_the_same_key_of_a_person_in_another_tenant_makes_another_key(
    carrel: Stand, a_caller: CallerMaker, owner: Caller
) -> None:
    """A key names its tenant by its id: the same one twice would open whichever is found first."""
    stranger = await a_caller()
    assert owner.tenant
    assert stranger.tenant
    person = await a_person(carrel, owner=owner.tenant.id)
    await person.joins(stranger.tenant.id, Role.OWNER)
    headers, body = once(), {"name": "Key", "scopes": ["search"]}
    made = []
    for place in (owner, stranger):
        assert place.tenant
        caller = Caller(owner.client, person.token(place.tenant.id))
        made.append(((await caller("POST", "/v1/keys", json=body, headers=headers)).json()["key"], place.tenant.id))
    found = [(key, (await carrel.app.principals.authenticate(key)).tenant) for key, _ in made]
    assert found == made


async def test_the_same_key_of_another_caller_is_another_key(a_caller: CallerMaker, owner: Caller) -> None:
    headers, body = once(), {"name": "Docs"}
    colleague, stranger = await a_caller(of=owner), await a_caller()
    first = await owner("POST", "/v1/sources", json=body, headers=headers)
    assert (await colleague("POST", "/v1/sources", json=body, headers=headers)).status_code == 409
    other = await stranger("POST", "/v1/sources", json=body, headers=headers)
    assert other.status_code == 201
    assert other.json()["id"] != first.json()["id"]


async def test_the_same_key_on_another_path_is_a_mismatch(owner: Caller) -> None:
    headers = once()
    await owner("POST", "/v1/sources", json={"name": "Docs"}, headers=headers)
    answer = await owner("POST", "/v1/bots", json={"name": "Docs", "source_ids": []}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")


async def test_a_request_that_failed_may_be_sent_again(owner: Caller) -> None:
    headers = once()
    body = {"name": "Bot", "source_ids": [str(uuid.uuid4())]}
    assert (await owner("POST", "/v1/bots", json=body, headers=headers)).status_code == 404
    assert (await owner("POST", "/v1/bots", json={**body, "source_ids": []}, headers=headers)).status_code == 201


async def test_two_at_once_make_one(owner: Caller) -> None:
    headers = once()
    requests = [owner("POST", "/v1/sources", json={"name": "Docs"}, headers=headers) for _ in range(5)]
    answers = await asyncio.gather(*requests)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "t\tb", "é"])
async def test_a_key_that_is_none_is_422(owner: Caller, key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode()), (b"Authorization", f"Bearer {owner.key}".encode())]
    answer = await owner.client.post("/v1/sources", json={"name": "Docs"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_idempotency_key")


async def test_an_upload_is_repeated_by_names_and_bytes(owner: Caller) -> None:
    path, headers = f"/v1/sources/{await owner.source()}/documents", once()

    async def send(*files: tuple[str, bytes]) -> Any:
        return await owner("POST", path, files=[("files", file) for file in files], headers=headers)

    files = (("a.txt", b"One."), ("b.txt", b""), ("c.txt", b"Three."))
    first = await send(*files)
    again = await send(*files)  # with another boundary
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    for other in ((*files, ("d.txt", b"x")), (("a.txt", b"Two."), *files[1:]), tuple(reversed(files))):
        answer = await send(*other)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")
    document = (await owner("GET", f"/v1/documents/{first.json()['results'][0]['document_id']}")).json()
    content = await owner("GET", f"/v1/documents/{document['id']}/content")
    assert content.content == b"One."


async def test_an_answer_is_repeated_and_no_message_is_added(owner: Caller) -> None:
    await owner.put(await owner.source(), "boats.md", "# Boats\n\nBoats float on water.")
    headers, body = once(), {"message": "Do boats float?"}
    first = await owner("POST", "/v1/chat", json=body, headers=headers)
    again = await owner("POST", "/v1/chat", json=body, headers=headers)
    assert again.json() == first.json()
    other = await owner("POST", "/v1/chat", json={"message": "Do cars float?"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


async def test_a_stream_is_repeated_and_no_message_is_added(carrel: Stand, owner: Caller) -> None:
    await owner.put(await owner.source(), "boats.md", "# Boats\n\nBoats float on water.")
    headers, body = once(), {"message": "Do boats float?", "stream": True}
    first = await owner("POST", "/v1/chat", json=body, headers=headers)
    again = await owner("POST", "/v1/chat", json=body, headers=headers)
    assert first.headers["Content-Type"] == again.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert again.headers["Idempotency-Replayed"] == "true"
    assert _events(again.text) == list(dict.fromkeys(_events(first.text))) == ["evidence", "delta", "done"]
    assert json.loads(again.text.rpartition("data: ")[2]) == json.loads(first.text.rpartition("data: ")[2])
    whole = await owner("POST", "/v1/chat", json={**body, "stream": False}, headers=headers)
    assert (whole.status_code, whole.json()["code"]) == (422, "idempotency_mismatch")
    async with connected(carrel.endpoint.superuser_url) as connection:
        chat = json.loads(first.text.rpartition("data: ")[2])["chat_id"]
        assert await connection.fetchval("select count(*) from messages where chat_id = $1", chat) == 1


def _events(text: str) -> list[str]:
    return re.findall(r"^event: (\w+)$", text, re.MULTILINE)


async def test_a_stored_answer_does_not_outlive_the_text_that_it_quotes(owner: Caller) -> None:
    document = await owner.put(await owner.source(), "boats.md", "# Boats\n\nBoats float on water.")
    headers, body = once(), {"message": "Do boats float?"}
    first = await owner("POST", "/v1/chat", json=body, headers=headers)
    assert "float on water" in first.json()["answer"]
    await owner("DELETE", f"/v1/documents/{document['id']}")
    again = await owner("POST", "/v1/chat", json=body, headers=headers)
    assert again.json()["status"] == "refused"
    assert "float on water" not in again.text


TRIES = 50
TABLES = (
    "api_keys",
    "sources",
    "bots",
    "group_grants",
    "invitations",
    "provider_credentials",
    "chats",
    "messages",
    "feedback",
    "webhooks",
)
CREATING = [call for call in CALLS if call.method == "POST" and call.owner_gets == 201]


def test_every_post_that_creates_takes_a_key(door: FastAPI) -> None:
    """Who registers has no principal yet: there the address and the code are what can be used once."""
    without = [
        path
        for path, methods in door.openapi()["paths"].items()
        if "201" in methods.get("post", {}).get("responses", {})
        and "Idempotency-Key" not in {given["name"] for given in methods["post"].get("parameters", [])}
    ]
    assert without == []


@pytest.mark.parametrize("call", CREATING, ids=lambda call: call.name)
async def test_of_many_tries_at_once_one_has_an_effect_and_all_get_its_answer(
    call: Call, carrel: Stand, owner: Caller, an_operator: Caller
) -> None:
    world = await a_world(carrel, owner)
    caller, headers, sent = an_operator if call.needs is Permission.PLATFORM else owner, once(), call.sent(world)
    before = await rows(carrel)
    answers = await asyncio.gather(
        *(caller(call.method, call.to(world), headers=headers, **sent) for _ in range(TRIES))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert all(answer.json() == answers[0].json() for answer in answers)
    grown = {table: count - before[table] for table, count in (await rows(carrel)).items() if count != before[table]}
    assert list(grown.values()) == ([] if call.name == "create_tenant" else [1]), grown


async def test_of_many_questions_at_once_one_is_answered_and_all_get_its_answer(carrel: Stand, owner: Caller) -> None:
    await owner.put(await owner.source(), "boats.md", "# Boats\n\nBoats float on water.")
    headers, body = once(), {"message": "Do boats float?"}
    before = await rows(carrel)
    answers = await asyncio.gather(*(owner("POST", "/v1/chat", json=body, headers=headers) for _ in range(TRIES)))
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.json() == answers[0].json() for answer in answers)
    after = await rows(carrel)
    assert (after["chats"] - before["chats"], after["messages"] - before["messages"]) == (1, 1)


async def test_of_many_uploads_at_once_one_is_taken_and_all_get_its_answer(carrel: Stand, owner: Caller) -> None:
    path, headers = f"/v1/sources/{await owner.source()}/documents", once()
    files = [("files", (f"{n}.txt", f"File {n}.".encode())) for n in range(3)]
    answers = await asyncio.gather(*(owner("POST", path, files=files, headers=headers) for _ in range(TRIES)))
    assert {answer.status_code for answer in answers} == {202}
    assert all(answer.json() == answers[0].json() for answer in answers)
    assert {result["outcome"] for result in answers[0].json()["results"]} == {"created"}


async def test_a_question_that_failed_may_be_asked_again_at_once(owner: Caller, an_operator: Caller) -> None:
    assert owner.tenant is not None
    headers, body, quotas = once(), {"message": "Do boats float?"}, f"/v1/tenants/{owner.tenant.id}/quotas"
    await an_operator("PUT", quotas, json={"questions": {"hard": 0}})
    assert (await owner("POST", "/v1/chat", json=body, headers=headers)).status_code == 429
    await an_operator("PUT", quotas, json={})
    assert (await owner("POST", "/v1/chat", json=body, headers=headers)).status_code == 200


async def rows(carrel: Stand) -> dict[str, int]:
    """How many there are in each table that a creating call may add to, of all tenants."""
    async with connected(carrel.endpoint.superuser_url) as connection:
        return {table: await connection.fetchval(f"select count(*) from {table}") for table in TABLES}
