"""Batches: the files of one request become documents some at a time, and nothing differs from bringing each alone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from carrel.adapters.postgres import Endpoint
from carrel.domain.access import console
from carrel.domain.audit import Act
from carrel.domain.errors import NotFound, Throttled, Unavailable
from carrel.domain.ids import SourceId
from carrel.domain.library import Duplicates, Outcome
from carrel.domain.quotas import Quota, Resource
from carrel.ingest.upload import SMALL, Brought, Delivery, Dock
from carrel.store.documents import Shelf
from carrel.store.sources import NewSource
from carrel.tenancy.quotas import Period
from support.quiet import a_quiet_stand, drained
from support.raw import connected
from support.stand import Stand
from support.tally import assert_whole, files_of, tally
from support.tenants import SomeTenant, a_tenant, pieces

Files = Sequence[tuple[str, bytes]]

_ROWS = """
    select d.key, d.title, d.deliveries, d.source_id is not null as placed, d.owner_id, d.deleted_at, t.key as same_as,
           v.state, v.stage, v.progress, v.attempts, v.size, v.media_type, v.fingerprint, v.requested_by,
           (select array_agg((r.number, r.fingerprint, r.size, r.media_type, r.brought_by)::text order by r.number)
            from version_records r where r.tenant_id = d.tenant_id and r.document_id = d.id) as records,
           (select count(*) from jobs j where j.tenant_id = d.tenant_id and j.subject_id = v.id) as jobs
    from documents d
    left join document_versions v on v.tenant_id = d.tenant_id and v.id = d.newest_version_id
    left join documents t on t.tenant_id = d.tenant_id and t.id = d.same_as
    where d.tenant_id = $1 order by d.key
"""
_LEDGER = """
    select kind, events, bytes, (select (documents_used, bytes_used, bytes_held)::text from quotas where tenant_id = $1)
    from usage_days where tenant_id = $1 order by kind
"""
_TURNS = """
    select d.key, j.turn - min(j.turn) over () as turn from jobs j
    join document_versions v on v.tenant_id = j.tenant_id and v.id = j.subject_id
    join documents d on d.tenant_id = v.tenant_id and d.id = v.document_id
    where j.tenant_id = $1 order by j.turn
"""
_CUT = """
    select bool_or(pg_terminate_backend(pid)) from pg_stat_activity
    where datname = current_database() and wait_event = $1
"""
_SLOW_COMMIT = """
    create function public.sleep_at_the_commit() returns trigger language plpgsql as
        $$ begin perform pg_sleep(60); return null; end $$;
    create constraint trigger sleepy after insert on document_versions deferrable initially deferred
        for each row execute function public.sleep_at_the_commit();
