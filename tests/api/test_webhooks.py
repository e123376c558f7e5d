"""Webhooks over HTTP: their secret is shown once, and what is wrong is refused by name."""

import uuid
from typing import Any

import pytest

from api.callers import Caller
from support.raw import connected
from support.receiver import a_receiver
from support.stand import Stand

WISH = {"url": "https://hooks.example/", "events": ["document.ready"]}
SHOWN = {
    "id", "url", "events", "source_ids", "description", "enabled", "disabled_reason", "failing_since", "created_at",
    "updated_at",
}  # fmt: skip


async def test_the_secret_is_in_the_first_answer_only(owner: Caller) -> None:
    made = await owner.made("/v1/webhooks", {**WISH, "description": "Ours."})
    assert made.keys() == SHOWN | {"secret"}
    shown = {name: made[name] for name in SHOWN}
    assert (await owner("GET", f"/v1/webhooks/{made['id']}")).json() == shown
    assert (await owner("GET", "/v1/webhooks")).json() == {"items": [shown], "next_cursor": None}
    changed = await owner("PATCH", f"/v1/webhooks/{made['id']}", json={"events": ["document.failed"]})
    assert changed.json() == {**shown, "events": ["document.failed"], "updated_at": changed.json()["updated_at"]}
    rotated = (await owner("POST", f"/v1/webhooks/{made['id']}/rotate")).json()
    assert rotated["secret"] not in {made["secret"], ""}


async def test_a_repeated_request_gets_the_same_secret_which_no_stored_answer_holds(
    carrel: Stand, owner: Caller
) -> None:
    headers = {"Idempotency-Key": f"key-{uuid.uuid4()}"}
    first = await owner("POST", "/v1/webhooks", json=WISH, headers=headers)
    again = await owner("POST", "/v1/webhooks", json=WISH, headers=headers)
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert len((await owner("GET", "/v1/webhooks")).json()["items"]) == 1
    other = await owner("POST", "/v1/webhooks", json={**WISH, "description": "Other."}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    async with connected(carrel.endpoint.superuser_url) as superuser:
        held = await superuser.fetchval("select string_agg(body::text, '') from idempotency_keys")
    assert first.json()["id"] in held
    assert first.json()["secret"] not in held


async def test_nothing_of_the_answer_is_shown(owner: Caller) -> None:
    async with a_receiver(status=500, headers={"X-Inside": "hush"}) as receiver:
        made = await owner.made("/v1/webhooks", {**WISH, "url": receiver.url})
        tested = await owner("POST", f"/v1/webhooks/{made['id']}/test")
        log = await owner("GET", f"/v1/webhooks/{made['id']}/deliveries")
    said = tested.json()
    assert (said["status"], said["response_code"], said["problem"], said["attempts"]) == (
        "failed", 500, "answer_refused", 1,
    )  # fmt: skip
    assert log.json() == {"items": [said], "next_cursor": None}
    assert "hush" not in tested.text + log.text
    assert said.keys() == {
        "id", "webhook_id", "event", "status", "attempts", "response_code", "problem", "duration_ms",
        "next_attempt_at", "created_at", "finished_at",
    }  # fmt: skip


async def test_a_limited_key_manages_no_webhooks(owner: Caller) -> None:
    source = await owner.source()
    key = await owner.made("/v1/keys", {"name": "k", "scopes": ["manage"], "source_ids": [source]})
    limited = Caller(owner.client, key["key"])
    for method, path in (("POST", "/v1/webhooks"), ("GET", "/v1/webhooks"), ("GET", f"/v1/webhooks/{uuid.uuid4()}")):
        answer = await limited(method, path, **({"json": WISH} if method == "POST" else {}))
        assert (answer.status_code, answer.json()["code"]) == (403, "limited_key")


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "no address": ({"url": None}, "url", "invalid_type"),
    "an empty address": ({"url": ""}, "url", "too_short"),
    "a long address": ({"url": "https://hooks.example/" + "a" * 2000}, "url", "too_long"),
    "an address that is none": ({"url": "hooks.example"}, "url", "invalid_url"),
    "another scheme": ({"url": "gopher://hooks.example/"}, "url", "invalid_url"),
    "an address with a password": ({"url": "https://me:word@hooks.example"}, "url", "invalid_url"),
    "no events": ({"events": []}, "events", "no_events"),
    "an event that is none": ({"events": ["document.read"]}, "events.0", "invalid_choice"),
    "a test as an event": ({"events": ["webhook.test"]}, "events", "invalid_event"),
    "events as a word": ({"events": "document.ready"}, "events", "invalid_type"),
    "a source that is no id": ({"source_ids": ["one"]}, "source_ids.0", "invalid_id"),
    "a long description": ({"description": "a" * 501}, "description", "too_long"),
    "a secret of one's own": ({"secret": "whsec_AAAA"}, "secret", "unknown_field"),
    "an unknown field": ({"headers": {}}, "headers", "unknown_field"),
}


@pytest.mark.parametrize(("change", "field", "code"), BAD.values(), ids=BAD)
async def test_bad_input_is_refused_by_name(owner: Caller, change: dict[str, Any], field: str, code: str) -> None:
    answer = await owner("POST", "/v1/webhooks", json={**WISH, **change})
    assert answer.status_code == 422
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(field, code)]


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"url": "hooks.example"}, "url", "invalid_url"),
        ({"events": []}, "events", "no_events"),
        ({"enabled": "yes"}, "enabled", "invalid_type"),
        ({"source_ids": []}, "source_ids", "unknown_field"),
    ],
)
async def test_a_bad_change_is_refused_by_name(owner: Caller, change: dict[str, Any], field: str, code: str) -> None:
    made = await owner.made("/v1/webhooks", WISH)
    answer = await owner("PATCH", f"/v1/webhooks/{made['id']}", json=change)
    assert answer.status_code == 422
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(field, code)]


async def test_a_list_of_deliveries_takes_no_unknown_state(owner: Caller) -> None:
    made = await owner.made("/v1/webhooks", WISH)
    answer = await owner("GET", f"/v1/webhooks/{made['id']}/deliveries?status=lost")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "invalid_choice")
