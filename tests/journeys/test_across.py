"""Search over several tenants: each by its own walls, merged, and whatever fails is named."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from carrel.adapters.limits.memory import MemoryLimiter
from carrel.ask.across import Across, FoundAcross
from carrel.ask.pipeline import SearchWish
from carrel.domain.access import Principal, console, for_accounts
from carrel.domain.errors import Conflict, Denied, Invalid, NotFound, Throttled, Unavailable
from carrel.domain.ids import ChunkId, TenantId
from carrel.domain.limits import Limit, Rates, RouteClass
from carrel.domain.rights import Role
from carrel.store.bots import NewBot
from carrel.store.sources import NewSource
from carrel.store.transaction import Statement
from carrel.tenancy.limits import Gate
from carrel.wiring import Application
from support.liars import behind_a_liar, first, only
from support.people import Person, a_person
from support.raw import Raw, connected
from support.stand import Stand
from support.tenants import SomeTenant, a_tenant, pieces

QUERY = "How long is the refund period?"
TEXT = "# Refunds\n\nThe refund period of {name} is {days} days.\n\n# Boats\n\nThe boats of {name} float.\n"
_LEAVE = Statement("delete from memberships where tenant_id = :tenant and user_id = :user")
_DEAF = "update generations set embedder = 'another' where tenant_id = $1"
_HEARING = "update generations set embedder = $2 where tenant_id = $1"
_HOLD = "select pg_advisory_xact_lock(hashtextextended($1::text, 1))"
_CUT = """
    select bool_or(pg_terminate_backend(pid)) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock' and query like '%insert into audit_events%'
