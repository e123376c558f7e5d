"""The isolation scenarios of the field, by name, through the application's own doors and a real database."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from carrel.ask.pipeline import ChatWish, Found, SearchWish
from carrel.domain.access import Principal
from carrel.domain.errors import Denied, Invalid, NotFound, Unauthenticated
from carrel.domain.ids import BotId, ChatId, DocumentId, KeyId, SourceId, TenantId
from carrel.domain.library import Document, Source
from carrel.domain.rights import Scope
from carrel.ingest.retry import Redrive
from carrel.library.bots import BotChange
from carrel.library.documents import Shelf
from carrel.store.bots import NewBot
from carrel.store.sources import NewSource
from carrel.tenancy.keys import KeyWish
from support.furnished import ask
from support.liars import behind_a_liar
from support.raw import Raw, connected, tenant_tables
from support.stand import Stand
from support.tenants import SomeTenant, a_tenant, pieces

QUESTION = "Which port does the payment service use?"


@dataclass(frozen=True)
class House:
    """One tenant with two bots, each with a source and a document of its own, whose word is in no other."""

    tenant: SomeTenant
    reader: Principal
    sources: tuple[SourceId, SourceId]
    bots: tuple[BotId, BotId]
    documents: tuple[Document, Document]
    words: tuple[str, str]


async def a_house(carrel: Stand, name: str) -> House:
    tenant = await a_tenant(carrel.app, name)
    sources, bots, documents, words = [], [], [], []
    for letter in "ab":
        word = f"{letter}{uuid.uuid4().hex[:12]}"
        source = await tenant.source(letter)
        bot = await carrel.app.bots.create(tenant.console, NewBot(letter, frozenset({source.id})))
        text = f"# Payment service\n\nThe payment service of {word} uses port 7000.\n"
        documents.append(await tenant.put(source.id, "payments.md", text))
        sources.append(source.id)
        bots.append(bot.id)
        words.append(word)
    reader = await tenant.principal("search", "ask")
    return House(tenant, reader, _two(sources), _two(bots), _two(documents), _two(words))


def _two(items: list[Any]) -> tuple[Any, Any]:
    first, second = items
    return first, second


@pytest.fixture(scope="module")
async def house(carrel: Stand) -> House:
    return await a_house(carrel, "House")


@pytest.fixture(scope="module")
async def neighbour(carrel: Stand) -> House:
    return await a_house(carrel, "Neighbour")


@pytest.fixture(scope="module")
async def superuser(carrel: Stand) -> AsyncIterator[Raw]:
    async with connected(carrel.endpoint.superuser_url) as connection:
        yield connection


def texts(found: Found) -> str:
    return " ".join(hit.text for hit in found.hits)


async def searched(carrel: Stand, principal: Principal, **wish: Any) -> Found:
    return await carrel.app.asking.search(principal, SearchWish(QUESTION, **wish))


async def limited(house: House, **limits: Any) -> Principal:
    """A principal of a key with all four scopes and these limits."""
    app = house.tenant.app
    issued = await app.keys.create(house.tenant.console, KeyWish("limited", frozenset(Scope), **limits))
    return await app.principals.authenticate(issued.clear)


# The seven scenarios


async def test_1_bot_a_searches_only_its_own_sources(carrel: Stand, house: House, neighbour: House) -> None:
    found = await searched(carrel, house.reader, bot=house.bots[0])
    assert {hit.source for hit in found.hits} == {house.sources[0]}
    assert house.words[0] in texts(found)
    assert house.words[1] not in texts(found)


async def test_2_bot_b_searches_only_its_own_sources(carrel: Stand, house: House, neighbour: House) -> None:
    found = await searched(carrel, house.reader, bot=house.bots[1])
    assert {hit.source for hit in found.hits} == {house.sources[1]}
    assert house.words[1] in texts(found)
    assert house.words[0] not in texts(found)


async def test_3_bot_a_then_bot_b_without_contamination(carrel: Stand, house: House, neighbour: House) -> None:
    """One after the other, and then both houses' four bots at once, many times."""
    for index in (0, 1, 0, 1):
        found = await searched(carrel, house.reader, bot=house.bots[index])
        assert {hit.source for hit in found.hits} == {house.sources[index]}
    wanted = [(one, index) for one in (house, neighbour) for index in (0, 1)] * 15
    answers = await asyncio.gather(*(searched(carrel, one.reader, bot=one.bots[index]) for one, index in wanted))
    for (one, index), found in zip(wanted, answers, strict=True):
        assert {(hit.tenant, hit.source) for hit in found.hits} == {(one.tenant.id, one.sources[index])}


