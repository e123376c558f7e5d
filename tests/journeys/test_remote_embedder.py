"""Documents and questions through a provider's embedder, whose vectors are twice as long as those of our own."""

import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from carrel.adapters.embedders.remote import RemoteEmbedder
from carrel.adapters.postgres import Endpoint
from carrel.ask.pipeline import SearchWish
from carrel.domain.access import console
from carrel.domain.errors import EmbedderFailed, Unavailable
from carrel.domain.jobs import MOST_ATTEMPTS
from carrel.domain.layout import Isolation
from carrel.domain.library import DocumentStatus
from carrel.ingest.retry import Redrive
from carrel.wiring import assemble
from support.embedders import SWIFT, an_embedder
from support.model_server import Fault, ModelServer, Script, a_model_server
from support.quiet import a_quiet_stand, a_worker_of, delivered, document_of, drained
from support.raw import connected
from support.stand import Stand
from support.tenants import SomeTenant, a_tenant

DIMENSION = 768
SENTENCES = {
    "payments.md": "Restart the payment service with systemctl. It listens on port 7443.",
    "leave.md": "Leave is thirty days a year. Sickness is told to the manager before nine.",
    "cake.md": "Bake the cake for one hour. Let it cool before the icing.",
}


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[ModelServer]:
    async with a_model_server() as running:
        yield running


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    home = tmp_path_factory.mktemp("remote")
    async with a_quiet_stand(endpoint, "remote_embedder", home, models=models) as standing:
        yield standing


@pytest.fixture
async def remote(quiet: Stand, server: ModelServer) -> AsyncIterator[Stand]:
    async with an_embedder(server, dimension=DIMENSION) as embedder:
        yield with_embedder(quiet, embedder)


def with_embedder(stand: Stand, embedder: RemoteEmbedder) -> Stand:
    parts = replace(stand.parts, embedder=embedder, questions=embedder.for_questions())
    return replace(stand, app=assemble(parts), parts=parts)


@asynccontextmanager
async def behaving(server: ModelServer, script: Script) -> AsyncIterator[None]:
    usual, server.scripts["embed"] = server.scripts["embed"], script
    server._asked.clear()
    try:
        yield
    finally:
        server.scripts["embed"] = usual


async def dedicated(stand: Stand) -> SomeTenant:
    made = await stand.app.tenants.create(console(None), "Large", slug=None, isolation=Isolation.DEDICATED)
    return SomeTenant(stand.app, made)


async def test_documents_are_indexed_and_found(remote: Stand, server: ModelServer) -> None:
    acme = await a_tenant(remote.app, "Acme")
    source = await acme.source()
    for key, text in SENTENCES.items():
        await delivered(acme, source.id, key, text)
    await drained(remote)

    for key, text in SENTENCES.items():
        found = await remote.app.asking.search(await acme.principal(), SearchWish(text.split(".")[0]))
        assert found.hits[0].key == key

    assert {heard.told.dimensions for heard in server.heard} == {DIMENSION}
    async with connected(remote.endpoint.superuser_url) as superuser:
        kept = await superuser.fetch("select vector_dims(embedding) from dense_entries where tenant_id = $1", acme.id)
        generation = await superuser.fetchrow(
            "select embedder, dimension from generations where tenant_id = $1", acme.id
        )
    assert {row[0] for row in kept} == {DIMENSION}
    assert generation is not None
    assert tuple(generation) == (f"openai/embed/{DIMENSION}", DIMENSION)


async def test_a_tenant_with_tables_of_its_own_gets_their_index_with_its_first_document(remote: Stand) -> None:
    large = await dedicated(remote)
    source = await large.source()
    table = f"dense_{large.id.hex}"
    indexes = "select indexdef from pg_indexes where schemaname = 'carrel_own' and tablename = $1"
    async with connected(remote.endpoint.superuser_url) as superuser:
        assert not [row for row in await superuser.fetch(indexes, table) if "hnsw" in row[0]]
        for key, text in SENTENCES.items():
            await delivered(large, source.id, key, text)
        await drained(remote)
        assert len([row for row in await superuser.fetch(indexes, table) if "hnsw" in row[0]]) == 1
        shape = (
            "select format_type(atttypid, atttypmod) from pg_attribute where attrelid = $1::regclass and attname = $2"
        )
        assert await superuser.fetchval(shape, f"carrel_own.{table}", "embedding") == f"halfvec({DIMENSION})"

    found = await remote.app.asking.search(await large.principal(), SearchWish("port of the payment service"))
    assert found.hits[0].key == "payments.md"