"""
_EVENTS = "select count(*) from audit_events where tenant_id = $1 and action = 'search.across_tenants'"


@dataclass(frozen=True)
class Scene:
    """Ada is a member of three tenants and not of the fourth; each has a document on refunds."""

    app: Application
    carrel: Stand
    places: tuple[SomeTenant, ...]
    foreign: SomeTenant
    superuser: Raw

    async def ada(self) -> Person:
        person = await a_person(self.carrel)
        for place, role in zip(self.places, (Role.OWNER, Role.EDITOR, Role.VIEWER), strict=True):
            await person.joins(place.id, role)
        return person

    async def chunks(self, tenant: TenantId) -> tuple[ChunkId, ...]:
        rows = await self.superuser.fetch("select id from chunks where tenant_id = $1", tenant)
        return tuple(ChunkId(row["id"]) for row in rows)

    async def events(self, tenant: TenantId) -> int:
        return int(await self.superuser.fetchval(_EVENTS, tenant))


@pytest.fixture(scope="module")
async def scene(carrel: Stand) -> AsyncIterator[Scene]:
    made = []
    for number, name in enumerate(("Amber", "Birch", "Coral", "Denim")):
        tenant = await a_tenant(carrel.app, name)
        source = await tenant.source("docs")
        await tenant.put(source.id, "refunds.md", TEXT.format(name=name, days=10 + number))
        made.append(tenant)
    async with connected(carrel.endpoint.superuser_url) as superuser:
        yield Scene(carrel.app, carrel, tuple(made[:3]), made[3], superuser)


def a_wish(*tenants: SomeTenant | str, **more: object) -> SearchWish:
    names = tuple(one if isinstance(one, str) else one.slug for one in tenants)
    return SearchWish(QUERY, tenants=names, **more)  # type: ignore[arg-type]


async def across(scene: Scene, principal: Principal, wish: SearchWish) -> FoundAcross:
    found = await scene.app.across.search(principal, wish)
    assert isinstance(found, FoundAcross)
    return found


async def test_each_hit_names_its_tenant_and_the_best_come_first(scene: Scene) -> None:
    principal = await (await scene.ada()).principal()
    found = await across(scene, principal, a_wish(*scene.places))
    assert {hit.tenant for hit in found.hits} == {place.id for place in scene.places}
    confidences = [hit.confidence for hit in found.hits]
    assert confidences == sorted(confidences, reverse=True)
    assert found.partial == ()
    own = {chunk for place in scene.places for chunk in await scene.chunks(place.id)}
    assert {hit.chunk for hit in found.hits} <= own


async def test_it_is_what_one_search_after_the_other_would_show(scene: Scene) -> None:
    person = await scene.ada()
    alone = {}
    for place in scene.places:
        hits = (await scene.app.across.search(await person.principal(place.id), SearchWish(QUERY, limit=3))).hits
        alone.update({hit.chunk: hit.confidence for hit in hits})
    together = await across(scene, await person.principal(), a_wish(*scene.places, limit=100))
    shown = {hit.chunk: hit.confidence for hit in together.hits}
    assert {chunk: shown[chunk] for chunk in alone} == alone
    few = await across(scene, await person.principal(), a_wish(*scene.places, limit=2))
    assert [hit.chunk for hit in few.hits] == [hit.chunk for hit in together.hits[:2]]


async def test_each_tenant_concerned_and_no_other_hears_of_it(scene: Scene) -> None:
    principal = await (await scene.ada()).principal()
    one, _, three = scene.places
    before = [await scene.events(place.id) for place in (*scene.places, scene.foreign)]
    await across(scene, principal, a_wish(one, three))
    after = [await scene.events(place.id) for place in (*scene.places, scene.foreign)]
    assert [later - earlier for later, earlier in zip(after, before, strict=True)] == [1, 0, 1, 0]
    row = await scene.superuser.fetchrow(
        "select actor_id, result, facts::text as facts from audit_events"
        " where tenant_id = $1 and action = 'search.across_tenants' order by created_at desc limit 1",
        three.id,
    )
    assert row is not None
    assert (row["actor_id"], row["result"], row["facts"]) == (principal.user, "done", '{"tenants": 2}')


async def test_a_foreign_or_absent_tenant_refuses_the_whole(scene: Scene) -> None:
    principal = await (await scene.ada()).principal()
    one, before = scene.places[0], await scene.events(scene.places[0].id)
    for name in (scene.foreign.slug, str(scene.foreign.id), str(uuid.uuid4()), "nothing", "*", "' or 1=1 --"):
        with pytest.raises(NotFound):
            await scene.app.across.search(principal, a_wish(one, name))
    assert await scene.events(one.id) == before


async def test_whoever_left_one_of_them_searches_the_others(scene: Scene) -> None:
    person = await scene.ada()
    one, two, three = scene.places
    await across(scene, await person.principal(), a_wish(one, two, three))
    async with scene.carrel.database.transaction(for_accounts(tenant=two.id)) as tx:
        await tx.run(_LEAVE, user=person.id)
    with pytest.raises(NotFound):
        await scene.app.across.search(await person.principal(), a_wish(one, two, three))
    found = await across(scene, await person.principal(), a_wish(one, three))
    assert {hit.tenant for hit in found.hits} == {one.id, three.id}


async def test_a_tenant_that_is_named_twice_is_searched_once(scene: Scene) -> None:
    principal = await (await scene.ada()).principal()
    one, two = scene.places[:2]
    before = await scene.events(one.id)
    found = await across(scene, principal, a_wish(one, str(one.id), one.slug.upper(), str(one.id).upper(), two))
    assert await scene.events(one.id) == before + 1
    assert len({hit.chunk for hit in found.hits}) == len(found.hits)


async def test_twenty_tenants_at_once_and_no_more(scene: Scene) -> None:
    person = await scene.ada()
    more = [await scene.app.tenants.create(console(None), "More", slug=f"m-{uuid.uuid4().hex}") for _ in range(18)]
    for tenant in more:
        await person.joins(tenant.id, Role.VIEWER)
    names = [*(place.slug for place in scene.places), *(tenant.slug for tenant in more)]
    principal = await person.principal()
    found = await across(scene, principal, a_wish(*names[:20]))
    assert {hit.tenant for hit in found.hits} == {place.id for place in scene.places}
    with pytest.raises(Invalid) as refusal:
        await scene.app.across.search(principal, a_wish(*names))
    assert (refusal.value.code, refusal.value.field) == ("too_long", "tenants")


async def test_no_tenant_named_finds_nothing_and_none_chosen_is_ambiguous(scene: Scene) -> None:
    principal = await (await scene.ada()).principal()
    assert (await across(scene, principal, SearchWish(QUERY, tenants=()))).hits == ()
    with pytest.raises(Conflict) as refusal:
        await scene.app.across.search(principal, SearchWish(QUERY))
    assert refusal.value.code == "tenant_ambiguous"


async def test_a_bot_and_sources_are_of_one_tenant(scene: Scene) -> None:
    principal = await (await scene.ada()).principal()
    one, two = scene.places[:2]
    (source,) = (await scene.app.sources.listed(one.console, limit=50)).items
    bot = await scene.app.bots.create(one.console, NewBot(f"bot {uuid.uuid4()}", frozenset({source.id})))
    for more, field in (({"bot": bot.id}, "bot_id"), ({"sources": frozenset({source.id})}, "source_ids")):
        with pytest.raises(Invalid) as refusal:
            await scene.app.across.search(principal, a_wish(one, two, **more))
        assert (refusal.value.code, refusal.value.field) == ("one_tenant_only", field)
        assert (await across(scene, principal, a_wish(one, **more))).hits
        with pytest.raises(NotFound):
            await scene.app.across.search(principal, a_wish(two, **more))


@pytest.mark.parametrize("wish", [a_wish("x", limit=0), a_wish("x", limit=101), SearchWish(" ", tenants=("x",))])
async def test_what_is_refused_in_one_tenant_is_refused_before_any(scene: Scene, wish: SearchWish) -> None:
    principal = await (await scene.ada()).principal()
    one, two = scene.places[:2]
    before = await scene.events(one.id)
    with pytest.raises(Invalid):
        await scene.app.across.search(principal, replace(wish, tenants=(one.slug, two.slug)))
    assert await scene.events(one.id) == before


# Tenants that fail


async def test_a_tenant_whose_index_refuses_is_named(scene: Scene) -> None:
    principal = await (await scene.ada()).principal()
    one, two, three = scene.places
    embedder = await scene.superuser.fetchval("select embedder from generations where tenant_id = $1", two.id)
    await scene.superuser.execute(_DEAF, two.id)
    try:
        found = await across(scene, principal, a_wish(one, two, three))
        assert [(missed.tenant, missed.code) for missed in found.partial] == [(two.id, "generation_mismatch")]
        assert {hit.tenant for hit in found.hits} == {one.id, three.id}
        with pytest.raises(Unavailable) as refusal:
            await scene.app.across.search(principal, a_wish(two))
        assert refusal.value.code == "generation_mismatch"
    finally:
        await scene.superuser.execute(_HEARING, two.id, embedder)


async def test_a_tenant_whose_connection_is_cut_is_named(scene: Scene) -> None:
    principal = await (await scene.ada()).principal()
    one, two, three = scene.places
    async with scene.superuser.transaction():  # somebody holds its log: nothing is read of it that is not written down
        await scene.superuser.execute(_HOLD, str(two.id))
        searching = asyncio.create_task(across(scene, principal, a_wish(one, two, three)))
        async with asyncio.timeout(120), connected(scene.carrel.endpoint.superuser_url) as other:
            while not await other.fetchval(_CUT):  # noqa: ASYNC110 - it waits in the database
                await asyncio.sleep(0.01)
        found = await searching
    assert [(missed.tenant, missed.code) for missed in found.partial] == [(two.id, "database_unavailable")]
    assert {hit.tenant for hit in found.hits} == {one.id, three.id}


async def test_a_tenant_that_takes_too_long_is_given_up(scene: Scene) -> None:
    principal = await (await scene.ada()).principal()
    one, two, _ = scene.places
    hasty = Across(scene.carrel.database, scene.app.asking, gate=scene.app.gate, patience=0.1)
    async with scene.superuser.transaction():
        for place in (one, two):
            await scene.superuser.execute(_HOLD, str(place.id))
        with pytest.raises(Unavailable) as refusal:
            await hasty.search(principal, a_wish(one, two))
    assert refusal.value.code == "search_timeout"


# Walls


@pytest.mark.parametrize("lie", [first, only])
async def test_an_index_that_lies_shows_nothing_of_other_tenants(scene: Scene, lie: object) -> None:
    """Neither of one outside the rights, nor of one that was not asked for, nor as another tenant's own."""
    principal = await (await scene.ada()).principal()
    one, two, three = scene.places
    app, liar = behind_a_liar(scene.carrel)
    secrets = (*await scene.chunks(scene.foreign.id), *await scene.chunks(three.id), *await scene.chunks(one.id))
    liar.lie = lie(secrets)  # type: ignore[operator]
    found = await app.across.search(principal, a_wish(one, two, limit=100))
    assert isinstance(found, FoundAcross)
    of = {chunk: place.id for place in (one, two) for chunk in await scene.chunks(place.id)}
    assert all(of.get(hit.chunk) == hit.tenant for hit in found.hits)
    assert {asked.grant.tenant for asked in liar.asked} == {one.id, two.id}
    assert {asked.grant.user for asked in liar.asked} == {principal.user}


