"""Lists: newest first, a page at a time, and every item once."""

from typing import Any

import pytest

from api.callers import Caller
from support.people import a_person
from support.stand import Stand

PATHS = ["/v1/sources", "/v1/bots", "/v1/keys", "/v1/documents", "/v1/invitations"]


async def walk(caller: Caller, path: str, limit: int) -> list[list[dict[str, Any]]]:
    pages, cursor = [], ""
    while True:
        answer = await caller("GET", f"{path}?limit={limit}{cursor}")
        assert answer.status_code == 200, answer.text
        assert answer.json().keys() == {"items", "next_cursor"}
        pages.append(answer.json()["items"])
        if answer.json()["next_cursor"] is None:
            return pages
        cursor = f"&cursor={answer.json()['next_cursor']}"


async def fill(owner: Caller, path: str) -> list[str]:
    source = await owner.source(f"first of {path}")
    made = []
    for number in range(5):
        match path:
            case "/v1/sources":
                made.append(await owner.source(f"source {number}"))
            case "/v1/bots":
                made.append((await owner.made(path, {"name": f"bot {number}", "source_ids": [source]}))["id"])
            case "/v1/keys":
                made.append((await owner.made(path, {"name": "key", "scopes": ["ask"]}))["id"])
            case "/v1/invitations":
                made.append((await owner.made(path, {"email": f"{number}@b.example", "role": "viewer"}))["id"])
            case _:
                put = await owner("PUT", f"/v1/sources/{source}/documents/{number}.txt", content=b"x%d" % number)
                made.append(put.json()["document_id"])
    return made


@pytest.mark.parametrize("path", PATHS)
async def test_pages_hold_every_item_once_newest_first(owner: Caller, path: str) -> None:
    made = await fill(owner, path)
    pages = await walk(owner, path, 2)
    assert all(len(page) == 2 for page in pages[:-1])
    found = [item["id"] for page in pages for item in page]
    assert len(found) == len(set(found))
    assert [identifier for identifier in found if identifier in made] == list(reversed(made))
    (whole,) = await walk(owner, path, 200)
    assert [item["id"] for item in whole] == found


async def test_members_come_in_pages_too(carrel: Stand, owner: Caller) -> None:
    assert owner.tenant
    people = [str((await a_person(carrel, viewer=owner.tenant.id)).id) for _ in range(5)]
    pages = await walk(owner, "/v1/members", 2)
    assert [[one["id"] for one in page] for page in pages] == [people[:2:-1], people[2:0:-1], people[:1]]


async def test_a_cursor_leads_on_in_its_own_list_only(owner: Caller, an_operator: Caller) -> None:
    for path in PATHS:
        await fill(owner, path)
    cursors = {path: (await owner("GET", f"{path}?limit=1")).json()["next_cursor"] for path in PATHS}
    for path in PATHS:
        for taken_from, cursor in cursors.items():
            answer = await owner("GET", f"{path}?cursor={cursor}")
            assert answer.status_code == (200 if path == taken_from else 422), answer.text
        tenants = await an_operator("GET", f"/v1/tenants?cursor={cursors[path]}")
        assert (tenants.status_code, tenants.json()["code"]) == (422, "invalid_cursor")


async def test_tenants_are_listed_for_operators(an_operator: Caller) -> None:
    made = await an_operator.made("/v1/tenants", {"name": "Über Acme"})
    answer = await an_operator("GET", "/v1/tenants?limit=1")
    assert answer.json()["items"] == [made]
    assert made.keys() == {"id", "slug", "name", "status", "isolation", "created_at"}
    assert (made["slug"], made["status"], made["isolation"]) == ("uber-acme", "active", "pooled")


async def test_an_empty_list_is_a_list(owner: Caller) -> None:
    assert (await owner("GET", "/v1/bots")).json() == {"items": [], "next_cursor": None}


async def test_a_list_of_sources_can_be_a_bots(owner: Caller) -> None:
    given, _other = await owner.source("given"), await owner.source("other")
    bot = await owner.made("/v1/bots", {"name": "Bot", "source_ids": [given]})
    answer = await owner("GET", f"/v1/sources?bot_id={bot['id']}")
    assert [item["id"] for item in answer.json()["items"]] == [given]


async def test_keys_are_listed_without_their_secret(owner: Caller) -> None:
    made = await owner.made("/v1/keys", {"name": "Key", "scopes": ["search", "ask"]})
    for path in ("/v1/keys", f"/v1/keys/{made['id']}"):
        answer = await owner("GET", path)
        assert made["key"].split("_")[2] not in answer.text
        assert '"key"' not in answer.text


async def test_a_source_counts_its_documents_by_status(owner: Caller) -> None:
    source = await owner.source()
    await owner.put(source, "good.txt", "Boats float.")
    await owner.put(source, "bad.pdf", "%PDF-1.7 broken")
    answer = await owner("GET", f"/v1/sources/{source}")
    assert answer.json()["documents"] == {"pending": 0, "processing": 0, "ready": 1, "failed": 1}


async def test_a_private_source_is_seen_by_its_owner_only(owner: Caller, a_caller: Any) -> None:
    source = await owner.source("diary", visibility="private")
    colleague = await a_caller(of=owner)
    assert (await owner("GET", f"/v1/sources/{source}")).json()["visibility"] == "private"
    assert (await colleague("GET", f"/v1/sources/{source}")).status_code == 404
    assert (await colleague("GET", "/v1/sources")).json()["items"] == []


async def test_changing_says_what_it_became(owner: Caller) -> None:
    source = await owner.source("one")
    changed = await owner("PATCH", f"/v1/sources/{source}", json={"name": " two ", "duplicates": "reject"})
    assert (changed.json()["name"], changed.json()["duplicates"]) == ("two", "reject")
    same = await owner("PATCH", f"/v1/sources/{source}", json={})
    assert same.json() == changed.json()
    bot = await owner.made("/v1/bots", {"name": "Bot", "source_ids": [], "model": "extractive", "retrieval": {}})
    patched = await owner("PATCH", f"/v1/bots/{bot['id']}", json={"source_ids": [source], "instructions": "Hi."})
    assert patched.json() == {**bot, "source_ids": [source], "instructions": "Hi."}
