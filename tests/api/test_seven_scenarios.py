"""The seven isolation scenarios of the field, over HTTP and a real database.

Two bots of one tenant, each with a source of its own, and a rival tenant beside them. Every document carries a marker
that stands nowhere else, so a passage says by itself where it came from.
"""

from dataclasses import dataclass

import asyncpg
import pytest

from api.callers import Caller, CallerMaker
from carrel.store.transaction import plain_url
from support.stand import Stand

QUESTION = "What is the marker of the payment service?"


@dataclass(frozen=True)
class Bot:
    """A bot, the one source that it reads, and the marker of everything in it."""

    id: str
    source: str
    document: str
    marker: str


@dataclass(frozen=True)
class House:
    caller: Caller
    a: Bot
    b: Bot

    async def found_by(self, bot: Bot) -> list[dict[str, str]]:
        answer = await self.caller("POST", "/v1/search", json={"query": QUESTION, "bot_id": bot.id, "limit": 100})
        hits: list[dict[str, str]] = answer.json()["hits"]
        return hits


async def a_bot(caller: Caller, marker: str) -> Bot:
    source = await caller.source(f"source {marker}")
    document = await caller.put(
        source, "payment.md", f"# Payment service\n\nThe marker of the payment service is {marker}."
    )
    assert document["status"] == "ready"
    bot = await caller.made("/v1/bots", {"name": f"bot {marker}", "source_ids": [source]})
    return Bot(bot["id"], source, document["id"], marker)


@pytest.fixture
async def house(owner: Caller) -> House:
    return House(owner, await a_bot(owner, "amaranth"), await a_bot(owner, "bergamot"))


@pytest.fixture
async def rival(a_caller: CallerMaker) -> House:
    caller = await a_caller()
    return House(caller, await a_bot(caller, "cardamom"), await a_bot(caller, "damascene"))


async def test_1_bot_a_searches_only_its_own_sources(house: House, rival: House) -> None:
    hits = await house.found_by(house.a)
    assert {hit["source_id"] for hit in hits} == {house.a.source}
    assert all("amaranth" in hit["text"] for hit in hits)


async def test_2_bot_b_searches_only_its_own_sources(house: House, rival: House) -> None:
    hits = await house.found_by(house.b)
    assert {hit["source_id"] for hit in hits} == {house.b.source}
    assert all("bergamot" in hit["text"] for hit in hits)


async def test_3_a_then_b_in_sequence_without_contamination(house: House, rival: House) -> None:
    for bot in (house.a, house.b) * 5:
        assert {hit["source_id"] for hit in await house.found_by(bot)} == {bot.source}
        answer = await house.caller("POST", "/v1/chat", json={"message": QUESTION, "bot_id": bot.id})
        said = answer.json()
        assert said["status"] == "answered"
        assert bot.marker in said["answer"]
        assert {citation["document_id"] for citation in said["citations"]} == {bot.document}
        for other in (house.a, house.b, rival.a, rival.b):
            assert (other.marker in answer.text) == (other is bot)


async def test_4_lists_of_sources_and_documents_are_filtered_by_bot(house: House, rival: House) -> None:
    for bot in (house.a, house.b):
        sources = (await house.caller("GET", f"/v1/sources?bot_id={bot.id}")).json()["items"]
        documents = (await house.caller("GET", f"/v1/documents?bot_id={bot.id}")).json()["items"]
        assert [source["id"] for source in sources] == [bot.source]
        assert [document["id"] for document in documents] == [bot.document]
    assert (await house.caller("GET", f"/v1/sources?bot_id={rival.a.id}")).status_code == 404
    assert (await house.caller("GET", f"/v1/documents?bot_id={rival.a.id}")).status_code == 404


async def test_5_a_source_cannot_be_given_to_a_foreign_bot(house: House, rival: House) -> None:
    given = {"source_ids": [house.a.source]}
    assert (await rival.caller("PATCH", f"/v1/bots/{rival.a.id}", json=given)).status_code == 404
    assert (await rival.caller("PATCH", f"/v1/bots/{house.a.id}", json=given)).status_code == 404
    assert (await rival.caller("POST", "/v1/bots", json={"name": "thief", **given})).status_code == 404
    assert {hit["source_id"] for hit in await rival.found_by(rival.a)} == {rival.a.source}
    bots = (await rival.caller("GET", "/v1/bots")).json()["items"]
    assert {bot["id"] for bot in bots} == {rival.a.id, rival.b.id}


async def test_6_ingestion_stores_the_right_owner_everywhere(house: House, rival: House, carrel: Stand) -> None:
    superuser = await asyncpg.connect(plain_url(carrel.endpoint.superuser_url))
    try:
        for owner, bot in ((house, house.a), (house, house.b), (rival, rival.a), (rival, rival.b)):
            assert owner.caller.tenant is not None
            for table in ("documents", "document_versions", "chunks", "dense_entries", "lexical_entries"):
                rows = await superuser.fetch(
                    f"select distinct tenant_id from carrel.{table} where source_id = $1", bot.source
                )
                assert [row["tenant_id"] for row in rows] == [owner.caller.tenant.id], table
    finally:
        await superuser.close()


async def test_7_a_search_is_bound_to_exactly_tenant_and_sources(house: House, rival: House) -> None:
    both = {"query": QUESTION, "source_ids": [house.a.source, house.b.source], "limit": 100}
    hits = (await house.caller("POST", "/v1/search", json=both)).json()["hits"]
    assert {hit["source_id"] for hit in hits} == {house.a.source, house.b.source}
    assert house.caller.tenant is not None
    assert {hit["tenant_id"] for hit in hits} == {str(house.caller.tenant.id)}

    mixed = {"query": QUESTION, "source_ids": [house.a.source, rival.a.source]}
    assert (await house.caller("POST", "/v1/search", json=mixed)).status_code == 404
    foreign = {"query": QUESTION, "tenants": [str(rival.caller.tenant.id if rival.caller.tenant else "")]}
    assert (await house.caller("POST", "/v1/search", json=foreign)).status_code == 404
    unlimited = (await house.caller("POST", "/v1/search", json={"query": QUESTION, "limit": 100})).json()["hits"]
    assert {hit["source_id"] for hit in unlimited} == {house.a.source, house.b.source}