async def test_private_sources_of_others_stay_private(scene: Scene) -> None:
    one, two = scene.places[:2]
    other = await one.principal()
    diary = await scene.app.sources.create(other, NewSource(f"diary {uuid.uuid4()}", owner=other.user))
    dock = await scene.app.uploads.dock(other, diary.id)
    text = b"# Refunds\n\nThe secret refund period is 99 days."
    await scene.app.uploads.settled(
        dock, await scene.app.uploads.deliver(dock, "diary.md", pieces(text), declared=None), seconds=30
    )
    principal = await (await scene.ada()).principal()
    found = await across(scene, principal, a_wish(one, two, limit=100))
    assert diary.id not in {hit.source for hit in found.hits}


async def test_a_token_of_one_tenant_and_a_key_reach_no_other(scene: Scene) -> None:
    person, (one, two) = await scene.ada(), scene.places[:2]
    for principal in (await person.principal(one.id), await one.principal("search")):
        assert (await scene.app.across.search(principal, a_wish(one))).hits
        with pytest.raises(NotFound):
            await scene.app.across.search(principal, a_wish(one, two))


async def test_no_role_gives_no_search(scene: Scene) -> None:
    stranger = await (await a_person(scene.carrel)).principal()
    with pytest.raises(NotFound):
        await scene.app.across.search(stranger, a_wish(scene.places[0]))
    with pytest.raises(Denied):
        await scene.app.across.search(stranger, SearchWish(QUERY))


async def test_the_console_searches_several_too(scene: Scene) -> None:
    members = [console(place.id) for place in (*scene.places, scene.foreign)]
    found = await scene.app.across.search_each(members, SearchWish(QUERY, limit=20))
    assert {hit.tenant for hit in found.hits} == {member.tenant for member in members}


async def test_a_search_over_several_counts_in_each_of_them(scene: Scene) -> None:
    """Who does not choose a tenant does no more in it than who has chosen it."""
    principal, (one, two, three) = await (await scene.ada()).principal(), scene.places
    rates = Rates(together={RouteClass.SEARCH: Limit(2, 3600)})
    gate = Gate(scene.carrel.database, MemoryLimiter(), rates)
    limited = Across(scene.carrel.database, scene.app.asking, gate=gate)
    await limited.search(principal, a_wish(one, two))
    await limited.search(principal, a_wish(one))
    with pytest.raises(Throttled):
        await limited.search(principal, a_wish(one, three))
    await limited.search(principal, a_wish(two, three))