async def test_4_source_lists_are_filtered_by_bot(carrel: Stand, house: House, neighbour: House) -> None:
    for index in (0, 1):
        page = await carrel.app.sources.listed(house.reader, bot=house.bots[index])
        assert [source.id for source in page.items] == [house.sources[index]]
        shelf = await carrel.app.documents.listed(house.reader, Shelf(bot=house.bots[index]))
        assert [document.id for document in shelf.items] == [house.documents[index].id]
    every = await carrel.app.sources.listed(house.reader)
    assert {source.id for source in every.items} == set(house.sources)
    for foreign in (neighbour.bots[0], BotId(uuid.uuid4())):
        with pytest.raises(NotFound):
            await carrel.app.sources.listed(house.reader, bot=foreign)
        with pytest.raises(NotFound):
            await carrel.app.documents.listed(house.reader, Shelf(bot=foreign))
    with pytest.raises(NotFound):
        await carrel.app.documents.listed(house.reader, Shelf(bot=house.bots[0], source=house.sources[1]))


async def test_5_a_source_cannot_be_given_to_a_foreign_bot(
    carrel: Stand, house: House, neighbour: House, superuser: Raw
) -> None:
    bots, own, foreign = carrel.app.bots, house.tenant.console, neighbour.sources[0]
    before = await superuser.fetch("select * from bot_sources order by 1, 2, 3")
    both = frozenset({house.sources[0], foreign})
    attempts: list[Callable[[], Awaitable[Any]]] = [
        lambda: bots.create(own, NewBot("thief", frozenset({foreign}))),
        lambda: bots.create(own, NewBot("thief", both)),
        lambda: bots.change(own, house.bots[0], BotChange(sources=frozenset({foreign}))),
        lambda: bots.change(own, house.bots[0], BotChange(name="renamed", sources=both)),
        lambda: bots.change(own, neighbour.bots[0], BotChange(sources=frozenset({house.sources[0]}))),
        lambda: bots.change(own, neighbour.bots[0], BotChange(sources=frozenset())),
        lambda: bots.delete(own, neighbour.bots[0]),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound):
            await attempt()
    assert await superuser.fetch("select * from bot_sources order by 1, 2, 3") == before
    names = await superuser.fetchval(
        "select array_agg(name order by name) from bots where tenant_id = $1", house.tenant.id
    )
    assert names == ["a", "b"]


async def test_6_ingestion_stores_the_right_owner_everywhere(carrel: Stand, superuser: Raw) -> None:
    """Every row in every table that came of one upload, to a shared and to a private source."""
    house = await a_house(carrel, "Ingesting")
    writer = await house.tenant.principal()
    private = await carrel.app.sources.create(writer, NewSource("diary", owner=writer.user))
    assert private.owner == writer.user
    for source in (await house.tenant.source("shared"), private):
        document = await _deliver(carrel.app.uploads, writer, source.id)
        await _assert_owned(superuser, house.tenant.id, source, document)
        for table in await tenant_tables(superuser):
            for identifier in (source.id, document.id, document.version):
                elsewhere = f"select count(*) from {table} t where tenant_id <> $1 and to_jsonb(t)::text like $2"
                assert await superuser.fetchval(elsewhere, house.tenant.id, f"%{identifier}%") == 0, table


async def _deliver(uploads: Any, writer: Principal, source: SourceId) -> Document:
    dock = await uploads.dock(writer, source)
    text = f"# Notes {uuid.uuid4()}\n\nThe payment service has an owner.\n".encode()
    delivery = await uploads.deliver(dock, "notes.md", pieces(text), declared=None)
    document: Document = await uploads.settled(dock, delivery, seconds=30)
    return document


