"""Documents that are brought as JSON."""

import uuid
from typing import Any

import httpx2
import pytest

from api.callers import Caller, CallerMaker


async def brought(caller: Caller, source: str, **body: Any) -> httpx2.Response:
    return await caller("POST", f"/v1/sources/{source}/texts?wait=true", json=body)


async def content(caller: Caller, document: str) -> str:
    return (await caller("GET", f"/v1/documents/{document}/content")).text


@pytest.mark.parametrize("kind", ["upload", "text"])
async def test_a_text_is_a_document_with_its_title_and_attributes(a_caller: CallerMaker, kind: str) -> None:
    caller = await a_caller()
    source = await caller.source(f"Texts {uuid.uuid4()}", kind=kind)
    body = {"key": "notes/boats.md", "title": "On boats", "text": "Boats float.", "attributes": {"team": "red"}}
    first = await brought(caller, source, **body)
    assert (first.status_code, first.json()["outcome"]) == (201, "created"), first.text
    document = first.json()["document"]
    assert (document["title"], document["attributes"], document["status"]) == ("On boats", {"team": "red"}, "ready")
    hits = (await caller("POST", "/v1/search", json={"query": "floating boats", "filters": {"team": "red"}})).json()
    assert [hit["key"] for hit in hits["hits"]] == ["notes/boats.md"]

    again = await brought(caller, source, **body)
    assert (again.status_code, again.json()["outcome"]) == (200, "unchanged")
    other = await brought(caller, source, key="notes/boats.md", text="Boats sink.")
    assert (other.status_code, other.json()["outcome"]) == (200, "replaced")
    assert other.json()["document"]["attributes"] == {"team": "red"}, "absent is as it was"
    assert await content(caller, document["id"]) == "Boats sink."


async def test_a_text_that_is_sent_again_under_its_key_gets_the_stored_answer(owner: Caller) -> None:
    source = await owner.source(f"Repeated {uuid.uuid4()}")
    headers, body = {"Idempotency-Key": uuid.uuid4().hex}, {"key": "a.md", "text": "Boats float."}
    path = f"/v1/sources/{source}/texts?wait=true"
    first = await owner("POST", path, json=body, headers=headers)
    again = await owner("POST", path, json=body, headers=headers)
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    other = await owner("POST", path, json={**body, "text": "Boats sink."}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


async def test_a_plain_text_has_its_title_as_its_first_line(owner: Caller) -> None:
    source = await owner.source(f"Plain {uuid.uuid4()}")
    made = await brought(owner, source, key="a.txt", title="On trains", text="Trains roll.")
    assert made.json()["document"]["media_type"] == "text/plain"
    assert await content(owner, made.json()["document_id"]) == "On trains\n\nTrains roll."


@pytest.mark.parametrize(
    ("key", "status", "code"), [("../a.md", 422, "invalid_key"), ("a.png", 415, "unsupported_type")]
)
async def test_a_key_that_cannot_be_is_refused(owner: Caller, key: str, status: int, code: str) -> None:
    source = await owner.source(f"Bad {uuid.uuid4()}")
    answer = await brought(owner, source, key=key, text="Some words.")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_source_that_fetches_takes_neither_texts_nor_files(owner: Caller) -> None:
    place = {"urls": ["https://pages.example/"]}
    source = await owner.source(f"Fetched {uuid.uuid4()}", kind="url", place=place)
    text = await brought(owner, source, key="a.md", text="Some words.")
    file = await owner("POST", f"/v1/sources/{source}/documents", files=[("files", ("a.md", b"Some words."))])
    put = await owner("PUT", f"/v1/sources/{source}/documents/a.md", content=b"Some words.")
    assert [(one.status_code, one.json()["code"]) for one in (text, file, put)] == [(409, "source_refreshes")] * 3


async def test_a_source_shows_where_its_documents_come_from(owner: Caller) -> None:
    place = {"urls": ["https://pages.example/", "https://pages.example/"], "depth": 2}
    made = await owner.made(
        "/v1/sources", {"name": f"Site {uuid.uuid4()}", "kind": "url", "place": place, "schedule": 3600}
    )
    assert (made["place"]["urls"], made["place"]["depth"], made["place"]["pages"]) == (
        ["https://pages.example/"],
        2,
        1000,
    )
    assert (made["place"]["bucket"], made["schedule"], made["paused"], made["last_run"]) == (None, 3600, False, None)
    assert made["next_run_at"] is not None
    path = f"/v1/sources/{made['id']}"
    plain = (await owner("PATCH", path, json={"name": f"Renamed {uuid.uuid4()}"})).json()
    assert (plain["place"], plain["schedule"]) == (made["place"], 3600), "what is absent stays"
    moved = (await owner("PATCH", path, json={"place": {"urls": ["https://b.example/"]}, "schedule": None})).json()
    assert (moved["place"]["urls"], moved["place"]["depth"], moved["schedule"]) == (["https://b.example/"], 0, None)
    wrong = await owner("PATCH", path, json={"place": {"path": "/srv"}})
    assert [error["field"] for error in wrong.json()["errors"]] == ["place.path"]
    for _ in range(2):
        paused = await owner("POST", f"{path}/pause")
        assert (paused.status_code, paused.json()["paused"], paused.json()["next_run_at"]) == (200, True, None)
    refused = await owner("POST", f"{path}/refresh")
    assert (refused.status_code, refused.json()["code"]) == (409, "source_paused")
    for _ in range(2):
        resumed = await owner("POST", f"{path}/resume")
        assert (resumed.status_code, resumed.json()["paused"]) == (200, False)
    assert (await owner("POST", f"{path}/refresh", json={"accept_empty": True})).status_code == 202
    assert (await owner("GET", f"{path}/runs")).json() == {"items": [], "next_cursor": None}
    assert (await owner("GET", f"{path}/items")).json() == {"items": [], "next_cursor": None}
    brought_to = await owner.source(f"Plain {uuid.uuid4()}")
    refused = await owner("POST", f"/v1/sources/{brought_to}/refresh")
    assert (refused.status_code, refused.json()["code"]) == (409, "source_not_refreshing")
