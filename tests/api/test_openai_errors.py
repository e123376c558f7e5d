"""What goes wrong at OpenAI's door: its shape of errors with the right statuses, and how its client takes them."""

import uuid
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Final

import httpx2
import openai
import pytest
from fastapi import FastAPI

from api.callers import Caller, CallerMaker
from api.calls import ABSENT
from carrel.api.app import create_app
from carrel.api.openai_error import PREFIX
from support.doors import serving
from support.openai_door import Speaker, speaking
from support.stand import Stand

ABSENT_ID = ABSENT["source"]


def error_of(answer: httpx2.Response) -> dict[str, Any]:
    """The body in their shape, and in no other."""
    body = answer.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert answer.headers["Content-Type"] == "application/json"
    assert "X-Request-Id" in answer.headers
    return dict(body["error"])


async def test_every_refusal_has_their_shape_and_the_right_status(
    nobody: Caller, owner: Caller, a_caller: CallerMaker
) -> None:
    searcher = await a_caller("search", of=owner)
    cases: list[tuple[Caller, str, str, dict[str, Any], int, str, str]] = [
        (nobody, "GET", "/models", {}, 401, "authentication_error", "invalid_api_key"),
        (Caller(owner.client, "sk-nothing"), "GET", "/models", {}, 401, "authentication_error", "invalid_api_key"),
        (searcher, "GET", "/files", {}, 200, "", ""),
        (searcher, "POST", "/vector_stores", {"json": {}}, 403, "permission_error", "scope_missing"),
        (owner, "GET", "/nothing", {}, 404, "invalid_request_error", "not_found"),
        (owner, "GET", f"/files/{ABSENT_ID}", {}, 404, "invalid_request_error", "not_found"),
        (owner, "GET", "/files/file-abc", {}, 404, "invalid_request_error", "not_found"),
        (owner, "GET", "/models/nobody", {}, 404, "invalid_request_error", "model_not_found"),
        (owner, "PUT", "/files", {}, 405, "invalid_request_error", "method_not_allowed"),
        (owner, "POST", "/vector_stores", {"json": {"name": 5}}, 400, "invalid_request_error", "invalid"),
        (owner, "POST", "/vector_stores", {"content": b"{"}, 400, "invalid_request_error", "malformed_json"),
        (
            owner,
            "POST",
            "/vector_stores",
            {"content": b"x", "headers": {"Content-Type": "text/plain"}},
            415,
            "invalid_request_error",
            "unsupported_type",
        ),
        (owner, "POST", "/embeddings", {"content": b"x" * 2_000_000}, 413, "invalid_request_error", "too_large"),
    ]
    for caller, method, path, options, status, kind, code in cases:
        answer = await caller(method, f"/openai/v1{path}", **options)
        assert answer.status_code == status, (path, answer.text)
        if status >= 400:
            error = error_of(answer)
            assert (error["type"], error["code"]) == (kind, code), path
        if status == 401:
            assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_paths_beside_the_door_keep_their_own_shape(nobody: Caller) -> None:
    assert (await nobody("GET", "/openaix")).json()["code"] == "not_found"
    assert error_of(await nobody("GET", "/openai"))["code"] == "not_found"
    assert error_of(await nobody("GET", "/openai/v2/models"))["code"] == "not_found"


def test_every_operation_describes_its_refusals_in_their_shape(door: FastAPI) -> None:
    for path, methods in door.openapi()["paths"].items():
        if not path.startswith(PREFIX):
            continue
        for operation in methods.values():
            assert operation["tags"] == ["openai"]
            assert "422" not in operation["responses"]
            for status, response in operation["responses"].items():
                if status >= "400":
                    schema = response["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/OpenAIError"}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/vector_stores", {"expires_after": {"anchor": "last_active_at", "days": 1}}, "expires_after"),
        ("/vector_stores", {"anything": 1}, "anything"),
        ("/vector_stores", {"metadata": {"k": "v" * 513}}, "metadata.k"),
        ("/vector_stores", {"file_ids": ["nope"]}, "file_ids.0"),
        ("/embeddings", {"model": "carrel", "input": [1, 2]}, "input"),
        ("/embeddings", {"model": "carrel", "input": ""}, "input"),
        ("/embeddings", {"model": "carrel", "input": []}, "input"),
        ("/embeddings", {"model": "carrel", "input": "x", "dimensions": 7}, "dimensions"),
        ("/chat/completions", {"model": "carrel", "messages": []}, "messages"),
        ("/chat/completions", {"model": "carrel", "messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ("/chat/completions", {"model": "carrel", "messages": [{"role": "user", "content": " "}]}, "messages"),
        ("/chat/completions", {"messages": [{"role": "user", "content": "x"}]}, "model"),
    ],
)
async def test_what_breaks_a_rule_is_named(owner: Caller, path: str, body: dict[str, Any], param: str) -> None:
    answer = await owner("POST", f"/openai/v1{path}", json=body)
    assert answer.status_code == 400, answer.text
    assert (error_of(answer)["param"] or "").startswith(param)


