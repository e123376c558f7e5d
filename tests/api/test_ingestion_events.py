"""The stream of ingestion over HTTP: its frames, who may read it, and how it ends."""

import asyncio
import json
import uuid
from contextlib import nullcontext
from typing import Any

import httpx2
import pytest

from api.callers import Caller, CallerMaker
from carrel.api.app import create_app
from carrel.domain.limits import Rates
from carrel.wiring import assemble
from support.doors import serving
from support.stand import Stand

EVENTS = "/v1/ingestion/events"


def frames(text: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for frame in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in frame.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


async def test_a_stream_until_all_is_settled_tells_each_document_and_the_count(owner: Caller) -> None:
    source = await owner.source()
    files = [("files", (f"{number}.md", f"Number {number}.".encode(), "text/markdown")) for number in range(4)]
    assert (await owner("POST", f"/v1/sources/{source}/documents", files=files)).status_code == 202
    answer = await owner("GET", f"{EVENTS}?until=settled")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    told = frames(answer.text)
    assert {name for name, _ in told} <= {"document", "summary"}
    assert told[-1] == ("summary", {"pending": 0, "processing": 0, "ready": 4, "failed": 0})
    last = {data["key"]: data for name, data in told if name == "document"}
    for data in last.values():
        assert data.keys() == {"document_id", "source_id", "key", "status", "stage", "percent", "error"}
        assert (data["source_id"], data["status"], data["percent"]) == (source, "ready", 100)


async def test_percent_stands_in_the_document_too(owner: Caller) -> None:
    document = await owner.put(await owner.source(), "boats.md", "Boats float.")
    assert (await owner("GET", f"/v1/documents/{document['id']}")).json()["percent"] == 100


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("source_id=nope", "source_id", "invalid_id"),
        ("until=later", "until", "invalid_choice"),
        ("since=1", "since", "unknown_field"),
    ],
)
async def test_bad_input_is_refused_before_the_stream(owner: Caller, query: str, field: str, code: str) -> None:
    answer = await owner("GET", f"{EVENTS}?{query}")
    assert answer.status_code == 422
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(field, code)]


async def test_a_source_that_is_not_there_is_404_and_a_foreign_one_too(owner: Caller, a_caller: CallerMaker) -> None:
    foreign = await (await a_caller()).source()
    for source in (foreign, uuid.uuid4()):
        assert (await owner("GET", f"{EVENTS}?source_id={source}")).status_code == 404


async def test_a_stream_counts_among_those_of_its_tenant(carrel: Stand, owner: Caller) -> None:
    assert owner.tenant
    gate = carrel.app.gate
    before, gate.rates = gate.rates, Rates(streams=1)
    try:
        with gate.streaming(owner.tenant.id):
            answer = await owner("GET", EVENTS)
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
        assert "retry-after" in answer.headers
        assert (await owner("GET", f"{EVENTS}?until=settled")).status_code == 200
    finally:
        gate.rates = before


async def test_who_loses_the_right_sees_the_stream_end_with_an_error(
    monkeypatch: pytest.MonkeyPatch, owner: Caller
) -> None:
    monkeypatch.setattr("carrel.library.progress._LOOK", 0.1)
    made = await owner.made("/v1/keys", {"name": "k", "scopes": ["search"]})
    reader = Caller(owner.client, made["key"])
    reading = asyncio.create_task(reader("GET", EVENTS))
    await asyncio.sleep(0.3)
    assert (await owner("DELETE", f"/v1/keys/{made['id']}")).status_code == 204
    told = frames((await asyncio.wait_for(reading, 30)).text)
    assert told[-1][0] == "error"
    assert (told[-1][1]["status"], told[-1][1]["code"]) == (401, "revoked_key")


async def test_over_a_socket_a_document_is_told_live_and_a_server_that_stops_ends_the_stream_in_order(
    carrel: Stand, owner: Caller
) -> None:
    heard, seen = asyncio.Event(), []

    async def read(client: httpx2.AsyncClient) -> None:
        headers = {"Authorization": f"Bearer {owner.key}"}
        async with client.stream("GET", EVENTS, headers=headers) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    seen.append(json.loads(line[6:]))
                    heard.set()

    async with httpx2.AsyncClient(timeout=60) as client:
        async with serving(create_app(lambda: nullcontext(assemble(carrel.parts)))) as (host, port):
            client.base_url = httpx2.URL(f"http://{host}:{port}")
            reading = asyncio.create_task(read(client))
            await asyncio.wait_for(heard.wait(), 30)
            await owner.put(await owner.source(), "live.md", "Live.")
            async with asyncio.timeout(30):
                while not any(one.get("key") == "live.md" and one["status"] == "ready" for one in seen):
                    heard.clear()
                    await heard.wait()
        await asyncio.wait_for(reading, 30)  # it ended, and nothing was cut off
