"""Watching ingestion: how far each document is, told to whoever may read its source, as it happens."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import pytest

from carrel.domain.access import Principal, for_job
from carrel.domain.errors import Denied, NotFound, Throttled, Unauthenticated
from carrel.domain.ids import DocumentId, JobId, SourceId, new_id
from carrel.domain.jobs import Claim, JobKind
from carrel.domain.library import DocumentStatus, Stage
from carrel.domain.rights import Scope
from carrel.ingest.pipeline import Work
from carrel.library.progress import Asker, Counts, Progress, Told, Watch, Watching, _View
from carrel.library.tally import Tally
from carrel.store import progress
from carrel.store.members import MemberStatus
from carrel.store.sources import NewSource
from carrel.store.transaction import Transaction
from carrel.tenancy.keys import KeyWish
from conftest import TenantMaker
from support.people import a_person
from support.raw import connected
from support.stand import Stand
from support.tenants import SomeTenant, pieces


@pytest.fixture
async def watching(carrel: Stand) -> AsyncIterator[Watching]:
    found = Watching(carrel.database)
    running = asyncio.create_task(found.run())
    yield found
    running.cancel()
    await asyncio.wait({running})


@pytest.fixture
async def acme(tenant: TenantMaker) -> SomeTenant:
    return await tenant("Acme")


class Stream:
    """What one reader was told."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.is_over = False
        self._news = asyncio.Event()

    def tell(self, one: Told) -> None:
        self.told.append(one)
        self._news.set()

    def end(self) -> None:
        self.is_over = True
        self._news.set()

    @property
    def documents(self) -> list[Progress]:
        return [one for one in self.told if isinstance(one, Progress)]

    @property
    def counts(self) -> list[Counts]:
        return [one for one in self.told if isinstance(one, Counts)]

    async def ready(self, key: str) -> Progress:
        await self.until(lambda: bool(self._ready(key)))
        return self._ready(key)[0]

    async def ended(self) -> None:
        await self.until(lambda: self.is_over)

    async def counted(self, **amounts: int) -> None:
        """Until the last count is this one; what is not named is none."""
        wanted = {status: amounts.get(status.value, 0) for status in DocumentStatus}
        await self.until(lambda: bool(self.counts) and self.counts[-1].amounts == wanted)

    async def until(self, happened: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not happened():
                self._news.clear()
                await self._news.wait()

    def _ready(self, key: str) -> list[Progress]:
        return [one for one in self.documents if one.key == key and one.status is DocumentStatus.READY]


def asking(who: Principal) -> Asker:
    async def asker() -> Principal:
        return who

    return asker


@asynccontextmanager
async def reading(watching: Watching, who: Principal, watch: Watch | None = None) -> AsyncIterator[Stream]:
    stream = Stream()

    async def read() -> None:
        async with aclosing(watching.follow(asking(who), watch or Watch())) as events:
            async for one in events:
                stream.tell(one)
        stream.end()

    task = asyncio.create_task(read())
    await stream.until(lambda: bool(stream.told))
    try:
        yield stream
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_a_document_is_told_until_it_is_ready_and_counted(watching: Watching, acme: SomeTenant) -> None:
    source = await acme.source()
    async with reading(watching, acme.console) as stream:
        document = await acme.put(source.id, "boats.md", "# Boats\n\nBoats float on water.")
        told = await stream.ready("boats.md")
        assert (told.document, told.source, told.percent, told.stage) == (document.id, source.id, 100, None)
        await stream.counted(ready=1)
    assert document.percent == 100


async def test_what_is_unfinished_comes_first_and_a_stream_may_end_when_all_is_settled(
    watching: Watching, acme: SomeTenant
) -> None:
    source = await acme.source()
    dock = await acme.app.uploads.dock(acme.console, source.id)
    for number in range(5):
        await acme.app.uploads.deliver(dock, f"{number}.md", pieces(f"Number {number}.".encode()), declared=None)
    async with reading(watching, acme.console, Watch(until_settled=True)) as stream:
        await stream.ended()
    assert stream.counts[-1].is_settled
    assert stream.counts[-1].amounts[DocumentStatus.READY] == 5
    last = {one.key: one for one in stream.documents}
    assert all(one.status is DocumentStatus.READY for one in last.values())


async def test_a_failure_is_told_with_its_reason(watching: Watching, acme: SomeTenant) -> None:
    source = await acme.source()
    async with reading(watching, acme.console) as stream:
        await acme.put(source.id, "bad.pdf", b"%PDF-1.7\nThis is no PDF after all.")
        await stream.counted(failed=1)
    told = stream.documents[-1]
    assert told.status is DocumentStatus.FAILED
    assert told.error is not None
    assert told.error.code == "damaged_document"


async def test_a_stream_of_one_source_tells_of_no_other(watching: Watching, acme: SomeTenant) -> None:
    wanted, other = await acme.source(), await acme.source()
    async with reading(watching, acme.console, Watch(wanted.id)) as stream:
        await acme.put(other.id, "other.md", "Other.")
        await acme.put(wanted.id, "wanted.md", "Wanted.")
        await stream.ready("wanted.md")
        await stream.counted(ready=1)
    assert {one.key for one in stream.documents} == {"wanted.md"}


async def test_a_source_that_is_not_there_is_refused(watching: Watching, acme: SomeTenant, tenant: TenantMaker) -> None:
    foreign = await (await tenant("Other")).source()
    for source in (foreign.id, SourceId(uuid.uuid4())):
        with pytest.raises(NotFound):
            await anext(watching.follow(asking(acme.console), Watch(source)))


async def test_each_reader_hears_of_what_it_may_read_and_of_nothing_else(
    watching: Watching, acme: SomeTenant, tenant: TenantMaker
) -> None:
    other = await tenant("Other")
    shared, private = (
        await acme.source("shared"),
        await acme.app.sources.create(acme.console, NewSource("private", owner=acme.console.user)),
    )
    limited = await acme.app.keys.create(
        acme.console, KeyWish("limited", frozenset({Scope.SEARCH}), sources=frozenset({shared.id}))
    )
    key = await acme.app.principals.authenticate(limited.clear)
    async with (
        reading(watching, acme.console) as owner,
        reading(watching, await acme.principal("search")) as colleague,
        reading(watching, key) as narrow,
        reading(watching, other.console) as stranger,
    ):
        theirs = await acme.source("theirs")
        await acme.put(private.id, "private.md", "Private.")
        await acme.put(theirs.id, "theirs.md", "Theirs.")
        await acme.put(shared.id, "shared.md", "Shared.")
        await other.put((await other.source()).id, "elsewhere.md", "Elsewhere.")
        await asyncio.gather(*(one.ready("shared.md") for one in (owner, colleague, narrow)))
        await asyncio.gather(
            stranger.ready("elsewhere.md"), owner.counted(ready=3), colleague.counted(ready=2), narrow.counted(ready=1)
        )
        await stranger.counted(ready=1)
    assert {one.key for one in owner.documents} == {"private.md", "theirs.md", "shared.md"}
    assert {one.key for one in colleague.documents} == {"theirs.md", "shared.md"}
    assert {one.key for one in narrow.documents} == {"shared.md"}
    assert {one.key for one in stranger.documents} == {"elsewhere.md"}


async def test_who_is_suspended_sees_the_stream_end_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, carrel: Stand, watching: Watching, acme: SomeTenant
) -> None:
    monkeypatch.setattr("carrel.library.progress._LOOK", 0.1)
    colleague = await a_person(carrel, editor=acme.id)
    token = colleague.token(acme.id)

    async def asker() -> Principal:
        return await carrel.app.principals.authenticate(token)

    events = watching.follow(asker, Watch())
    await anext(events)
    await carrel.app.members.change(acme.console, colleague.id, status=MemberStatus.SUSPENDED)
    await acme.put((await acme.source()).id, "after.md", "After.")

    async def read_on() -> None:
        async for told in events:
            assert not isinstance(told, Progress)

    with pytest.raises((Unauthenticated, Denied)):
        await asyncio.wait_for(read_on(), 30)


