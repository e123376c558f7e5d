"""What is private to one member, from the other member's side: over HTTP, and in the database itself."""

import uuid
from dataclasses import dataclass
from typing import Any

import pytest

from api.callers import Caller
from carrel.domain.rights import Role
from support.people import Person, a_person
from support.raw import connected, posing
from support.stand import Stand
from support.tenants import SomeTenant

SECRET = "The treasure of Zanzibar lies under the third pier."
PRIVATE_TABLES = ("sources", "documents", "document_versions", "chunks", "chats", "messages")


@dataclass(frozen=True)
class Neighbours:
    """Two members of one tenant. One has a private source, in a bot for both, and a chat; the other is an owner."""

    place: SomeTenant
    ada: Person
    ben: Person
    hers: Caller
    his: Caller
    source: str
    document: str
    bot: str
    chat: str


@pytest.fixture
async def neighbours(carrel: Stand, owner: Caller) -> Neighbours:
    place = owner.tenant
    assert place
    ada = await a_person(carrel, editor=place.id)
    ben = await a_person(carrel, owner=place.id)
    hers, his = (Caller(owner.client, one.token(place.id), place) for one in (ada, ben))
    shared = await hers.source("Handbook")
    await hers.put(shared, "boats.md", "# Boats\n\nBoats float on water.")
    source = await hers.source("Diary", visibility="private")
    document = await hers.put(source, "zanzibar.md", f"# Zanzibar\n\n{SECRET}")
    bot = (await hers.made("/v1/bots", {"name": "Parrot", "source_ids": [shared, source]}))["id"]
    chat = await asked(hers, bot_id=bot)
    assert "third pier" in chat["answer"]
    return Neighbours(place, ada, ben, hers, his, source, document["id"], bot, chat["chat_id"])