async def _assert_owned(superuser: Raw, tenant: TenantId, source: Source, document: Document) -> None:
    chunks = await superuser.fetchval("select array_agg(id) from chunks where document_id = $1", document.id)
    assert chunks
    rows = {
        "documents": ("id", document.id, "source_id, owner_id"),
        "document_versions": ("id", document.version, "source_id, owner_id"),
        "chunks": ("document_id", document.id, "source_id, owner_id"),
        "dense_entries": ("version_id", document.version, "source_id"),
        "lexical_entries": ("version_id", document.version, "source_id"),
        "lexical_profiles": ("version_id", document.version, "version_id"),
    }
    for table, (column, value, shown) in rows.items():
        found = await superuser.fetch(f"select tenant_id, {shown} from {table} where {column} = $1", value)
        assert found, table
        for row in found:
            assert row["tenant_id"] == tenant, table
            assert row.get("source_id", source.id) == source.id, table
            assert row.get("owner_id", source.owner) == source.owner, table
    for table in ("dense_entries", "lexical_entries"):
        kept = await superuser.fetchval(
            f"select array_agg(chunk_id) from {table} where version_id = $1", document.version
        )
        assert set(kept) == set(chunks)
    blob = await superuser.fetchval("select blob_key from document_versions where id = $1", document.version)
    assert blob.startswith(f"{tenant}/")


async def test_7_the_index_query_is_bound_to_exactly_tenant_and_sources(carrel: Stand, house: House) -> None:
    app, liar = behind_a_liar(carrel)
    every = frozenset(house.sources)
    of_source = await limited(house, sources=frozenset({house.sources[0]}))
    of_bot = await limited(house, bots=frozenset({house.bots[1]}))
    cases: list[tuple[Principal, dict[str, Any], frozenset[SourceId]]] = [
        (house.reader, {}, every),
        (house.reader, {"bot": house.bots[0]}, frozenset({house.sources[0]})),
        (house.reader, {"sources": frozenset({house.sources[1]})}, frozenset({house.sources[1]})),
        (house.reader, {"tenants": (house.tenant.slug,)}, every),
        (of_source, {}, frozenset({house.sources[0]})),
        (of_bot, {}, frozenset({house.sources[1]})),
    ]
    for principal, wish, sources in cases:
        liar.asked.clear()
        await app.asking.search(principal, SearchWish(QUESTION, **wish))
        asked = {(query.grant.tenant, query.sources, query.grant.sources) for query in liar.asked}
        assert asked == {(house.tenant.id, sources, sources)}, wish


async def test_an_index_is_not_asked_at_all_for_what_is_not_granted(
    carrel: Stand, house: House, neighbour: House
) -> None:
    """The first wall alone: whatever is foreign is refused before anything is searched."""
    app, liar = behind_a_liar(carrel)
    wishes: list[dict[str, Any]] = [
        {"bot": neighbour.bots[0]},
        {"bot": BotId(uuid.uuid4())},
        {"sources": frozenset({neighbour.sources[0]})},
        {"sources": frozenset({house.sources[0], neighbour.sources[0]})},
        {"tenants": (neighbour.tenant.slug,)},
        {"tenants": (house.tenant.slug, str(neighbour.tenant.id))},
    ]
    for wish in wishes:
        with pytest.raises(NotFound):
            await app.asking.search(house.reader, SearchWish(QUESTION, **wish))
        if "tenants" not in wish:
            with pytest.raises(NotFound):
                await app.asking.allow(house.reader, ChatWish(QUESTION, **wish))
    ingest_only = await house.tenant.principal("ingest")
    with pytest.raises(Denied):
        await app.asking.search(ingest_only, SearchWish(QUESTION))
    assert liar.asked == []
    found = await app.asking.search(house.reader, SearchWish(QUESTION, sources=frozenset()))
    assert (found.hits, liar.asked) == ((), [])


# Limited keys