async def test_a_server_that_stops_ends_its_streams(watching: Watching, acme: SomeTenant) -> None:
    watch = Watch()
    async with reading(watching, acme.console, watch) as stream:
        watch.leaving.set()
        await stream.ended()


async def test_a_tenant_has_a_hundred_streams_and_takes_none_of_anothers(
    watching: Watching, acme: SomeTenant, tenant: TenantMaker
) -> None:
    other = await tenant("Other")
    async with AsyncExitStack() as stack:
        for _ in range(100):
            stack.enter_context(watching._watching(acme.id))
        with pytest.raises(Throttled):
            await anext(watching.follow(asking(acme.console), Watch()))
        async with reading(watching, other.console):
            pass
    async with reading(watching, acme.console):
        pass


async def test_readers_of_the_same_share_a_count_and_others_have_their_own(
    monkeypatch: pytest.MonkeyPatch, watching: Watching, acme: SomeTenant, tenant: TenantMaker
) -> None:
    """However many watch, one query a round: and another tenant or source is another round."""
    monkeypatch.setattr("carrel.library.tally._ROUND", 3600.0)
    real, counted = progress.counts, Counter[tuple[object, object]]()

    async def counts(tx: Transaction, source: SourceId | None) -> Mapping[DocumentStatus, int]:
        counted[tx.tenant, source] += 1
        return await real(tx, source)

    monkeypatch.setattr(progress, "counts", counts)
    source, other = (await acme.source()).id, await tenant("Other")
    async with AsyncExitStack() as stack:
        watches = [watch for watch in (Watch(), Watch(source)) for _ in range(20)]
        streams = [await stack.enter_async_context(reading(watching, acme.console, watch)) for watch in watches]
        theirs = await stack.enter_async_context(reading(watching, other.console))
        await asyncio.gather(*(stream.counted() for stream in (*streams, theirs)))
        assert counted == {(acme.id, None): 1, (acme.id, source): 1, (other.id, None): 1}
        monkeypatch.setattr("carrel.library.tally._ROUND", 0.5)
        await acme.put(source, "boats.md", "Boats float.")
        await asyncio.gather(*(stream.counted(ready=1) for stream in streams))
    assert counted[other.id, None] == 1