async def test_an_index_of_another_embedder_is_not_read_and_not_written(quiet: Stand, remote: Stand) -> None:
    acme = await a_tenant(quiet.app, "Former")
    source = await acme.source()
    await delivered(acme, source.id, "leave.md", SENTENCES["leave.md"])
    await drained(quiet)

    moved = SomeTenant(remote.app, acme.tenant)
    late = await delivered(moved, source.id, "late.md", SENTENCES["cake.md"])
    await drained(remote)
    document = await document_of(moved, late)
    assert document.error is not None
    assert (document.status, document.error.code) == (DocumentStatus.FAILED, "generation_mismatch")
    assert "CARREL_EMBEDDER" in document.error.detail
    with pytest.raises(Unavailable, match="CARREL_EMBEDDER") as refused:
        await remote.app.asking.search(await moved.principal(), SearchWish("leave"))
    assert refused.value.code == "generation_mismatch"
    assert (await quiet.app.asking.search(await acme.principal(), SearchWish("leave"))).hits


async def test_a_refused_key_fails_the_document_with_its_reason_and_it_is_done_later(
    remote: Stand, server: ModelServer
) -> None:
    acme = await a_tenant(remote.app)
    source = await acme.source()
    async with behaving(server, Script(fault=Fault.KEY)):
        delivery = await delivered(acme, source.id, "leave.md", SENTENCES["leave.md"])
        await drained(remote)
        document = await document_of(acme, delivery)
        assert document.error is not None
        assert (document.status, document.error.code) == (DocumentStatus.FAILED, "embedder_key_refused")
        assert not document.error.retryable

    await remote.app.retries.many(acme.console, Redrive(code="embedder_key_refused"))
    await drained(remote)
    assert (await document_of(acme, delivery)).status is DocumentStatus.READY


async def test_a_document_waits_as_long_as_the_provider_is_away(remote: Stand, server: ModelServer) -> None:
    acme = await a_tenant(remote.app)
    source = await acme.source()
    worker = a_worker_of(remote)
    delivery = await delivered(acme, source.id, "leave.md", SENTENCES["leave.md"])
    rounds = 2 * MOST_ATTEMPTS * 4  # of each attempt's four calls: twice as many as a document has
    async with behaving(server, Script(fault=Fault.OVERLOADED, times=rounds)):
        await drained(remote, worker)
    document = await document_of(acme, delivery)
    assert (document.status, document.error) == (DocumentStatus.READY, None)


async def test_a_question_says_what_is_wrong_with_the_embedder(remote: Stand, server: ModelServer) -> None:
    acme = await a_tenant(remote.app)
    source = await acme.source()
    await delivered(acme, source.id, "leave.md", SENTENCES["leave.md"])
    await drained(remote)
    async with behaving(server, Script(fault=Fault.THROTTLE, retry_after=600)):
        with pytest.raises(EmbedderFailed) as refused:
            await remote.app.asking.search(await acme.principal(), SearchWish("leave"))
    assert (refused.value.code, refused.value.retryable) == ("embedder_throttled", True)


async def test_memory_does_not_grow_with_the_texts(server: ModelServer) -> None:
    """What stays is the vectors alone, whatever the texts were."""
    server.remembers = False
    async with an_embedder(server, plan=SWIFT, dimension=DIMENSION) as embedder:
        batch = [embedder.tokenize("word " * 200).ids] * 512
        await embedder.embed(batch)
        tracemalloc.start()
        for _ in range(4):
            vectors = await embedder.embed(batch)
            del vectors
        _, peak = tracemalloc.get_traced_memory()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    server.remembers = True
    assert before < 1 << 20
    assert peak < 60 << 20
