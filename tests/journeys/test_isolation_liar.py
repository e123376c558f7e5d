"""The last word is the database's: an index that lies costs recall, and never secrecy."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
from structlog.testing import capture_logs

from carrel.ask.pipeline import ChatWish, Done, Found, SearchWish
from carrel.domain.access import Principal
from carrel.domain.answers import Hit, Remembered
from carrel.domain.ids import BotId, ChunkId, DocumentId, SourceId
from carrel.store.bots import NewBot
from carrel.wiring import Application
from support.liars import Lie, behind_a_liar, first, only
from support.raw import Raw, connected
from support.stand import Stand
from support.tenants import SomeTenant, a_tenant, pieces

QUESTION = "Which port does the payment service use?"
MANY = 30


@dataclass(frozen=True)
class Scene:
    """Mine has a bot of its own with thirty documents, a second bot with one, and a neighbour who has one as well."""

    mine: SomeTenant
    asker: Principal
    bot: BotId
    source: SourceId
    other: SourceId
    foreign: tuple[ChunkId, ...]
    elsewhere: tuple[ChunkId, ...]
    own: tuple[ChunkId, ...]
    superuser: Raw


@pytest.fixture(scope="module")
async def scene(carrel: Stand) -> AsyncIterator[Scene]:
    mine, theirs = await a_tenant(carrel.app, "Mine"), await a_tenant(carrel.app, "Theirs")
    source, other, foreign = await mine.source("a"), await mine.source("b"), await theirs.source("c")
    bot = await carrel.app.bots.create(mine.console, NewBot("A", frozenset({source.id})))
    await carrel.app.bots.create(mine.console, NewBot("B", frozenset({other.id})))
    await fill(mine, source.id)
    await mine.put(other.id, "payments.md", "# Payment service\n\nOTHERBOT: the payment service uses port 9999.\n")
    await theirs.put(foreign.id, "payments.md", "# Payment service\n\nFOREIGN: the payment service uses port 6666.\n")
    async with connected(carrel.endpoint.superuser_url) as superuser:
        yield Scene(
            mine=mine,
            asker=await mine.principal(),
            bot=bot.id,
            source=source.id,
            other=other.id,
            foreign=await chunks_of(superuser, foreign.id),
            elsewhere=await chunks_of(superuser, other.id),
            own=await chunks_of(superuser, source.id),
            superuser=superuser,
        )


async def fill(tenant: SomeTenant, source: SourceId) -> None:
    dock = await tenant.app.uploads.dock(tenant.console, source)
    deliveries = []
    for number in range(MANY):
        text = f"# Payment service {number}\n\nMINE: payment service {number} uses port {7000 + number}.\n".encode()
        deliveries.append(await tenant.app.uploads.deliver(dock, f"{number}.md", pieces(text), declared=None))
    for delivery in deliveries:
        await tenant.app.uploads.settled(dock, delivery, seconds=30)


async def chunks_of(superuser: Raw, source: SourceId) -> tuple[ChunkId, ...]:
    rows = await superuser.fetch("select id from chunks where source_id = $1 order by id", source)
    assert rows
    return tuple(ChunkId(row["id"]) for row in rows)


def noise(count: int) -> list[ChunkId]:
    return [ChunkId(uuid.uuid4()) for _ in range(count)]


async def searched(carrel: Stand, scene: Scene, lie: Lie, *, limit: int = 10) -> tuple[Found, list[str]]:
    """What bot A's reader is shown, and the names of the events that were logged."""
    app, liar = behind_a_liar(carrel)
    liar.lie = lie
    with capture_logs() as logs:
        found = await app.asking.search(scene.asker, SearchWish(QUESTION, bot=scene.bot, limit=limit))
    assert liar.asked
    return found, [entry["event"] for entry in logs]


def assert_own(found: Found, scene: Scene) -> None:
    assert all("MINE" in hit.text for hit in found.hits)
    assert {hit.source for hit in found.hits} <= {scene.source}
    assert {hit.tenant for hit in found.hits} <= {scene.mine.id}
    assert not any(word in hit.text for hit in found.hits for word in ("FOREIGN", "OTHERBOT"))


async def test_an_honest_index_drops_and_alarms_nothing(carrel: Stand, scene: Scene) -> None:
    found, events = await searched(carrel, scene, lambda honest, _: honest)
    assert (len(found.hits), found.dropped, found.alarms) == (10, 0, 0)
    assert "index.unknown_ids" not in events
    assert_own(found, scene)