async def test_of_documents_that_are_under_way_so_many_are_remembered(
    monkeypatch: pytest.MonkeyPatch, carrel: Stand
) -> None:
    monkeypatch.setattr("carrel.library.progress._MOST_REMEMBERED", 3)
    view = _View(carrel.database, Tally(carrel.database), Watch())
    going = [a_progress(Stage.EMBED) for _ in range(5)]

    assert list(view._news(going)) == going
    assert list(view._shown) == [one.document for one in going[2:]]
    assert list(view._news(going[2:])) == [], "what is remembered is not told twice"
    assert list(view._news(going[:1])) == going[:1], "what was forgotten is"
    assert len(view._shown) == 3


def a_progress(stage: Stage | None) -> Progress:
    return Progress(
        document=DocumentId(new_id()),
        source=SourceId(new_id()),
        key="a.md",
        status=DocumentStatus.PROCESSING,
        stage=stage,
        percent=50,
        error=None,
    )


async def test_fifty_readers_hold_one_connection_and_no_transaction(
    carrel: Stand, watching: Watching, acme: SomeTenant
) -> None:
    source = await acme.source()
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(reading(watching, acme.console)) for _ in range(50)]
        async with connected(carrel.endpoint.superuser_url) as superuser:
            listening = "select count(*) from pg_stat_activity where query ilike 'listen %carrel_progress%'"
            assert await superuser.fetchval(listening) == 1
        await acme.put(source.id, "boats.md", "Boats float.")
        await asyncio.gather(*(stream.ready("boats.md") for stream in streams))
        assert carrel.database.borrowed <= 8
        assert all(len(stream.documents) <= 8 for stream in streams)


async def test_what_is_missed_while_nobody_listens_is_looked_at_again(
    carrel: Stand, watching: Watching, acme: SomeTenant
) -> None:
    source = await acme.source()
    async with reading(watching, acme.console) as stream:
        await acme.put(source.id, "before.md", "Before.")
        await stream.ready("before.md")
        async with connected(carrel.endpoint.superuser_url) as superuser:
            await superuser.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen %carrel_progress%'"
            )
        await acme.put(source.id, "after.md", "After.")
        await stream.counted(ready=2)


async def test_work_on_a_large_document_shows_its_stage_and_how_far_it_is(acme: SomeTenant) -> None:
    work = Work(a_claim(acme), for_job(acme.id, None))
    seen = []
    for stage in Stage:
        work.stage = stage
        seen.append(work.percent)
        if stage is Stage.EMBED:
            work.embedded(0.5)
            seen.append(work.percent)
            work.embedded(2.0)
            seen.append(work.percent)
    assert seen == [0, 5, 15, 20, 52, 85, 85, 95]


def a_claim(tenant: SomeTenant) -> Claim:
    return Claim(tenant.id, JobId(uuid.uuid4()), JobKind.INGEST, uuid.uuid4(), None, 1, 1)
