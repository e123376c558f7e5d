"""Walls that another wall stands behind, each looked at alone: without this nobody would see one of the two fall."""

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import cast

import pytest

from carrel.domain.access import for_job
from carrel.domain.ids import TenantId, UserId
from carrel.domain.library import Document
from carrel.store import chunks
from carrel.store.chunks import Wanted
from carrel.store.transaction import Database, Statement
from support.raw import Raw, connected, posing
from support.stand import Stand
from support.tenants import SomeTenant, a_tenant

_CHUNKS = Statement("select id, generation_id from chunks where tenant_id = :tenant and document_id = :document")


@pytest.fixture
async def app(carrel: Stand) -> AsyncIterator[Raw]:
    async with connected(carrel.endpoint.app_url) as connection:
        yield connection


async def a_document(tenant: SomeTenant) -> Document:
    return await tenant.put((await tenant.source()).id, "boats.md", "# Boats\n\nBoats float on water.")


async def loaded(database: Database, tenant: SomeTenant, document: Document, *, named: bool) -> int:
    """How many texts are loaded under a grant of every source, when the document's own one is named or none is."""
    async with database.transaction(for_job(tenant.id, None)) as tx:
        (row,) = await tx.rows(_CHUNKS, document=document.id)
        sources = frozenset({document.source} if named else ())
        found = await chunks.load(tx, Wanted([row["id"]], sources, row["generation_id"], None))
    return len(found.passages)


async def test_text_is_loaded_from_the_named_sources_only_however_wide_the_grant_is(carrel: Stand) -> None:
    tenant = await a_tenant(carrel.app)
    document = await a_document(tenant)
    assert await loaded(carrel.database, tenant, document, named=True) == 1
    assert await loaded(carrel.database, tenant, document, named=False) == 0


async def test_nobody_learns_whether_anothers_blob_is_named(carrel: Stand, app: Raw) -> None:
    mine, theirs = await a_tenant(carrel.app), await a_tenant(carrel.app)
    await a_document(theirs)
    async with connected(carrel.endpoint.superuser_url) as superuser:
        blobs = await superuser.fetchval(
            "select array_agg(blob_key) from document_versions where tenant_id = $1", theirs.id
        )
    for tenant, named in ((theirs.id, set(blobs)), (mine.id, set()), (None, set())):
        async with posing(app, tenant, sources="*"):
            assert {row[0] for row in await app.fetch("select named_blobs($1)", blobs)} == named


async def test_nobody_is_told_which_bytes_of_another_are_due(carrel: Stand, app: Raw) -> None:
    mine, theirs = await a_tenant(carrel.app), await a_tenant(carrel.app)
    good, lost, _ = await a_document(theirs), await a_document(theirs), await a_document(mine)
    async with connected(carrel.endpoint.superuser_url) as superuser:
        await superuser.execute(
            "update document_versions set created_at = now() - interval '9 days' where tenant_id = $1", theirs.id
        )
        await superuser.execute(
            "update document_versions set content_code = 'content_missing', checked_at = now() - interval '2 days'"
            " where id = $1",
            lost.version,
        )
    due, counted = {good.version, lost.version}, (2, 1, 0, 0)
    for who, told, count in ((theirs.id, due, counted), (mine.id, set(), (1, 0, 0, 0)), (None, set(), (0, 0, 0, 0))):
        async with posing(app, who, sources="*"):
            assert {row[0] for row in await app.fetch("select version_id from due_contents(1, 100)")} == told
            (row,) = await app.fetch("select * from count_contents()")
            assert tuple(row) == count


async def test_nobody_is_told_which_files_of_another_are_due(carrel: Stand, app: Raw) -> None:
    mine, theirs = await a_tenant(carrel.app), await a_tenant(carrel.app)
    good, lost, own = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    kept = ((theirs.id, good, None), (theirs.id, lost, "content_unreadable"), (mine.id, own, None))
    async with connected(carrel.endpoint.superuser_url) as superuser:
        for tenant, file, fault in kept:
            await superuser.execute(
                "insert into brought_files (tenant_id, id, owner_id, name, purpose, size, sha256, blob_key, created_at,"
                " checked_at, content_code) values ($1, $2, $1, 'a', 'user_data', 1, '', '', now() - $3::interval,"
                " now() - $3::interval, $4)",
                tenant,
                file,
                timedelta(days=3 if file == own else 9),  # theirs would come first
                fault,
            )
    due, counted = {good, lost}, (2, 0, 0, 1)
    for who, told, count in ((theirs.id, due, counted), (mine.id, {own}, (1, 0, 0, 0)), (None, set(), (0, 0, 0, 0))):
        async with posing(app, who, sources="*"):
            assert {row[0] for row in await app.fetch("select file_id from due_contents(1, 100)")} == told
            (row,) = await app.fetch("select * from count_contents()")
            assert tuple(row) == count


@pytest.mark.parametrize(
    "word", ["', true), set_config('carrel.platform', 'on", "x'; drop table chunks; --", "é", "A\n"]
)
async def test_a_grant_that_holds_more_than_ids_opens_nothing(carrel: Stand, word: str) -> None:
    for grant in (for_job(cast(TenantId, word), None), for_job(TenantId(uuid.uuid4()), cast(UserId, word))):
        with pytest.raises(TypeError):
            async with carrel.database.transaction(grant):
                pass