async def test_a_key_of_one_source_reads_that_source_only(carrel: Stand, house: House) -> None:
    key = await limited(house, sources=frozenset({house.sources[0]}))
    app = carrel.app
    assert {hit.source for hit in (await searched(carrel, key)).hits} == {house.sources[0]}
    assert (await searched(carrel, key, bot=house.bots[1])).hits == ()
    with pytest.raises(NotFound):
        await searched(carrel, key, sources=frozenset({house.sources[1]}))
    assert [source.id for source in (await app.sources.listed(key)).items] == [house.sources[0]]
    assert [document.id for document in (await app.documents.listed(key, Shelf())).items] == [house.documents[0].id]
    for refused in (
        lambda: app.sources.get(key, house.sources[1]),
        lambda: app.documents.get(key, house.documents[1].id),
        lambda: app.documents.download(key, house.documents[1].id),
        lambda: app.documents.describe(key, house.documents[1].id, {"a": 1}),
        lambda: app.uploads.dock(key, house.sources[1]),
        lambda: app.retries.one(key, house.documents[1].id),
        lambda: app.retries.many(key, Redrive(source=house.sources[1])),
        lambda: app.forgetting.document(key, house.documents[1].id),
    ):
        with pytest.raises(NotFound):
            await refused()


async def test_a_key_of_one_bot_reads_that_bots_sources_only(carrel: Stand, house: House) -> None:
    key = await limited(house, bots=frozenset({house.bots[0]}))
    app = carrel.app
    assert {hit.source for hit in (await searched(carrel, key)).hits} == {house.sources[0]}
    assert {hit.source for hit in (await searched(carrel, key, bot=house.bots[0])).hits} == {house.sources[0]}
    assert [bot.id for bot in (await app.bots.listed(key)).items] == [house.bots[0]]
    assert await app.bots.named(key, "b") is None
    for refused in (
        lambda: searched(carrel, key, bot=house.bots[1]),
        lambda: app.asking.allow(key, ChatWish(QUESTION, bot=house.bots[1])),
        lambda: app.bots.get(key, house.bots[1]),
        lambda: app.documents.get(key, house.documents[1].id),
        lambda: app.sources.listed(key, bot=house.bots[1]),
    ):
        with pytest.raises(NotFound):
            await refused()


async def test_a_key_of_a_bot_follows_what_the_bot_is_given(carrel: Stand) -> None:
    house = await a_house(carrel, "Moving")
    issued = await carrel.app.keys.create(
        house.tenant.console, KeyWish("bot", frozenset({Scope.SEARCH}), bots=frozenset({house.bots[0]}))
    )
    for given in (frozenset({house.sources[1]}), frozenset(house.sources), frozenset[SourceId]()):
        await carrel.app.bots.change(house.tenant.console, house.bots[0], BotChange(sources=given))
        key = await carrel.app.principals.authenticate(issued.clear)
        assert {hit.source for hit in (await searched(carrel, key)).hits} == given
    await carrel.app.bots.delete(house.tenant.console, house.bots[0])
    key = await carrel.app.principals.authenticate(issued.clear)
    assert (await searched(carrel, key)).hits == ()


async def test_a_limited_key_cannot_widen_itself(carrel: Stand, house: House) -> None:
    for limits in ({"sources": frozenset({house.sources[0]})}, {"bots": frozenset({house.bots[0]})}):
        key = await limited(house, **limits)
        attempts: list[Awaitable[Any]] = [
            carrel.app.keys.create(key, KeyWish("wider", frozenset({Scope.SEARCH}))),
            carrel.app.bots.create(key, NewBot("wider", frozenset())),
            carrel.app.bots.change(key, house.bots[0], BotChange(sources=frozenset(house.sources))),
            carrel.app.bots.delete(key, house.bots[0]),
            carrel.app.sources.create(key, NewSource("mine")),
            carrel.app.sources.change(key, house.sources[0], name="taken"),
            carrel.app.forgetting.source(key, house.sources[0]),
            carrel.app.keys.listed(key),
            carrel.app.keys.get(key, KeyId(uuid.uuid4())),
            carrel.app.keys.revoke(key, KeyId(uuid.uuid4())),
        ]
        for attempt in attempts:
            with pytest.raises(Denied) as refused:
                await attempt
            assert refused.value.code == "limited_key"