IMAGE: Final = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/chat/completions", {"messages": [{"role": "user", "content": [IMAGE]}]}, "messages.0.content.0.type"),
        ("/chat/completions", {"messages": [{"role": "user", "content": 1}]}, "messages.0.content"),
        ("/embeddings", {"input": ["x", 2]}, "input.1"),
    ],
)
async def test_a_part_that_breaks_a_rule_is_named_as_it_was_sent(
    owner: Caller, path: str, body: dict[str, Any], param: str
) -> None:
    answer = await owner("POST", f"/openai/v1{path}", json={"model": "carrel", **body})
    assert (answer.status_code, error_of(answer)["param"]) == (400, param)


async def test_of_a_hundred_thousand_mistakes_not_each_is_named(owner: Caller) -> None:
    body = {f"a{number}": 1 for number in range(1_000)}
    assert len((await owner("POST", "/v1/chat", json=body)).json()["errors"]) == 100
    assert (await owner("POST", "/openai/v1/chat/completions", json=body)).status_code == 400


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("functions", [{"name": "f"}]),
        ("n", 2),
        ("stop", ["\n"]),
        ("logprobs", True),
        ("response_format", {"type": "json_object"}),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy", "format": "mp3"}),
        ("web_search_options", {"search_context_size": "low"}),
        ("nonsense", 1),
    ],
)
async def test_what_would_change_the_answer_and_is_not_done_is_refused(owner: Caller, field: str, value: Any) -> None:
    body = {"model": "carrel", "messages": [{"role": "user", "content": "x"}], field: value}
    answer = await owner("POST", "/openai/v1/chat/completions", json=body)
    assert answer.status_code == 400, answer.text
    assert error_of(answer)["param"] == field


async def test_what_the_server_decides_is_refused_from_a_client(owner: Caller) -> None:
    for field in ("id", "tenant_id", "owner_id", "created_at", "status", "tenant", "usage_bytes"):
        answer = await owner("POST", "/openai/v1/vector_stores", json={field: str(uuid.uuid4())})
        assert answer.status_code == 400
        assert error_of(answer)["param"] == field


async def until_refused(client: openai.AsyncOpenAI) -> None:
    for _ in range(20):
        await client.models.list()


async def test_the_client_waits_and_tries_again_when_there_are_too_many(
    carrel: Stand, owner: Caller, an_operator: Caller
) -> None:
    """One call in a second: the next is refused with Retry-After, and the client's own second try is taken."""
    assert owner.tenant
    rates = {"each": {"other": "1/second"}}
    assert (await an_operator("PUT", f"/v1/tenants/{owner.tenant.id}/rates", json=rates)).status_code == 200
    gate = replace(carrel.app.gate, _known={})
    app = create_app(lambda: nullcontext(replace(carrel.app, gate=gate)))
    async with serving(app) as address, speaking(address) as speak:
        client = speak(owner, max_retries=0)
        seen = await client.models.with_raw_response.list()
        assert seen.headers["RateLimit-Limit"] == "1"
        with pytest.raises(openai.RateLimitError) as refused:
            await until_refused(client)
        assert refused.value.code == "rate_limit_exceeded"
        assert int(refused.value.response.headers["Retry-After"]) >= 1
        again = await speak(owner, max_retries=5).models.with_raw_response.list()
        assert again.status_code == 200


async def test_the_client_tries_again_when_the_server_is_full(carrel: Stand, owner: Caller) -> None:
    """A proxy before the door that answers 503 once, as a server does that has all the connections it can serve."""
    inner = create_app(lambda: nullcontext(carrel.app))
    turns = {"left": 1}

    async def door(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not turns["left"]:
            await inner(scope, receive, send)
            return
        turns["left"] -= 1
        headers = [(b"content-type", b"application/json"), (b"retry-after", b"0"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    async with serving(door) as address, speaking(address) as speak:
        answer = await speak(owner, max_retries=1).models.with_raw_response.list()
    assert answer.http_request.headers["x-stainless-retry-count"] == "1"
    assert turns["left"] == 0


async def test_a_quota_that_is_used_up_is_not_tried_again(speaker: Speaker, owner: Caller, an_operator: Caller) -> None:
    assert owner.tenant
    quotas = {"questions": {"hard": 0}}
    assert (await an_operator("PUT", f"/v1/tenants/{owner.tenant.id}/quotas", json=quotas)).status_code == 200
    client = speaker(owner, max_retries=3)
    for stream in (False, True):
        with pytest.raises(openai.RateLimitError) as refused:
            await client.chat.completions.create(
                model="carrel", messages=[{"role": "user", "content": "boats?"}], stream=stream
            )
        assert (refused.value.code, refused.value.type) == ("insufficient_quota", "insufficient_quota")
        assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"
