"""Forgetting: invisible at once, then gone everywhere; and what misbehaves takes nothing with it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from carrel.adapters.blobs.local import LocalBlobs
from carrel.adapters.parsers import media
from carrel.adapters.parsers.sandbox import FORMATS, SandboxedParser
from carrel.adapters.postgres import Endpoint
from carrel.ask.pipeline import ChatWish, Done, Evidence, SearchWish
from carrel.domain.access import Principal, for_job
from carrel.domain.answers import AnswerStatus
from carrel.domain.errors import NotFound, Unavailable
from carrel.domain.ids import DocumentId, SourceId, document_id
from carrel.domain.jobs import JobKind
from carrel.domain.library import DocumentStatus
from carrel.ingest.pipeline import Work
from carrel.ingest.sweep import Sweep
from carrel.ingest.upload import Delivery
from carrel.store import chunks, jobs, versions
from carrel.store.bots import NewBot
from carrel.store.documents import Shelf
from carrel.store.sources import NewSource
from carrel.wiring import tasks
from carrel.worker.rounds import hourly
from conftest import TenantMaker
from support import unruly
from support.quiet import a_quiet_stand, a_worker_of, blobs_of, delivered, document_of, drained
from support.raw import connected
from support.recording import HookedWords, recorded
from support.stand import Stand, a_worker
from support.tally import assert_whole, tally
from support.tenants import SomeTenant, a_tenant

PAGE = "# Payments\n\nThe payment service listens on port 7443.\n\n# Escalation\n\nCall team Heron after 15 minutes.\n"


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with a_quiet_stand(endpoint, "forget", tmp_path_factory.mktemp("forget"), models=models) as standing:
        yield standing


async def a_document(stand: Stand, tenant: SomeTenant, source: SourceId, key: str = "payments.md") -> DocumentId:
    delivery = await delivered(tenant, source, key, PAGE)
    await drained(stand)
    return (await document_of(tenant, delivery)).id


async def hits(tenant: SomeTenant) -> int:
    return len((await tenant.app.asking.search(tenant.console, SearchWish("payment service port"))).hits)


async def receipts(stand: Stand, tenant: SomeTenant) -> list[dict[str, Any]]:
    async with connected(stand.endpoint.superuser_url) as connection:
        rows = await connection.fetch(
            "select document_id, chunks, answers, completed_at is not null as complete, cardinality(blob_keys) as blobs"
            " from erasure_receipts where tenant_id = $1 order by requested_at",
            tenant.id,
        )
    return [dict(row) for row in rows]


async def assert_nothing_left(stand: Stand, tenant: SomeTenant) -> None:
    left = await tally(stand, tenant.id)
    assert (left.documents, left.versions, left.chunks, left.dense, left.lexical, left.profiles) == (0,) * 6, left
    assert (left.jobs, left.unpurged, left.files) == (0, 0, ()), left


async def test_a_deleted_document_is_invisible_at_once_and_gone_soon(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    document = await a_document(quiet, acme, source)
    count = (await acme.app.documents.get(acme.console, document)).chunks
    assert await hits(acme) > 0

    await acme.app.forgetting.document(acme.console, document)

    assert await hits(acme) == 0
    assert (await acme.app.documents.listed(acme.console, Shelf())).items == []
    assert (await acme.app.sources.get(acme.console, source)).documents[DocumentStatus.READY] == 0
    for look in (acme.app.documents.get, acme.app.documents.download, acme.app.forgetting.document):
        with pytest.raises(NotFound):
            await look(acme.console, document)
    with pytest.raises(NotFound):
        await acme.app.documents.describe(acme.console, document, {})
    with pytest.raises(NotFound):
        await acme.app.retries.one(acme.console, document)
    at_once = await tally(quiet, acme.id)
    assert (at_once.versions, at_once.chunks, at_once.dense, at_once.lexical, at_once.profiles) == (0,) * 5
    await drained(quiet)
    await assert_nothing_left(quiet, acme)
    assert await receipts(quiet, acme) == [
        {"document_id": document, "chunks": count, "answers": 0, "complete": True, "blobs": 1}
    ]


async def test_nothing_of_its_text_stays_in_the_row(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    document = await a_document(quiet, acme, source)
    await acme.app.forgetting.document(acme.console, document)
    async with connected(quiet.endpoint.superuser_url) as connection:
        row = await connection.fetchrow("select title, attributes::text from documents where id = $1", document)
    assert row is not None
    assert tuple(row) == ("", "{}")


async def test_a_deletion_that_waits_for_a_twin_holds_nothing_that_the_twins_needs(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    sibling = await a_document(quiet, acme, source, "a.md")
    twin = await a_document(quiet, acme, source, "b.md")
    async with connected(quiet.endpoint.superuser_url) as connection:
        await connection.execute(
            "insert into idempotency_keys (tenant_id, principal_id, key, request_hash, status, body)"
            " values ($1, $1, 'k', '', 200, '{\"evidence\": []}')",
            acme.id,
        )
        async with connection.transaction():
            await connection.execute("select from documents where id = $1 for update", twin)
            deleting = asyncio.create_task(acme.app.forgetting.document(acme.console, sibling))
            await until_somebody_waits(quiet)
            await connection.execute("select from idempotency_keys where tenant_id = $1 for update nowait", acme.id)
        await deleting


async def test_who_replaces_a_document_takes_it_and_its_twins_in_the_order_of_who_deletes_it(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    """Else each of the two could hold what the other waits for."""
    second, first = sorted(("a.md", "b.md"), key=lambda key: document_id(source, key))
    original = await a_document(quiet, acme, source, first)
    twin = await a_document(quiet, acme, source, second)
    assert twin < original
    async with connected(quiet.endpoint.superuser_url) as connection:
        async with connection.transaction():
            await connection.execute("select from documents where id = $1 for update", twin)
            replacing = asyncio.create_task(delivered(acme, source, first, f"{PAGE} Once more."))
            await until_somebody_waits(quiet)
            await connection.execute("select from documents where id = $1 for update nowait", original)
        await replacing
    await drained(quiet)
    assert_whole(await tally(quiet, acme.id), documents=2)


async def test_a_stranger_cannot_delete(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    document = await a_document(quiet, acme, source)
    rival = await a_tenant(quiet.app, "Rival")

    with pytest.raises(NotFound):
        await rival.app.forgetting.document(rival.console, document)
    with pytest.raises(NotFound):
        await rival.app.forgetting.source(rival.console, source)

    assert await hits(acme) > 0


async def asked(tenant: SomeTenant, principal: Principal, question: str) -> None:
    allowed = await tenant.app.asking.allow(principal, ChatWish(question))
    events = [event async for event in tenant.app.asking.chat(allowed)]
    assert isinstance(events[-1], Done)
    assert events[-1].remembered.answer.citations


async def test_what_quotes_it_is_removed_for_every_user(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    document = await a_document(quiet, acme, source)
    await delivered(acme, source, "garden.md", "# Garden\n\nThe garden gate opens at nine in the morning.\n")
    await drained(quiet)
    for _ in range(2):
        await asked(acme, await acme.principal(), "On which port does the payment service listen?")
    await asked(acme, await acme.principal(), "When does the garden gate open?")

    await acme.app.forgetting.document(acme.console, document)

    async with connected(quiet.endpoint.superuser_url) as connection:
        stored = await connection.fetch(
            "select status, answer from messages where tenant_id = $1 order by created_at", acme.id
        )
    assert [(row["status"], row["answer"]) for row in stored[:2]] == [("removed", "[removed]")] * 2
    assert "nine" in stored[2]["answer"]
    await drained(quiet)
    assert [receipt["answers"] for receipt in await receipts(quiet, acme)] == [2]


async def test_a_source_goes_with_all_its_documents_and_no_other(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    other = (await acme.source()).id
    bot = await acme.app.bots.create(acme.console, NewBot("guide", sources=frozenset({source, other})))
    for number in range(3):
        await delivered(acme, source, f"{number}.md", f"{PAGE}\n\nNumber {number}.")
    await delivered(acme, other, "kept.md", "# Kept\n\nThe payment service of the other source.")
    await drained(quiet)

    await acme.app.forgetting.source(acme.console, source)

    page = await acme.app.documents.listed(acme.console, Shelf())
    assert [document.key for document in page.items] == ["kept.md"]
    with pytest.raises(NotFound):
        await acme.app.forgetting.source(acme.console, source)
    assert (await acme.app.bots.get(acme.console, bot.id)).sources == {other}
    assert await hits(acme) == 1
    await drained(quiet)
    assert_whole(await tally(quiet, acme.id), documents=1)
    assert [receipt["complete"] for receipt in await receipts(quiet, acme)] == [True] * 3


async def test_a_document_that_is_deleted_while_it_is_read_leaves_nothing(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    delivery = await delivered(acme, source, "payments.md", PAGE)

    async def delete(_: str) -> None:
        assert delivery.document is not None
        await acme.app.forgetting.document(acme.console, delivery.document)

    await drained(quiet, recorded(quiet, delete).worker)

    await assert_nothing_left(quiet, acme)


async def test_a_document_that_is_deleted_just_before_its_commit_leaves_nothing(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    delivery = await delivered(acme, source, "payments.md", PAGE)

    async def delete(_: str) -> None:
        assert delivery.document is not None
        await acme.app.forgetting.document(acme.console, delivery.document)

    parts = replace(quiet.parts, words=HookedWords(quiet.parts.words, delete))
    await drained(quiet, a_worker_of(quiet, doing=tasks(parts, quiet.parser)))

    await assert_nothing_left(quiet, acme)


async def test_a_source_that_is_deleted_in_mid_ingest_leaves_nothing(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    dock = await acme.app.uploads.dock(acme.console, source)
    for number in range(12):
        await delivered(acme, source, f"{number}.md", f"{PAGE}\n\nNumber {number}.")

    async def go_on_uploading() -> int:
        refused = 0
        for number in range(12, 24):
            try:
                await acme.app.uploads.deliver(dock, f"{number}.md", one_piece(PAGE), declared=None)
            except NotFound:
                refused += 1
        return refused

    async with a_worker(quiet), asyncio.timeout(120):
        await asyncio.sleep(0.1)
        uploading = asyncio.create_task(go_on_uploading())
        await asyncio.sleep(0.02)
        await acme.app.forgetting.source(acme.console, source)
        assert await uploading > 0
    await drained(quiet)

    await assert_nothing_left(quiet, acme)


async def until_somebody_waits(stand: Stand) -> None:
    """For a lock."""
    async with connected(stand.endpoint.superuser_url) as connection, asyncio.timeout(120):
        while not await connection.fetchval("select count(*) from pg_locks where not granted"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_source_is_deleted_while_one_of_its_documents_is_being_committed(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    ids = [await a_document(quiet, acme, source, f"{number}.md") for number in range(2)]

    async with asyncio.TaskGroup() as group, quiet.database.transaction(for_job(acme.id, None)) as tx:
        await versions.lock(tx, max(ids))
        group.create_task(acme.app.forgetting.source(acme.console, source))
        await until_somebody_waits(quiet)
        await jobs.enqueue(tx, JobKind.WEIGH, acme.id)

    await drained(quiet)
    await assert_nothing_left(quiet, acme)


async def test_a_document_is_deleted_while_a_worker_writes_its_chunks_anew(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    async def fail(_: str) -> None:
        raise Unavailable("The index is away.")

    delivery = await delivered(acme, source, "payments.md", PAGE)
    assert delivery.document is not None
    assert delivery.version is not None
    desk, parts = quiet.app.desk, replace(quiet.parts, words=HookedWords(quiet.parts.words, fail))
    (claim,) = await desk.claim([JobKind.INGEST], lease=60, most=1)
    with pytest.raises(Unavailable):
        await tasks(parts, quiet.parser)[JobKind.INGEST](Work(claim, for_job(acme.id, None)))

    async with asyncio.TaskGroup() as group, quiet.database.transaction(for_job(acme.id, None)) as tx:
        await jobs.hold(tx, claim)
        group.create_task(acme.app.forgetting.document(acme.console, delivery.document))
        await until_somebody_waits(quiet)
        assert await chunks.clear(tx, [delivery.version]) > 0

    await drained(quiet)
    await assert_nothing_left(quiet, acme)


async def one_piece(text: str) -> AsyncIterator[bytes]:
    yield text.encode()


async def test_a_private_document_is_purged_too_and_by_somebody_who_can_see_it(quiet: Stand, acme: SomeTenant) -> None:
    owner = await acme.principal()
    assert owner.user is not None
    private = await acme.app.sources.create(owner, NewSource("diary", owner=owner.user))
    dock = await acme.app.uploads.dock(owner, private.id)
    delivery = await acme.app.uploads.deliver(dock, "diary.md", one_piece(PAGE), declared=None)
    await drained(quiet)
    assert delivery.document is not None
    with pytest.raises(NotFound):
        await acme.app.forgetting.document(await acme.principal(), delivery.document)

    await acme.app.forgetting.document(owner, delivery.document)

    async with connected(quiet.endpoint.superuser_url) as connection:
        for_whom = await connection.fetchval("select owner_id from jobs where kind = 'purge'")
    assert for_whom == owner.user, "under another name it would verify an empty view"
    await drained(quiet)
    await assert_nothing_left(quiet, acme)


@dataclass
class ReluctantBlobs(LocalBlobs):
    """Fails at the first deletions."""

    root: Path
    failures: int = 2

    def __post_init__(self) -> None:
        super().__init__(self.root)

    async def delete(self, key: str) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("The disk is away.", code="blobs_unavailable")
        await super().delete(key)


async def test_a_purge_that_fails_half_way_is_taken_up_again(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    document = await a_document(quiet, acme, source)
    await acme.app.forgetting.document(acme.console, document)
    base = replace(quiet.parts.base, blobs=ReluctantBlobs(blobs_of(quiet)))

    await drained(quiet, a_worker_of(quiet, doing=tasks(replace(quiet.parts, base=base), quiet.parser)))

    await assert_nothing_left(quiet, acme)
    assert [receipt["complete"] for receipt in await receipts(quiet, acme)] == [True]


async def test_a_purge_does_not_mind_bytes_that_are_gone_already(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    document = await a_document(quiet, acme, source)
    for path in (blobs_of(quiet) / str(acme.id)).iterdir():
        path.unlink()

    await acme.app.forgetting.document(acme.console, document)
    await drained(quiet)

    await assert_nothing_left(quiet, acme)


# What nobody names


async def test_bytes_that_no_version_names_are_swept_when_they_are_old(quiet: Stand, acme: SomeTenant) -> None:
    owner = await acme.principal()
    private = await acme.app.sources.create(owner, NewSource("diary", owner=owner.user))
    dock = await acme.app.uploads.dock(owner, private.id)
    await acme.app.uploads.deliver(dock, "diary.md", one_piece(PAGE), declared=None)
    folder = blobs_of(quiet) / str(acme.id)
    (named,) = folder.iterdir()
    for name in ("orphan", "unfinished.part", "young"):
        (folder / name).write_bytes(b"stray")
    long_ago = time.time() - 100_000
    for path in (named, folder / "orphan", folder / "unfinished.part"):
        os.utime(path, (long_ago, long_ago))

    swept = asyncio.Event()

    async def sweep() -> None:
        await Sweep(quiet.database, quiet.parts.base.blobs).run()
        swept.set()

    async with hourly(sweep), asyncio.timeout(120):
        await swept.wait()

    assert {path.name for path in folder.iterdir()} == {named.name, "young"}
    await drained(quiet)


class BrokenOffError(Exception):
    """The client went away."""


@pytest.mark.parametrize("pieces", [1, 20], ids=["a small one", "a large one"])
async def test_an_upload_that_breaks_off_leaves_no_bytes(
    quiet: Stand, acme: SomeTenant, source: SourceId, pieces: int
) -> None:
    dock = await acme.app.uploads.dock(acme.console, source)

    async def broken() -> AsyncIterator[bytes]:
        for _ in range(pieces):
            yield b"# A page that goes on\n" * 5_000
        raise BrokenOffError

    with pytest.raises(BrokenOffError):
        await acme.app.uploads.deliver(dock, "half.md", broken(), declared=None)

    await assert_nothing_left(quiet, acme)


# Parsers that misbehave

MISDEEDS = {
    "memory.md": ("eats_memory", "parser_memory"),
    "cpu.txt": ("computes_for_ever", "parser_timeout"),
    "crash.html": ("crashes", "parser_crashed"),
}


async def test_a_parser_that_misbehaves_fails_its_document_and_nothing_else(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    types = dict(zip(MISDEEDS, (media.MARKDOWN, media.PLAIN, media.HTML), strict=True))
    formats = {types[key]: f"unruly:{misdeed}" for key, (misdeed, _) in MISDEEDS.items()}
    folder = Path(unruly.__file__).parent
    parser = SandboxedParser(formats={**FORMATS, **formats}, paths=[folder], memory=256 << 20, seconds=1, wall=5)
    sent: dict[str, Delivery] = {key: await delivered(acme, source, key, f"<p>{key}</p>") for key in MISDEEDS}
    worker = a_worker_of(quiet, doing=tasks(quiet.parts, parser))

    await drained(quiet, worker)
    await parser.close()

    for key, (_, code) in MISDEEDS.items():
        failed = await document_of(acme, sent[key])
        assert failed.error is not None, key
        assert (failed.status, failed.error.code, failed.error.stage) == ("failed", code, "parse"), key
        assert (failed.attempts, failed.error.retryable) == (1, False), "never tried for ever"
    good = await delivered(acme, source, "good.md", PAGE)
    await drained(quiet)
    assert (await document_of(acme, good)).status is DocumentStatus.READY


async def test_an_answer_that_was_being_written_while_its_document_went_is_not_kept(
    carrel: Stand, tenant: TenantMaker
) -> None:
    acme = await tenant("Acme")
    document = await acme.put((await acme.source()).id, "boats.md", "# Boats\n\nBoats float on water.")
    principal = await acme.principal()
    allowed = await carrel.app.asking.allow(principal, ChatWish("Do boats float on water?"))
    events = carrel.app.asking.chat(allowed)
    assert isinstance(await anext(events), Evidence)

    await carrel.app.forgetting.document(principal, document.id)
    done = [event async for event in events][-1]

    assert isinstance(done, Done)
    assert done.remembered.answer.status is AnswerStatus.REFUSED
    assert "deleted" in done.remembered.answer.text
    assert (done.remembered.answer.citations, done.remembered.answer.evidence) == ((), ())
