"""Search and chat over HTTP, as JSON and as events."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from api.callers import Caller
from carrel.adapters.models.single import OnlyModel
from carrel.api.app import create_app
from carrel.api.streaming import EventStream
from carrel.ask.pipeline import Event, Evidence
from carrel.domain.errors import Throttled, Unavailable
from carrel.ports.model import Draft, Prompt
from carrel.wiring import assemble
from support.stand import Stand

QUESTION = "On which port does the payment service listen?"
HIT = {
    "chunk_id", "document_id", "source_id", "tenant_id", "title", "key", "heading_path", "page", "line", "text",
    "score", "confidence",
}  # fmt: skip


@pytest.fixture
async def reader(owner: Caller) -> Caller:
    text = "# Payments\n\n## Ports\n\nThe payment service listens on port 7443."
    await owner.put(await owner.source(), "payments.md", text)
    return owner


def events_of(text: str) -> list[tuple[str, Any]]:
    frames = [frame.split("\n") for frame in text.strip().split("\n\n")]
    assert all(len(frame) == 2 for frame in frames)
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in frames]


async def test_a_hit_says_where_it_is_from(reader: Caller) -> None:
    answer = await reader("POST", "/v1/search", json={"query": QUESTION})
    assert answer.json().keys() == {"hits", "took_ms", "partial"}
    hits = answer.json()["hits"]
    assert hits[0].keys() >= HIT
    assert "7443" in hits[0]["text"]
    assert (hits[0]["key"], hits[0]["title"], hits[0]["page"]) == ("payments.md", "Payments", None)
    assert hits[0]["heading_path"][0] == "Payments"
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    assert all(0 <= hit["confidence"] <= 1 for hit in hits)
    for hit in hits:
        assert (round(hit["score"], 6), round(hit["confidence"], 3)) == (hit["score"], hit["confidence"])


async def test_search_gives_as_many_as_asked_and_explains_on_demand(reader: Caller) -> None:
    answer = await reader("POST", "/v1/search", json={"query": QUESTION, "limit": 1.0, "explain": True})
    (hit,) = answer.json()["hits"]
    assert hit["explain"].keys() == {"dense", "lexical"}


async def test_search_in_no_source_finds_nothing(reader: Caller) -> None:
    assert (await reader("POST", "/v1/search", json={"query": QUESTION, "source_ids": []})).json()["hits"] == []


async def test_a_tenant_may_be_named_by_slug_or_id(reader: Caller) -> None:
    assert reader.tenant is not None
    for name in (reader.tenant.slug, str(reader.tenant.id)):
        answer = await reader("POST", "/v1/search", json={"query": QUESTION, "tenants": [name]})
        assert answer.status_code == 200
    assert (await reader("POST", "/v1/search", json={"query": "x", "tenants": ["nobody"]})).status_code == 404


async def test_a_list_that_names_nothing_reads_nothing(reader: Caller) -> None:
    nothing: list[dict[str, Any]] = [{"tenants": []}, {"source_ids": []}]
    for scope in nothing:
        answer = await reader("POST", "/v1/search", json={"query": QUESTION, **scope})
        assert (answer.status_code, answer.json()["hits"]) == (200, [])
    unsaid: list[dict[str, Any]] = [{"tenants": None}, {"source_ids": None}, {}]
    for scope in unsaid:
        assert (await reader("POST", "/v1/search", json={"query": QUESTION, **scope})).json()["hits"]


async def test_an_answer_cites_its_evidence(reader: Caller) -> None:
    answer = (await reader("POST", "/v1/chat", json={"message": QUESTION})).json()
    assert answer.keys() == {
        "chat_id", "message_id", "status", "answer", "citations", "evidence", "guidance", "usage", "problem", "asked",
        "grounding", "unsupported",
    }  # fmt: skip
    assert answer["status"] == "answered"
    assert "7443" in answer["answer"]
    (citation, *_) = answer["citations"]
    assert citation.keys() == {
        "n", "chunk_id", "document_id", "version_id", "source_id", "title", "key", "heading_path", "page", "line",
        "excerpt",
    }  # fmt: skip
    assert f"[{citation['n']}]" in answer["answer"]
    assert citation["chunk_id"] in {hit["chunk_id"] for hit in answer["evidence"]}
    assert answer["usage"].keys() == {"input_tokens", "output_tokens", "model"}


async def test_a_refusal_is_200_with_guidance(reader: Caller) -> None:
    answer = await reader("POST", "/v1/chat", json={"message": "Who won the chess world cup of 1886?"})
    assert (answer.status_code, answer.json()["status"]) == (200, "refused")
    assert answer.json()["guidance"]
    assert answer.json()["citations"] == []


async def test_a_chat_goes_on_under_its_id(reader: Caller) -> None:
    first = (await reader("POST", "/v1/chat", json={"message": QUESTION, "end_user": "Ann"})).json()
    again = {"message": QUESTION, "chat_id": first["chat_id"], "end_user": "Ann"}
    second = (await reader("POST", "/v1/chat", json=again)).json()
    assert second["chat_id"] == first["chat_id"]
    assert second["message_id"] != first["message_id"]


async def test_a_chat_of_a_colleague_is_not_there(reader: Caller, a_caller: Any) -> None:
    first = (await reader("POST", "/v1/chat", json={"message": QUESTION})).json()
    colleague = await a_caller(of=reader)
    answer = await colleague("POST", "/v1/chat", json={"message": QUESTION, "chat_id": first["chat_id"]})
    assert answer.status_code == 404


async def test_events_are_evidence_deltas_and_the_whole(reader: Caller) -> None:
    answer = await reader("POST", "/v1/chat", json={"message": QUESTION, "stream": True})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Accel-Buffering"] == "no"
    (first, evidence), *deltas, (last, done) = events_of(answer.text)
    assert (first, evidence.keys()) == ("evidence", {"evidence"})
    assert evidence["evidence"][0].keys() >= HIT
    assert deltas
    assert all((name, data.keys()) == ("delta", {"text"}) for name, data in deltas)
    assert last == "done"
    assert done["answer"] == "".join(data["text"] for _, data in deltas)
    plain = (await reader("POST", "/v1/chat", json={"message": QUESTION})).json()
    assert done.keys() == plain.keys()


async def test_what_refuses_before_the_first_event_has_its_own_status(reader: Caller) -> None:
    for body, status in (
        ({"message": " "}, 422),
        ({"message": "x", "bot_id": "00000000-0000-4000-8000-000000000000"}, 404),
    ):
        answer = await reader("POST", "/v1/chat", json={**body, "stream": True})
        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "application/problem+json"


class _Silent:
    """An embedder that does not answer."""

    def __init__(self, real: Any) -> None:
        self.profile = real.profile
        self.tokenize = real.tokenize

    async def embed(self, batch: Any, *, flow: Any = None) -> Any:  # noqa: ARG002 - as the port calls them
        raise Unavailable("The embedder does not answer.")


class _Model:
    """A model that says a word, and then what the test wants."""

    name = "test"
    follows_instructions = False
    context_tokens = 8_000

    def __init__(self, then: BaseException | None) -> None:
        self._then = then
        self.left = asyncio.Event()

    async def write(self, _prompt: Prompt) -> AsyncGenerator[Draft]:
        try:
            yield Draft("The")
            if self._then is not None:
                raise self._then
            await asyncio.sleep(60)
        finally:
            self.left.set()


async def ask(carrel: Stand, reader: Caller, **body: Any) -> httpx2.Response:
    """Of a Carrel with other parts."""
    app = create_app(lambda: nullcontext(carrel.app))
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://carrel.test") as client:
            return await Caller(client, reader.key)("POST", "/v1/chat", json={"message": QUESTION, **body})


async def test_an_embedder_that_is_away_is_503_with_retry_after(carrel: Stand, reader: Caller) -> None:
    away = replace(carrel.parts, embedder=_Silent(carrel.parts.embedder))
    for stream in (True, False):
        answer = await ask(replace(carrel, app=assemble(away)), reader, stream=stream)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert int(answer.headers["Retry-After"]) > 0


async def test_a_model_that_fails_midway_gives_the_passages(carrel: Stand, reader: Caller) -> None:
    parts = replace(carrel.parts, models=OnlyModel(_Model(Unavailable("gone"))))
    answer = await ask(replace(carrel, app=assemble(parts)), reader, stream=True)
    _, *deltas, (name, done) = events_of(answer.text)
    assert (name, done["status"]) == ("done", "degraded")
    assert done["problem"] == {"code": "model_failed", "detail": "gone"}
    assert done["answer"] == "".join(data["text"] for _, data in deltas)
    assert done["answer"].startswith("The\n\n")
    assert done["citations"]


async def test_a_refusal_midway_is_an_error_event(carrel: Stand, reader: Caller) -> None:
    parts = replace(carrel.parts, models=OnlyModel(_Model(Throttled("Too many questions."))))
    answer = await ask(replace(carrel, app=assemble(parts)), reader, stream=True)
    *_, (name, problem) = events_of(answer.text)
    assert (name, problem["code"], problem["status"]) == ("error", "rate_limited", 429)
    plain = await ask(replace(carrel, app=assemble(parts)), reader)
    assert (plain.status_code, plain.json()["code"]) == (429, "rate_limited")
    assert int(plain.headers["Retry-After"]) > 0


async def test_a_mistake_of_ours_midway_is_an_error_event_without_its_reason(carrel: Stand, reader: Caller) -> None:
    parts = replace(carrel.parts, models=OnlyModel(_Model(RuntimeError("the secret reason"))))
    answer = await ask(replace(carrel, app=assemble(parts)), reader, stream=True)
    *_, (name, problem) = events_of(answer.text)
    assert (name, problem["code"], problem["status"]) == ("error", "internal_error", 500)
    assert "secret" not in answer.text


async def test_a_client_that_leaves_ends_the_work() -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncGenerator[Event]:
        try:
            yield Evidence(())
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def leave() -> dict[str, str]:
        await asyncio.sleep(0.05)
        return {"type": "http.disconnect"}

    async def send(_message: Any) -> None:
        return None

    stream = await EventStream.begin(endless())
    await asyncio.wait_for(stream({"type": "http"}, leave, send), 30)
    assert ended.is_set()