"""


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with a_quiet_stand(endpoint, "batches", tmp_path_factory.mktemp("batches"), models=models) as standing:
        yield standing


def some_files(first: int, most: int, *, said: str = "is new") -> list[tuple[str, bytes]]:
    return [
        (f"folder/{n:03}.md", f"# Page {n}\n\nWhat stands on page {n} {said}.\n".encode()) for n in range(first, most)
    ]


async def a_dock(tenant: SomeTenant, source: SourceId) -> Dock:
    return await tenant.app.uploads.dock(await tenant.principal(), source)


async def held(tenant: SomeTenant, dock: Dock, files: Files, *, room: int = SMALL) -> list[Brought]:
    uploads = tenant.app.uploads
    return [await uploads.take(dock, name, pieces(text), declared=None, room=room) for name, text in files]


async def together(tenant: SomeTenant, source: SourceId, files: Files, *, room: int = SMALL) -> list[Delivery]:
    dock = await a_dock(tenant, source)
    return await tenant.app.uploads.commit_all(dock, await held(tenant, dock, files, room=room))


async def alone(tenant: SomeTenant, source: SourceId, files: Files) -> list[Delivery]:
    uploads, dock = tenant.app.uploads, await a_dock(tenant, source)
    return [await uploads.deliver(dock, name, pieces(text), declared=None) for name, text in files]


async def rows(stand: Stand, statement: str, tenant: SomeTenant) -> list[dict[str, Any]]:
    async with connected(stand.endpoint.superuser_url) as connection:
        return [dict(row) for row in await connection.fetch(statement, tenant.id)]


def told(deliveries: Sequence[Delivery]) -> list[tuple[object, ...]]:
    """What was said of each file, with names in place of ids."""
    names = {delivery.document: delivery.key for delivery in reversed(deliveries)}
    return [
        (one.key, one.outcome, one.version is not None, names.get(one.same_as), one.sha256.hex()) for one in deliveries
    ]


@pytest.mark.parametrize("room", [SMALL, 0], ids=["held in memory", "staged on the disk"])
async def test_nothing_differs_from_bringing_each_alone(quiet: Stand, room: int) -> None:
    stored = [*some_files(0, 4, said="was there"), ("gone.md", b"# Gone\n\nIt will be deleted.\n")]
    files = [
        *some_files(2, 30),  # two of them are known, and replaced
        ("copy.md", some_files(20, 21)[0][1]),  # a twin of one that comes with it
        *some_files(0, 1, said="was there"),  # unchanged
        ("twin.md", some_files(1, 2, said="was there")[0][1]),  # a twin of one that was there
        ("gone.md", b"# Gone\n\nIt comes again.\n"),
        *some_files(30, 50),
    ]
    one, other = await a_tenant(quiet.app, "Together"), await a_tenant(quiet.app, "Alone")
    sources = [(await tenant.source()).id for tenant in (one, other)]
    for tenant, source in zip((one, other), sources, strict=True):
        *_, doomed = await alone(tenant, source, stored)
        await drained(quiet)
        assert doomed.document is not None
        await quiet.app.forgetting.document(tenant.console, doomed.document)
        await drained(quiet)

    at_once = await together(one, sources[0], files, room=room)
    one_by_one = await alone(other, sources[1], files)

    assert told(at_once) == told(one_by_one)
    assert await rows(quiet, _ROWS, one) == await rows(quiet, _ROWS, other)
    assert await rows(quiet, _LEDGER, one) == await rows(quiet, _LEDGER, other)
    await drained(quiet)
    for tenant in (one, other):
        assert_whole(await tally(quiet, tenant.id), documents=53)


async def test_what_is_plainly_new_comes_in_few_transactions_and_in_its_order(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    files = some_files(0, 40)
    files[3] = ("large.md", b"# Large\n\n" + b"It is large. " * 4_000)

    await together(acme, source, files)

    async with connected(quiet.endpoint.superuser_url) as connection:
        made = await connection.fetchval(
            "select count(distinct xmin::text) from document_versions where tenant_id = $1", acme.id
        )
    assert made == 2
    shelf = await acme.app.documents.listed(acme.console, Shelf(), limit=50, cursor=None)
    assert [document.key for document in shelf.items] == [name for name, _ in reversed(files)], "newest first"
    turns = await rows(quiet, _TURNS, acme)
    assert [row["key"] for row in turns] == [name for name, _ in files]
    paid = [after["turn"] - before["turn"] for before, after in pairwise(turns)]
    assert paid == [1, 1, 1, 1 + len(files[3][1]) // 16_384, *[1] * 35], "the large one is paid by the next"
    await drained(quiet)


async def test_one_event_tells_of_all(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    await together(acme, source, [*some_files(0, 30), ("copy.md", some_files(0, 1)[0][1])])

    async with connected(quiet.endpoint.superuser_url) as connection:
        events = await connection.fetch(
            "select facts from audit_events where tenant_id = $1 and action = $2", acme.id, Act.DOCUMENTS_DELIVERED
        )
    assert len(events) == 1
    await drained(quiet)


@pytest.mark.parametrize("seed", range(4))
async def test_requests_with_the_same_names_at_the_same_time_hold_nobody_up(
    quiet: Stand, acme: SomeTenant, source: SourceId, seed: int
) -> None:
    batches = [some_files(0, 30, said=f"was said by {n}") for n in range(4)]
    for batch in batches:
        Random(seed).shuffle(batch)

    async with asyncio.timeout(60):
        brought = await asyncio.gather(*(together(acme, source, batch) for batch in batches))

    outcomes = [delivery.outcome for deliveries in brought for delivery in deliveries]
    assert outcomes.count(Outcome.CREATED) == 30
    assert outcomes.count(Outcome.REPLACED) == 90
    await drained(quiet)
    assert_whole(await tally(quiet, acme.id), documents=30)


async def test_a_quota_that_has_not_room_for_all_takes_the_first(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    await quiet.app.allowances.limit(console(None), acme.id, {Resource.DOCUMENTS: Quota(hard=25)})

    brought = await together(acme, source, some_files(0, 40))

    assert [delivery.outcome for delivery in brought] == [Outcome.CREATED] * 25 + [Outcome.REJECTED] * 15
    assert {delivery.problem.code for delivery in brought if delivery.problem} == {"quota_exceeded"}
    report = await quiet.app.allowances.usage(acme.console, Period())
    assert next(level for level in report.levels if level.resource is Resource.DOCUMENTS).used == 25
    assert len(files_of(quiet, acme.id)) == 25
    with pytest.raises(Throttled):
        await together(acme, source, some_files(50, 60))
    assert len(files_of(quiet, acme.id)) == 25
    await drained(quiet)


async def test_a_source_that_rejects_twins_takes_one_of_each(quiet: Stand, acme: SomeTenant) -> None:
    strict = await quiet.app.sources.create(acme.console, NewSource("strict", duplicates=Duplicates.REJECT))
    files = some_files(0, 10)

    brought = await together(acme, strict.id, [*files, *((f"copy of {name}", text) for name, text in files)])

    assert [delivery.outcome for delivery in brought] == [Outcome.CREATED] * 10 + [Outcome.DUPLICATE] * 10
    assert [delivery.same_as for delivery in brought[10:]] == [delivery.document for delivery in brought[:10]]
    assert len(files_of(quiet, acme.id)) == 10
    await drained(quiet)


async def test_a_source_that_is_deleted_meanwhile_takes_none_and_keeps_no_bytes(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    dock = await a_dock(acme, source)
    brought = await held(acme, dock, some_files(0, 30))
    await quiet.app.forgetting.source(acme.console, source)

    with pytest.raises(NotFound):
        await quiet.app.uploads.commit_all(dock, brought)

    assert files_of(quiet, acme.id) == ()
    await drained(quiet)


async def cut(stand: Stand, waiting_for: str) -> None:
    """End the connection of whoever waits for this."""
    async with connected(stand.endpoint.superuser_url) as connection, asyncio.timeout(30):
        while not await connection.fetchval(_CUT, waiting_for):  # noqa: ASYNC110 - the database has no event for it
            await asyncio.sleep(0.02)


async def test_when_the_connection_ends_before_the_commit_no_bytes_stay(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    dock = await a_dock(acme, source)
    brought = await held(acme, dock, some_files(0, 30))
    async with connected(quiet.endpoint.superuser_url) as connection, connection.transaction():
        await connection.execute("lock table usage_days in access exclusive mode")
        committing = asyncio.create_task(quiet.app.uploads.commit_all(dock, brought))
        await cut(quiet, "relation")
        with pytest.raises(Unavailable):
            await committing
    assert files_of(quiet, acme.id) == ()
    assert (await tally(quiet, acme.id)).documents == 0


async def test_when_the_connection_ends_at_the_commit_the_bytes_stay(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    """Whether it was committed nobody knows: bytes of a document may not go, and those of none are swept."""
    dock = await a_dock(acme, source)
    brought = await held(acme, dock, some_files(0, 30))
    async with connected(quiet.endpoint.superuser_url) as connection:
        await connection.execute(_SLOW_COMMIT)
        try:
            committing = asyncio.create_task(quiet.app.uploads.commit_all(dock, brought))
            await cut(quiet, "PgSleep")
            with pytest.raises(Unavailable):
                await committing
        finally:
            await connection.execute("drop function public.sleep_at_the_commit cascade")
    assert len(files_of(quiet, acme.id)) == 20
