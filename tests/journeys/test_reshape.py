"""A tenant that grows gets tables of its own while it is asked and fed; one that shrinks goes back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from carrel.adapters.postgres import Endpoint
from carrel.ask.pipeline import SearchWish
from carrel.domain.access import console
from carrel.domain.layout import Isolation, Thresholds
from carrel.ingest.sweep import Sweep
from support.quiet import a_quiet_stand, idle, without_delays
from support.raw import Raw, connected
from support.stand import Stand, a_worker
from support.tenants import SomeTenant, a_tenant

WORDS = ("heron", "bittern", "egret", "stork", "crane", "ibis", "spoonbill", "flamingo", "pelican", "cormorant")


@pytest.fixture(scope="module")
async def low(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    """A Carrel for which six chunks are many, and fewer than four are few."""
    home = tmp_path_factory.mktemp("reshape")
    async with a_quiet_stand(endpoint, "reshape", home, models=models) as stand:
        yield replace(stand, parts=replace(stand.parts, thresholds=Thresholds(promote_at=6, demote_below=4)))


@pytest.fixture(scope="module")
async def superuser(low: Stand) -> AsyncIterator[Raw]:
    async with connected(low.endpoint.superuser_url) as connection:
        yield connection


def text_of(word: str) -> str:
    return f"# The {word}\n\nThe {word} of the reservoir was ringed on a Tuesday.\n"


async def found(tenant: SomeTenant, word: str) -> list[str]:
    hits = (await tenant.app.asking.search(tenant.console, SearchWish(f"When was the {word} ringed?"))).hits
    return [hit.key for hit in hits]


async def has(low: Stand, tenant: SomeTenant, isolation: str) -> None:
    """Until it has."""
    async with asyncio.timeout(60):
        while (await low.app.tenants.find(console(None), tenant.slug)).isolation != isolation:  # noqa: ASYNC110 - the database has no event for it
            await asyncio.sleep(0.05)


async def test_growing_and_shrinking_is_not_noticed(low: Stand) -> None:
    """Asked without a pause: the document that was there first is found, once, before, during and after each switch."""
    tenant = await a_tenant(low.app, "Growing")
    source = (await tenant.source()).id
    asking, searches = True, 0

    async def ask() -> None:
        nonlocal searches
        while asking:
            keys = await found(tenant, WORDS[0])
            assert keys[0] == f"{WORDS[0]}.md"
            assert len(keys) == len(set(keys))
            searches += 1

    async with a_worker(low), without_delays(low):
        documents = {WORDS[0]: await tenant.put(source, f"{WORDS[0]}.md", text_of(WORDS[0]))}
        async with asyncio.TaskGroup() as group:
            group.create_task(ask())
            for word in WORDS[1:]:
                documents[word] = await tenant.put(source, f"{word}.md", text_of(word))
            await has(low, tenant, "dedicated")
            for word in WORDS:
                assert (await found(tenant, word))[0] == f"{word}.md"
            await tenant.put(source, "egret.md", text_of("egret") + "A second time in May.\n")
            for word in WORDS[3:]:
                await low.app.forgetting.document(tenant.console, documents[word].id)
            await has(low, tenant, "pooled")
            asking = False
        assert searches > 0
        assert sorted(await found(tenant, "heron")) == ["bittern.md", "egret.md", "heron.md"]


async def test_a_purge_leaves_nothing_in_own_tables(low: Stand, superuser: Raw) -> None:
    tenant = await low.app.tenants.create(console(None), "Own", isolation=Isolation.DEDICATED)
    some = SomeTenant(low.app, tenant)
    source = (await some.source()).id
    async with a_worker(low), without_delays(low):
        kept = await some.put(source, "kept.md", text_of("heron"))
        doomed = await some.put(source, "doomed.md", text_of("stork"))
        await low.app.forgetting.document(some.console, doomed.id)
        await idle(low)
    for kind in ("dense", "lexical"):
        rows = await superuser.fetch(f"select distinct version_id from carrel_own.{kind}_{some.id.hex}")
        assert [row["version_id"] for row in rows] == [kept.version]
    assert await found(some, "stork") == ["kept.md"]


async def test_a_tenant_can_be_dedicated_from_the_start_and_for_ever(low: Stand) -> None:
    tenant = await low.app.tenants.create(console(None), "From the start", isolation=Isolation.DEDICATED)
    assert tenant.isolation == "dedicated"
    some = SomeTenant(low.app, tenant)
    source = (await some.source()).id
    async with a_worker(low), without_delays(low):
        await some.put(source, "heron.md", text_of("heron"))
        await some.put(source, "twin.md", text_of("heron"))
        await idle(low)
    assert await found(some, "heron") == ["heron.md"]
    assert (await low.app.tenants.find(console(None), tenant.slug)).isolation == "dedicated"


async def test_what_was_asked_for_and_not_done_is_done_by_the_sweep(low: Stand, superuser: Raw) -> None:
    """The process died between making the tenant and making its tables."""
    tenant = await a_tenant(low.app, "Half made")
    await superuser.execute("update tenants set isolation_asked = 'dedicated' where id = $1", tenant.id)
    await Sweep(low.database, low.parts.base.blobs).run()
    async with a_worker(low):
        await has(low, tenant, "dedicated")