async def test_ids_of_another_tenant_show_nothing_and_raise_the_alarm(carrel: Stand, scene: Scene) -> None:
    found, events = await searched(carrel, scene, first(scene.foreign))
    assert_own(found, scene)
    assert (len(found.hits), found.dropped, found.alarms) == (10, len(scene.foreign), len(scene.foreign))
    assert events.count("index.unknown_ids") == 1


async def test_an_index_with_nothing_but_foreign_ids_shows_nothing(carrel: Stand, scene: Scene) -> None:
    found, events = await searched(carrel, scene, only(scene.foreign))
    assert found.hits == ()
    assert found.alarms == len(scene.foreign)
    assert "index.unknown_ids" in events


async def test_ids_of_another_bots_source_show_nothing_and_are_counted(carrel: Stand, scene: Scene) -> None:
    found, _ = await searched(carrel, scene, first(scene.elsewhere))
    assert_own(found, scene)
    assert (len(found.hits), found.dropped) == (10, len(scene.elsewhere))


async def test_random_ids_raise_the_alarm_also_when_they_are_new_each_time(carrel: Stand, scene: Scene) -> None:
    def lie(honest: list[Hit], limit: int) -> list[Hit]:
        return [*(Hit(chunk, 1.0) for chunk in noise(40)), *honest][:limit]

    found, events = await searched(carrel, scene, lie)
    assert_own(found, scene)
    assert len(found.hits) == 10
    assert found.alarms > 0
    assert "index.unknown_ids" in events


async def test_ids_of_a_replaced_version_show_nothing(carrel: Stand, scene: Scene) -> None:
    """Until their entries are purged an honest index may still return them: dropped, but no alarm."""
    source = await scene.mine.source()
    bot = await carrel.app.bots.create(scene.mine.console, NewBot(f"bot {source.id}", frozenset({source.id})))
    await scene.mine.put(source.id, "payments.md", "# Payment service\n\nMINE: it was port 1111 (OUTDATED).\n")
    old = await chunks_of(scene.superuser, source.id)
    await scene.mine.put(source.id, "payments.md", "# Payment service\n\nMINE: it is port 2222.\n")
    its = replace(scene, bot=bot.id, source=source.id)

    await purged_everywhere(scene)
    await set_purged(scene, done=False)
    waiting, _ = await searched(carrel, its, first(old))
    await set_purged(scene, done=True)
    purged, events = await searched(carrel, its, first(old))

    for found in (waiting, purged):
        assert ["2222" in hit.text for hit in found.hits] == [True]
        assert found.dropped == len(old)
    assert (waiting.alarms, purged.alarms) == (0, len(old))
    assert "index.unknown_ids" in events


async def purged_everywhere(scene: Scene) -> None:
    waiting = "select exists (select from jobs where tenant_id = $1 and kind = 'purge')"
    for _ in range(1_000):
        if not await scene.superuser.fetchval(waiting, scene.mine.id):
            return
        await asyncio.sleep(0.02)
    raise TimeoutError


async def set_purged(scene: Scene, *, done: bool) -> None:
    completed = "now()" if done else "null"
    await scene.superuser.execute(
        f"update erasure_receipts set completed_at = {completed} where tenant_id = $1", scene.mine.id
    )


async def test_chunks_that_are_not_live_are_dropped_without_an_alarm(carrel: Stand, scene: Scene) -> None:
    """They are the tenant's own and its reader may see their source: stale, not foreign."""
    source = await scene.mine.source()
    bot = await carrel.app.bots.create(scene.mine.console, NewBot(f"bot {source.id}", frozenset({source.id})))
    document = await scene.mine.put(source.id, "p.md", "# Payment service\n\nMINE: payment service, port 1.\n")
    its = replace(scene, bot=bot.id, source=source.id)
    seen, _ = await searched(carrel, its, lambda honest, _: honest)
    assert len(seen.hits) == 1
    for hide in ("live_version_id = null", f"live_version_id = '{document.version}', deleted_at = now()"):
        await scene.superuser.execute(f"update documents set {hide} where id = $1", document.id)
        found, events = await searched(carrel, its, lambda honest, _: honest)
        assert (found.hits, found.dropped, found.alarms) == ((), 1, 0), hide
        assert "index.unknown_ids" not in events