async def asked(caller: Caller, **more: Any) -> dict[str, Any]:
    answer = await caller("POST", "/v1/chat", json={"message": "Where does the treasure of Zanzibar lie?", **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_the_other_member_meets_it_nowhere(neighbours: Neighbours) -> None:
    his, nothing = neighbours.his, str(uuid.uuid4())
    for path, hidden in (
        ("/v1/sources/{}", neighbours.source),
        ("/v1/documents/{}", neighbours.document),
        ("/v1/documents/{}/content", neighbours.document),
        ("/v1/documents?source_id={}", neighbours.source),
    ):
        answer, absent = await his("GET", path.format(hidden)), await his("GET", path.format(nothing))
        assert (answer.status_code, answer.content) == (404, absent.content)
    for path in ("/v1/sources", "/v1/documents"):
        for query in ("", f"?bot_id={neighbours.bot}"):
            listed = (await his("GET", path + query)).text
            assert not any(word in listed for word in (neighbours.source, neighbours.document, "zanzibar", "Diary"))
    assert neighbours.source not in (await his("GET", f"/v1/bots/{neighbours.bot}")).text
    assert neighbours.source not in (await his("GET", "/v1/bots")).text


async def test_nor_does_he_find_it_by_searching_or_asking(neighbours: Neighbours) -> None:
    for wish in ({}, {"bot_id": neighbours.bot}):
        found = await neighbours.his("POST", "/v1/search", json={"query": "treasure of Zanzibar", "limit": 50, **wish})
        assert "pier" not in found.text
        assert "pier" not in str(await asked(neighbours.his, **wish))
        assert "pier" in (await neighbours.hers("POST", "/v1/search", json={"query": "treasure", **wish})).text
    for body in ({"source_ids": [neighbours.source]}, {"chat_id": neighbours.chat}):
        answer = await neighbours.his("POST", "/v1/chat", json={"message": "x", **body})
        assert answer.status_code == 404


async def test_nor_can_he_write_to_it_or_give_it_away(neighbours: Neighbours) -> None:
    source, document, his = neighbours.source, neighbours.document, neighbours.his
    attempts: list[tuple[str, str, dict[str, Any]]] = [
        ("PUT", f"/v1/sources/{source}/documents/x.md", {"content": b"x"}),
        ("POST", f"/v1/sources/{source}/documents", {"files": [("files", ("x.md", b"x", "text/markdown"))]}),
        ("PATCH", f"/v1/sources/{source}", {"json": {"name": "Mine"}}),
        ("DELETE", f"/v1/sources/{source}", {}),
        ("PATCH", f"/v1/documents/{document}", {"json": {"attributes": {}}}),
        ("DELETE", f"/v1/documents/{document}", {}),
        ("POST", f"/v1/documents/{document}/retry", {}),
        ("POST", "/v1/ingestion/redrive", {"json": {"source_id": source}}),
        ("POST", "/v1/bots", {"json": {"name": "Thief", "source_ids": [source]}}),
        ("PATCH", f"/v1/bots/{neighbours.bot}", {"json": {"source_ids": [source]}}),
    ]
    for method, path, options in attempts:
        assert (await his(method, path, **options)).status_code == 404, (method, path)
    assert (await neighbours.hers("GET", f"/v1/documents/{document}")).json()["status"] == "ready"


async def test_a_bot_that_he_changes_keeps_what_he_cannot_see(neighbours: Neighbours) -> None:
    shared = (await neighbours.his("GET", f"/v1/bots/{neighbours.bot}")).json()["source_ids"]
    assert neighbours.source not in shared
    assert (await neighbours.his("PATCH", f"/v1/bots/{neighbours.bot}", json={"source_ids": []})).status_code == 200
    assert (await neighbours.hers("GET", f"/v1/bots/{neighbours.bot}")).json()["source_ids"] == [neighbours.source]


@pytest.mark.parametrize("limit", ["source_ids", "bot_ids", "none"])
async def test_keys_show_it_to_its_owner_alone(carrel: Stand, neighbours: Neighbours, limit: str) -> None:
    """A key that the tenant's own console limits to the bot sees of the bot what belongs to all."""
    for person, expected in ((neighbours.ada, True), (neighbours.ben, False)):
        await carrel.app.members.change(neighbours.place.console, person.id, role=Role.OWNER)
        who = Caller(neighbours.his.client, person.token(neighbours.place.id))
        ids = {"source_ids": [neighbours.source], "bot_ids": [neighbours.bot]}
        wish = {} if limit == "none" else {limit: ids[limit]}
        made = await who("POST", "/v1/keys", json={"name": "k", "scopes": ["search"], **wish})
        if limit == "source_ids" and not expected:
            assert made.status_code == 404
            continue
        key = Caller(who.client, made.json()["key"])
        found = await key("POST", "/v1/search", json={"query": "treasure of Zanzibar"})
        assert ("pier" in found.text) is expected
    bots_own = Caller(neighbours.his.client, await neighbours.place.key("search"))
    assert (
        "pier" not in (await bots_own("POST", "/v1/search", json={"query": "treasure", "bot_id": neighbours.bot})).text
    )


async def test_the_database_refuses_by_itself(carrel: Stand, neighbours: Neighbours) -> None:
    """Raw SQL as the serving role, bound to the tenant and to the other member, or to nobody."""
    async with connected(carrel.endpoint.app_url) as app:
        for user in (neighbours.ben.id, None, uuid.uuid4()):
            async with posing(app, neighbours.place.id, user=user, sources="*"):
                for table in PRIVATE_TABLES:
                    seen = await app.fetchval(f"select count(*) from {table} where owner_id = $1", neighbours.ada.id)
                    assert seen == 0, table
                assert await app.execute("delete from chats where owner_id = $1", neighbours.ada.id) == "DELETE 0"
                assert await app.execute("update messages set answer = ''") in {"UPDATE 0", "UPDATE 1"}
        async with posing(app, neighbours.place.id, user=neighbours.ada.id, sources="*"):
            for table in PRIVATE_TABLES:
                assert await app.fetchval(f"select count(*) from {table} where owner_id = $1", neighbours.ada.id), table
    assert "third pier" in (await asked(neighbours.hers, chat_id=neighbours.chat))["answer"]