async def test_a_key_that_ends_makes_none_that_outlives_it(carrel: Stand, house: House) -> None:
    keys, end = carrel.app.keys, datetime.now(UTC) + timedelta(hours=1)
    parent = await keys.create(house.tenant.console, KeyWish("parent", frozenset(Scope), expires_at=end))
    maker = await carrel.app.principals.authenticate(parent.clear)
    assert (await keys.create(maker, KeyWish("child", frozenset(Scope)))).row.expires_at == end
    with pytest.raises(Invalid) as refused:
        await keys.create(maker, KeyWish("heir", frozenset(Scope), expires_at=end + timedelta(seconds=1)))
    assert (refused.value.code, refused.value.field) == ("outlives_its_maker", "expires_at")


async def test_a_key_is_revoked_whatever_it_owns(carrel: Stand, house: House) -> None:
    key = await house.tenant.key()
    owner = await carrel.app.principals.authenticate(key)
    assert owner.credential is not None
    await carrel.app.sources.create(owner, NewSource("mine", owner=owner.user))
    await carrel.app.keys.revoke(house.tenant.console, KeyId(owner.credential))
    with pytest.raises(Unauthenticated):
        await carrel.app.principals.authenticate(key)


async def test_a_key_gives_only_the_scopes_that_it_has(carrel: Stand, house: House) -> None:
    manager = await house.tenant.principal("manage")
    with pytest.raises(Denied):
        await carrel.app.keys.create(manager, KeyWish("more", frozenset({Scope.SEARCH})))
    for foreign in ({"sources": frozenset({SourceId(uuid.uuid4())})}, {"bots": frozenset({BotId(uuid.uuid4())})}):
        with pytest.raises(NotFound):
            await carrel.app.keys.create(house.tenant.console, KeyWish("x", frozenset({Scope.SEARCH}), **foreign))


async def test_an_operator_reads_no_content(carrel: Stand, house: House) -> None:
    operator = await carrel.app.principals.authenticate(
        (await carrel.app.keys.create_operator(house.tenant.console, name="op")).reveal()
    )
    app = carrel.app
    for attempt in (
        lambda: searched(carrel, operator),
        lambda: searched(carrel, operator, tenants=(house.tenant.slug,)),
        lambda: app.documents.get(operator, house.documents[0].id),
        lambda: app.sources.listed(operator),
        lambda: app.bots.listed(operator),
        lambda: app.keys.create(operator, KeyWish("x", frozenset({Scope.SEARCH}))),
        lambda: app.uploads.dock(operator, house.sources[0]),
    ):
        with pytest.raises(Denied):
            await attempt()


# What belongs to one person


async def test_a_private_source_is_its_owners_alone(carrel: Stand) -> None:
    app, house = carrel.app, await a_house(carrel, "Private")
    owner, colleague = await house.tenant.principal(), await house.tenant.principal()
    source = await app.sources.create(owner, NewSource("secrets", owner=owner.user))
    document = await _deliver(app.uploads, owner, source.id)
    assert document.chunks
    bot = await app.bots.create(owner, NewBot(f"bot {source.id}", frozenset({source.id, house.sources[0]})))

    assert source.id in {hit.source for hit in (await searched(carrel, owner)).hits}
    assert source.id in {hit.source for hit in (await searched(carrel, owner, bot=bot.id)).hits}
    assert source.id not in {hit.source for hit in (await searched(carrel, colleague)).hits}
    assert {hit.source for hit in (await searched(carrel, colleague, bot=bot.id)).hits} == {house.sources[0]}
    assert source.id not in {found.id for found in (await app.sources.listed(colleague)).items}
    assert document.id not in {found.id for found in (await app.documents.listed(colleague, Shelf())).items}
    assert source.id not in (await app.bots.get(colleague, bot.id)).sources
    for refused in (
        lambda: searched(carrel, colleague, sources=frozenset({source.id})),
        lambda: app.sources.get(colleague, source.id),
        lambda: app.documents.get(colleague, document.id),
        lambda: app.documents.download(colleague, document.id),
        lambda: app.uploads.dock(colleague, source.id),
        lambda: app.forgetting.document(colleague, document.id),
        lambda: app.forgetting.source(colleague, source.id),
        lambda: app.bots.create(colleague, NewBot("thief", frozenset({source.id}))),
        lambda: app.keys.create(colleague, KeyWish("thief", frozenset({Scope.SEARCH}), sources=frozenset({source.id}))),
    ):
        with pytest.raises(NotFound):
            await refused()

    await app.bots.change(colleague, bot.id, BotChange(sources=frozenset({house.sources[1]})))
    assert (await app.bots.get(owner, bot.id)).sources == {source.id, house.sources[1]}