async def test_chunks_of_another_generation_are_dropped(carrel: Stand, scene: Scene) -> None:
    source = await scene.mine.source()
    bot = await carrel.app.bots.create(scene.mine.console, NewBot(f"bot {source.id}", frozenset({source.id})))
    await scene.mine.put(source.id, "p.md", "# Payment service\n\nMINE: payment service, port 1.\n")
    await scene.superuser.execute(
        "with g as (insert into generations (tenant_id, id, embedder, dimension, analyzer, state)"
        " values ($1, gen_random_uuid(), 'old', 384, 'old', 'retired') returning id)"
        " update chunks set generation_id = (select id from g) where source_id = $2",
        scene.mine.id,
        source.id,
    )
    found, _ = await searched(carrel, replace(scene, bot=bot.id), lambda honest, _: honest)
    assert (found.hits, found.dropped, found.alarms) == ((), 1, 0)


async def test_the_limit_is_filled_when_foreign_ids_stand_before_the_real_ones(carrel: Stand, scene: Scene) -> None:
    lies = [*scene.foreign, *scene.elsewhere, *noise(95)]
    found, _ = await searched(carrel, scene, first(lies), limit=25)
    assert_own(found, scene)
    assert len({hit.chunk for hit in found.hits}) == 25


async def test_the_looks_are_bounded_when_nothing_real_comes(carrel: Stand, scene: Scene) -> None:
    app, liar = behind_a_liar(carrel)
    liar.lie = lambda _, limit: [Hit(chunk, 1.0) for chunk in noise(limit)]
    with capture_logs():
        found = await app.asking.search(scene.asker, SearchWish(QUESTION, bot=scene.bot))
    assert found.hits == ()
    assert len(liar.asked) <= 2 * 4
    assert max(asked.limit for asked in liar.asked) <= 2_000


async def test_a_list_without_end_is_cut_at_what_was_asked_for(carrel: Stand, scene: Scene) -> None:
    many = [Hit(chunk, 1.0) for chunk in noise(200_000)]
    found, _ = await searched(carrel, scene, lambda honest, _: [*many, *honest])
    assert found.dropped <= 2 * 2_000
    assert_own(found, scene)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf"), 1e300, -1e300, 0.0])
async def test_scores_that_are_none_neither_show_foreign_text_nor_break(
    carrel: Stand, scene: Scene, score: float
) -> None:
    def lie(honest: list[Hit], limit: int) -> list[Hit]:
        return [Hit(hit.chunk, score) for hit in [Hit(scene.foreign[0], 1.0), *honest]][:limit]

    found, _ = await searched(carrel, scene, lie)
    assert_own(found, scene)
    assert len(found.hits) == 10
    assert all(0 <= hit.score <= 1 and 0 <= hit.confidence <= 1 for hit in found.hits)


async def test_an_id_that_comes_twice_is_shown_once(carrel: Stand, scene: Scene) -> None:
    found, _ = await searched(carrel, scene, lambda honest, _: [hit for hit in honest for _ in range(3)], limit=20)
    assert len(found.hits) == len({hit.chunk for hit in found.hits}) == 20
    assert (found.dropped, found.alarms) == (0, 0)


async def test_nothing_of_a_lie_is_answered_cited_or_remembered(carrel: Stand, scene: Scene) -> None:
    app, liar = behind_a_liar(carrel)
    for lie in (first(scene.foreign), only(scene.foreign), first(scene.elsewhere), only(scene.elsewhere)):
        liar.lie = lie
        with capture_logs():
            remembered = await chatted(app, scene)
        answer = remembered.answer
        shown = [answer.text, *answer.guidance, *(citation.excerpt for citation in answer.citations)]
        shown += [passage.text for passage in answer.evidence]
        assert not any(word in text for text in shown for word in ("FOREIGN", "OTHERBOT", "6666", "9999"))
        cited = "select document_id from citations where message_id = $1"
        documents = {DocumentId(row["document_id"]) for row in await scene.superuser.fetch(cited, remembered.message)}
        sources = "select distinct source_id from documents where id = any ($1)"
        assert {row["source_id"] for row in await scene.superuser.fetch(sources, list(documents))} <= {scene.source}


async def chatted(app: Application, scene: Scene) -> Remembered:
    allowed = await app.asking.allow(scene.asker, ChatWish(QUESTION, bot=scene.bot))
    events = [event async for event in app.asking.chat(allowed)]
    done = events[-1]
    assert isinstance(done, Done)
    return done.remembered


@pytest.mark.parametrize("leg", ["dense", "lexical"])
async def test_one_leg_that_lies_is_seen(carrel: Stand, scene: Scene, leg: str) -> None:
    app, liar = behind_a_liar(carrel, dense=leg == "dense", lexical=leg == "lexical")
    liar.lie = first(scene.foreign)
    with capture_logs():
        found = await app.asking.search(scene.asker, SearchWish(QUESTION, bot=scene.bot))
    assert_own(found, scene)
    assert (len(found.hits), found.alarms) == (10, len(scene.foreign))
