"""Living documents: what becomes of a file that comes again, changed or not, here or elsewhere."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from carrel.adapters.postgres import Endpoint
from carrel.ask.pipeline import SearchWish
from carrel.domain.errors import Conflict, NotFound, Unreadable
from carrel.domain.ids import SourceId, document_id
from carrel.domain.library import ChunkRules, DocumentStatus, Duplicates, Outcome
from carrel.ingest.upload import Delivery
from carrel.store import versions
from carrel.store.documents import Shelf
from carrel.store.retries import Redrive
from carrel.store.sources import NewSource
from conftest import TenantMaker
from support.quiet import a_quiet_stand, blobs_of, delivered, document_of, drained
from support.raw import connected
from support.recording import recorded
from support.stand import Stand, a_worker
from support.tally import assert_whole, tally
from support.tenants import SomeTenant, a_tenant, pieces

Refuse = Callable[[str], Awaitable[None]]


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with a_quiet_stand(endpoint, "living", tmp_path_factory.mktemp("living"), models=models) as standing:
        yield standing


def a_page(marker: str, *, paragraphs: int = 3) -> str:
    lines = [f"# The {marker} gateway\n"]
    lines += [f"Paragraph {n} says that the {marker} gateway drains before it restarts.\n" for n in range(paragraphs)]
    return "\n".join(lines)


async def found(tenant: SomeTenant, query: str = "gateway drains") -> list[str]:
    return [hit.text for hit in (await tenant.app.asking.search(tenant.console, SearchWish(query, limit=50))).hits]


async def deliveries_of(stand: Stand, delivery: Delivery) -> int:
    async with connected(stand.endpoint.superuser_url) as connection:
        count: int = await connection.fetchval("select deliveries from documents where id = $1", delivery.document)
    return count


async def test_a_new_file_is_created_and_the_same_file_again_is_unchanged(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    first = await delivered(acme, source, "a.md", a_page("first"))
    assert (first.outcome, first.same_as) == (Outcome.CREATED, None)
    await drained(quiet)
    before, whole = await document_of(acme, first), await tally(quiet, acme.id)

    second = await delivered(acme, source, "a.md", a_page("first"))

    assert (second.outcome, second.document, second.version) == (Outcome.UNCHANGED, first.document, None)
    assert await document_of(acme, second) == before
    assert await tally(quiet, acme.id) == whole, "no version, no job, no bytes"
    assert await deliveries_of(quiet, first) == 2
    assert_whole(whole, documents=1)


async def test_a_changed_file_replaces_and_the_old_one_answers_until_then(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    first = await delivered(acme, source, "a.md", a_page("older"))
    await drained(quiet)
    live = (await document_of(acme, first)).live_version

    second = await delivered(acme, source, "a.md", a_page("newer"))

    assert (second.outcome, second.document) == (Outcome.REPLACED, first.document)
    waiting = await document_of(acme, second)
    assert (waiting.status, waiting.live_version, waiting.title) == (DocumentStatus.PENDING, live, "The older gateway")
    assert all("older" in text for text in await found(acme))
    await drained(quiet)
    assert all("newer" in text for text in await found(acme))
    assert (await document_of(acme, second)).title == "The newer gateway"
    assert_whole(await tally(quiet, acme.id), documents=1)


async def test_a_twin_takes_text_and_vectors_from_its_sibling(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    text = "\n\n".join(f"Paragraph {n} says that the gateway drains before it restarts." for n in range(40))
    first = await delivered(acme, source, "first-name.txt", text)
    await drained(quiet)
    work = recorded(quiet)

    twin = await delivered(acme, source, "second-name.txt", text)
    await drained(quiet, work.worker)

    assert (twin.outcome, twin.same_as) == (Outcome.CREATED, first.document)
    assert (work.parser.keys, work.embedder.texts) == ([], 0)
    assert_whole(await tally(quiet, acme.id), documents=2)
    sibling, own = await document_of(acme, first), await document_of(acme, twin)
    assert (own.same_as, own.chunks, own.title) == (sibling.id, sibling.chunks, "second name")
    shown = await found(acme)
    assert len(shown) == len(set(shown)) == sibling.chunks, "search collapses twins"


async def test_the_texts_of_each_tenant_wait_in_a_line_of_their_own(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    other = await a_tenant(quiet.app, "Other")
    await delivered(acme, source, "a.md", a_page("ours"))
    await delivered(other, (await other.source()).id, "b.md", a_page("theirs"))
    work = recorded(quiet)

    await drained(quiet, work.worker)

    assert set(work.embedder.flows) == {acme.id, other.id}


async def test_the_same_bytes_under_another_type_are_read_anew(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    await delivered(acme, source, "page.md", "# Gateway\n\nIt *drains*.")
    await drained(quiet)
    work = recorded(quiet)

    await delivered(acme, source, "page.txt", "# Gateway\n\nIt *drains*.")
    await drained(quiet, work.worker)

    assert work.parser.keys == ["page.txt"]


async def test_a_twin_outlives_its_sibling(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    first = await delivered(acme, source, "a.md", a_page("shared"))
    await drained(quiet)
    twin = await delivered(acme, source, "b.md", a_page("shared"))
    await drained(quiet)
    assert first.document is not None

    await acme.app.forgetting.document(acme.console, first.document)
    await drained(quiet)

    assert (await document_of(acme, twin)).same_as is None
    assert_whole(await tally(quiet, acme.id), documents=1)
    assert await found(acme)


async def test_a_twin_whose_sibling_was_replaced_is_no_longer_one(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    await delivered(acme, source, "a.md", a_page("blue"))
    twin = await delivered(acme, source, "b.md", a_page("blue"))
    assert (await document_of(acme, twin)).same_as is not None
    await delivered(acme, source, "a.md", a_page("red"))
    assert (await document_of(acme, twin)).same_as is None


async def test_a_source_may_reject_duplicates(quiet: Stand, acme: SomeTenant) -> None:
    strict = await acme.app.sources.create(acme.console, NewSource("strict", duplicates=Duplicates.REJECT))
    first = await delivered(acme, strict.id, "a.md", a_page("same"))

    second = await delivered(acme, strict.id, "b.md", a_page("same"))

    assert (second.outcome, second.same_as, second.version) == (Outcome.DUPLICATE, first.document, None)
    shelf = await acme.app.documents.listed(acme.console, Shelf(), limit=10, cursor=None)
    assert [document.key for document in shelf.items] == ["a.md"]
    await drained(quiet)
    assert_whole(await tally(quiet, acme.id), documents=1)


async def test_of_equal_files_that_come_at_once_a_strict_source_takes_one(quiet: Stand, acme: SomeTenant) -> None:
    strict = await acme.app.sources.create(acme.console, NewSource("strict", duplicates=Duplicates.REJECT))

    uploads, dock = acme.app.uploads, await acme.app.uploads.dock(acme.console, strict.id)
    staged = [await uploads.stage(dock, f"{n}.md", pieces(a_page("same").encode()), declared=None) for n in range(6)]

    async with AsyncExitStack() as connections:  # made now, or the first one would be done before the second had any
        for _ in staged:
            await connections.enter_async_context(quiet.database.transaction(dock.grant))

    arrived = await asyncio.gather(*(uploads.commit(dock, arrival) for arrival in staged))

    outcomes = sorted(delivery.outcome for delivery in arrived)
    assert outcomes == [Outcome.CREATED] + [Outcome.DUPLICATE] * 5
    await drained(quiet)


async def test_of_new_files_of_one_name_that_come_at_once_each_is_taken(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    uploads, dock = acme.app.uploads, await acme.app.uploads.dock(acme.console, source)
    for name in range(8):
        staged = [
            await uploads.stage(dock, f"{name}.md", pieces(a_page(f"{name} {n}").encode()), declared=None)
            for n in range(6)
        ]
        arrived = await asyncio.gather(*(uploads.commit(dock, arrival) for arrival in staged))

        assert sorted(delivery.outcome for delivery in arrived) == [Outcome.CREATED] + [Outcome.REPLACED] * 5
    await drained(quiet)
    assert_whole(await tally(quiet, acme.id), documents=8)


async def test_who_meets_the_id_before_the_key_is_no_error(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    """Of two that make one document the second may see the first in either index, whichever is written first."""
    async with connected(quiet.endpoint.superuser_url) as connection:
        await connection.execute(
            "insert into documents (tenant_id, id, source_id, key, title) values ($1, $2, $3, 'another.md', '')",
            acme.id,
            document_id(source, "a.md"),
            source,
        )

    assert (await delivered(acme, source, "a.md", a_page("same"))).outcome is Outcome.CREATED
    await drained(quiet)


async def test_whoever_gives_a_document_its_bytes_back_takes_the_source_before_it(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    """As whoever deletes the source does: else each would wait for the other."""
    await delivered(acme, source, "a.md", a_page("same"))
    dock = await acme.app.uploads.dock(acme.console, source)
    arrival = await acme.app.uploads.stage(dock, "a.md", pieces(a_page("same").encode()), declared=None)

    async def mend() -> None:
        async with quiet.database.transaction(dock.grant) as tx:
            assert await versions.mend(tx, dock.source, arrival) is None

    async with (
        connected(quiet.endpoint.superuser_url) as deleting,
        asyncio.TaskGroup() as group,
        deleting.transaction(),
    ):
        await deleting.execute("update sources set name = name where id = $1", source)
        mending = group.create_task(mend())
        while not await deleting.fetchval("select count(*) from pg_locks where not granted"):  # noqa: ASYNC110 - nor has this
            await asyncio.sleep(0.01)
        await deleting.execute("select from documents where source_id = $1 for update", source)
        assert not mending.done()
    await acme.app.uploads._blobs.delete(arrival.blob.key)
    await drained(quiet)


async def test_a_version_that_was_replaced_while_it_waited_is_never_read(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    work = recorded(quiet)
    for marker in ("one", "two"):
        await delivered(acme, source, "a.md", a_page(marker))
    last = await delivered(acme, source, "a.md", a_page("three"))

    await drained(quiet, work.worker)

    assert work.parser.keys == ["a.md"]
    assert all("three" in text for text in await found(acme))
    assert (await document_of(acme, last)).status is DocumentStatus.READY
    assert_whole(await tally(quiet, acme.id), documents=1)


@pytest.mark.parametrize("pause", [True, False], ids=["with a worker between", "while all wait"])
async def test_back_to_what_it_was(quiet: Stand, acme: SomeTenant, source: SourceId, *, pause: bool) -> None:
    for marker in ("north", "south"):
        await delivered(acme, source, "a.md", a_page(marker))
        if pause:
            await drained(quiet)
    last = await delivered(acme, source, "a.md", a_page("north"))
    await drained(quiet)

    assert last.outcome is Outcome.REPLACED
    assert all("north" in text for text in await found(acme))
    assert_whole(await tally(quiet, acme.id), documents=1)


async def test_a_newer_file_takes_the_work_away_from_the_one_in_hand(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait_once(key: str) -> None:
        if not reached.is_set():
            reached.set()
            await go_on.wait()

    work = recorded(quiet, wait_once)
    await delivered(acme, source, "a.md", a_page("older"))
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        group.create_task(drained(quiet, work.worker))
        await reached.wait()
        newer = await delivered(acme, source, "a.md", a_page("newer"))
        go_on.set()

    assert newer.outcome is Outcome.REPLACED
    assert all("newer" in text for text in await found(acme))
    assert_whole(await tally(quiet, acme.id), documents=1)


async def test_a_deleted_key_comes_back_to_life(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    first = await delivered(acme, source, "a.md", a_page("phoenix"))
    await drained(quiet)
    assert first.document is not None
    await acme.app.documents.describe(acme.console, first.document, {"team": "heron"})
    await acme.app.forgetting.document(acme.console, first.document)

    again = await delivered(acme, source, "a.md", a_page("phoenix"))
    await drained(quiet)

    assert (again.outcome, again.document) == (Outcome.CREATED, first.document)
    reborn = await document_of(acme, again)
    assert (reborn.status, dict(reborn.attributes)) == (DocumentStatus.READY, {})
    assert_whole(await tally(quiet, acme.id), documents=1)
    assert await found(acme)


async def test_equal_bytes_of_two_tenants_never_meet(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    await delivered(acme, source, "a.md", a_page("common"))
    await drained(quiet)
    rival = await a_tenant(quiet.app, "Rival")
    work = recorded(quiet)

    own = await delivered(rival, (await rival.source()).id, "a.md", a_page("common"))
    await drained(quiet, work.worker)

    assert (own.outcome, own.same_as) == (Outcome.CREATED, None)
    assert work.parser.keys == ["a.md"]
    assert work.embedder.texts == (await document_of(rival, own)).chunks


def failing(*, code: str = "damaged_document", keys: str = "") -> Refuse:
    async def refuse(key: str) -> None:
        if keys in key:
            raise Unreadable("It is damaged.", code=code)

    return refuse


async def test_a_failed_document_is_tried_again_on_request(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    delivery = await delivered(acme, source, "a.md", a_page("broken"))
    await drained(quiet, recorded(quiet, failing()).worker)
    failed = await document_of(acme, delivery)
    assert failed.error is not None
    assert (failed.status, failed.error.code, failed.error.stage) == (
        DocumentStatus.FAILED,
        "damaged_document",
        "parse",
    )

    again = await acme.app.retries.one(acme.console, failed.id)

    assert (again.status, again.error, again.attempts) == (DocumentStatus.PENDING, None, 0)
    await drained(quiet)
    assert_whole(await tally(quiet, acme.id), documents=1)
    with pytest.raises(Conflict) as refused:
        await acme.app.retries.one(acme.console, failed.id)
    assert refused.value.code == "not_failed"
    with pytest.raises(NotFound):
        await acme.app.retries.one((await a_tenant(quiet.app, "Rival")).console, failed.id)


async def test_failed_documents_are_redriven_by_source_and_by_code(quiet: Stand, acme: SomeTenant) -> None:
    one, other = (await acme.source()).id, (await acme.source()).id
    for source in (one, other):
        for number in range(2):
            await delivered(acme, source, f"torn-{number}.md", a_page(f"torn {number}"))
            await delivered(acme, source, f"locked-{number}.md", a_page(f"locked {number}"))
    await drained(quiet, recorded(quiet, failing(code="encrypted_document", keys="locked")).worker)
    first_wave = await failed_keys(acme)
    assert first_wave == ["locked-0.md", "locked-0.md", "locked-1.md", "locked-1.md"]

    many = acme.app.retries.many
    assert await many(acme.console, Redrive(code="damaged_document")) == 0
    assert await many(acme.console, Redrive(source=one, code="encrypted_document")) == 2
    assert await many(acme.console, Redrive(source=one)) == 0, "they wait already"
    await drained(quiet, recorded(quiet, failing()).worker)
    assert await many(acme.console, Redrive(code="damaged_document")) == 2, "those that failed anew"
    assert await many(acme.console, Redrive()) == 2, "those of the other source"
    await drained(quiet)
    assert_whole(await tally(quiet, acme.id), documents=8)
    with pytest.raises(NotFound):
        await many((await a_tenant(quiet.app, "Rival")).console, Redrive(source=one))


async def failed_keys(tenant: SomeTenant) -> list[str]:
    failed = Shelf(status=DocumentStatus.FAILED)
    page = await tenant.app.documents.listed(tenant.console, failed, limit=20, cursor=None)
    return sorted(document.key for document in page.items)


async def test_bytes_that_vanished_fail_with_a_way_out(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    delivery = await delivered(acme, source, "a.md", a_page("lost"))
    (path,) = (blobs_of(quiet) / str(acme.id)).iterdir()
    path.unlink()
    await drained(quiet)
    failed = await document_of(acme, delivery)
    assert failed.error is not None
    assert failed.error.code == "content_missing"

    again = await delivered(acme, source, "a.md", a_page("lost"))
    await drained(quiet)

    assert again.outcome is Outcome.REPLACED
    assert_whole(await tally(quiet, acme.id), documents=1)


async def test_nothing_comes_into_a_source_that_was_deleted_meanwhile(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    dock = await acme.app.uploads.dock(acme.console, source)

    async def slow() -> AsyncIterator[bytes]:
        yield b"# Half"
        await acme.app.forgetting.source(acme.console, source)
        yield b" a page"

    with pytest.raises(NotFound):
        await acme.app.uploads.deliver(dock, "a.md", slow(), declared=None)
    whole = await tally(quiet, acme.id)
    assert (whole.documents, whole.versions, whole.files) == (0, 0, ())


async def test_an_upload_can_wait_for_the_end(carrel: Stand, tenant: TenantMaker) -> None:
    acme = await tenant("Patient")
    ready = await acme.put((await acme.source()).id, "a.md", a_page("waited"))
    assert (ready.status, ready.live_version) == (DocumentStatus.READY, ready.version)


async def test_an_upload_waits_no_longer_than_it_was_told(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    dock = await acme.app.uploads.dock(acme.console, source)
    delivery = await delivered(acme, source, "a.md", a_page("slow"))
    started = asyncio.get_running_loop().time()

    document = await acme.app.uploads.settled(dock, delivery, seconds=0.3)

    assert document.status is DocumentStatus.PENDING
    assert asyncio.get_running_loop().time() - started < 1
    await drained(quiet)


async def test_readers_see_the_old_version_or_the_new_while_it_is_replaced_fifty_times(quiet: Stand) -> None:
    acme = await a_tenant(quiet.app, "Restless")
    source = await acme.app.sources.create(acme.console, NewSource("pages", chunk=ChunkRules(48, 8)))
    replacing = asyncio.Event()

    def a_version(number: int) -> str:
        return "\n\n".join(f"# Part {n}\n\n" + f"The gateway drains, says v{number:03}. " * 5 for n in range(6))

    async def read() -> list[str]:
        seen: list[str] = []
        while not replacing.is_set():
            page = await acme.app.asking.search(acme.console, SearchWish("gateway drains", limit=50))
            markers = {text.split("says ")[1][:4] for text in (hit.text for hit in page.hits)}
            assert (len(markers), len(page.hits), page.alarms) == (1, chunks, 0), page
            seen += markers
        return seen

    async with a_worker(quiet):
        chunks = (await acme.put(source.id, "page.md", a_version(0))).chunks
        assert chunks >= 6
        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(read()) for _ in range(2)]
            for number in range(1, 51):
                document = await acme.put(source.id, "page.md", a_version(number))
                assert document.status is DocumentStatus.READY
            replacing.set()

    for reader in readers:
        assert reader.result() == sorted(reader.result()), "no reader goes back in time"
        assert len(set(reader.result())) > 10
    await drained(quiet)
    assert_whole(await tally(quiet, acme.id), documents=1)