async def test_a_chat_of_another_key_is_not_there(carrel: Stand, house: House, neighbour: House) -> None:
    chat = (await ask(carrel, house.reader, QUESTION)).chat
    await carrel.app.asking.allow(house.reader, ChatWish(QUESTION, chat=chat))
    for stranger in (await house.tenant.principal("ask"), house.tenant.console, neighbour.reader):
        with pytest.raises(NotFound):
            await carrel.app.asking.allow(stranger, ChatWish(QUESTION, chat=chat))
    with pytest.raises(NotFound):
        await carrel.app.asking.allow(house.reader, ChatWish(QUESTION, chat=ChatId(uuid.uuid4())))


# Foreign equals absent


async def test_foreign_and_absent_are_refused_in_the_same_words(carrel: Stand, house: House, neighbour: House) -> None:
    app, me = carrel.app, house.tenant.console
    theirs_key = (await app.keys.create(neighbour.tenant.console, KeyWish("k", frozenset({Scope.ASK})))).row.id
    pairs: list[tuple[Callable[[Any], Awaitable[Any]], Any, Any]] = [
        (lambda it: app.documents.get(me, it), neighbour.documents[0].id, DocumentId(uuid.uuid4())),
        (lambda it: app.documents.download(me, it), neighbour.documents[0].id, DocumentId(uuid.uuid4())),
        (lambda it: app.documents.describe(me, it, {}), neighbour.documents[0].id, DocumentId(uuid.uuid4())),
        (lambda it: app.forgetting.document(me, it), neighbour.documents[0].id, DocumentId(uuid.uuid4())),
        (lambda it: app.retries.one(me, it), neighbour.documents[0].id, DocumentId(uuid.uuid4())),
        (lambda it: app.sources.get(me, it), neighbour.sources[0], SourceId(uuid.uuid4())),
        (lambda it: app.sources.change(me, it, name="x"), neighbour.sources[0], SourceId(uuid.uuid4())),
        (lambda it: app.forgetting.source(me, it), neighbour.sources[0], SourceId(uuid.uuid4())),
        (lambda it: app.uploads.dock(me, it), neighbour.sources[0], SourceId(uuid.uuid4())),
        (lambda it: app.retries.many(me, Redrive(source=it)), neighbour.sources[0], SourceId(uuid.uuid4())),
        (lambda it: app.documents.listed(me, Shelf(source=it)), neighbour.sources[0], SourceId(uuid.uuid4())),
        (lambda it: app.bots.get(me, it), neighbour.bots[0], BotId(uuid.uuid4())),
        (lambda it: app.bots.delete(me, it), neighbour.bots[0], BotId(uuid.uuid4())),
        (lambda it: app.keys.get(me, it), theirs_key, KeyId(uuid.uuid4())),
        (lambda it: app.keys.revoke(me, it), theirs_key, KeyId(uuid.uuid4())),
    ]
    for attempt, foreign, absent in pairs:
        words = set()
        for identifier in (foreign, absent):
            with pytest.raises(NotFound) as refused:
                await attempt(identifier)
            words.add((type(refused.value), refused.value.code, refused.value.detail))
        assert len(words) == 1
    found = await searched(carrel, neighbour.reader)
    assert {hit.source for hit in found.hits} == set(neighbour.sources)
    assert await app.sources.named(me, "nothing of this name") is None
