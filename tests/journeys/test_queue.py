"""The queue: fair between tenants, fenced, patient with what may pass, and awake when something comes."""

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from carrel.adapters.lexical.postgres import PostgresWords
from carrel.adapters.postgres import Endpoint
from carrel.adapters.vectors.pgvector import PgvectorIndexes
from carrel.domain.access import for_job, for_machine
from carrel.domain.errors import Unavailable, Unreadable
from carrel.domain.ids import SourceId, TenantId
from carrel.domain.jobs import MOST_ATTEMPTS, Claim, JobKind, delay_before
from carrel.domain.library import DocumentStatus, Stage
from carrel.ingest.desk import Desk, LeaseLost
from carrel.ingest.pipeline import Work
from carrel.store import jobs
from carrel.store.transaction import Database
from carrel.wiring import Base, tasks
from carrel.worker.floor import Floor
from carrel.worker.loop import Worker
from support.quiet import a_quiet_stand, a_worker_of, delivered, document_of, drained, idle, without_delays
from support.raw import connected
from support.recording import HookedWords, recorded
from support.stand import SECRETS, Stand
from support.tally import assert_whole, tally
from support.tenants import SomeTenant, a_tenant


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with a_quiet_stand(endpoint, "queue", tmp_path_factory.mktemp("queue"), models=models) as standing:
        yield standing


@pytest.fixture
async def acme(quiet: Stand) -> SomeTenant:
    """In an empty queue."""
    async with connected(quiet.endpoint.superuser_url) as connection:
        await connection.execute("truncate jobs, job_turns")
    return await a_tenant(quiet.app, "Acme")


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[asyncio.Event]:
    """The event stops it; at the end it is stopped anyway."""
    stop = asyncio.Event()
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        group.create_task(worker.run(stop))
        try:
            yield stop
        finally:
            stop.set()


async def until(true: Callable[[], bool], *, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - what the tests wait for has no event
            await asyncio.sleep(0.01)


async def ready(tenant: SomeTenant, source: SourceId) -> int:
    return (await tenant.app.sources.get(tenant.console, source)).documents[DocumentStatus.READY]


async def until_ready(tenant: SomeTenant, source: SourceId, count: int, *, seconds: float = 60.0) -> float:
    """How long it took."""
    started = asyncio.get_running_loop().time()
    async with asyncio.timeout(seconds):
        while await ready(tenant, source) < count:  # noqa: ASYNC110 - nor has this
            await asyncio.sleep(0.02)
    return asyncio.get_running_loop().time() - started


# Fair between tenants


async def enqueued(stand: Stand, tenant: TenantId, count: int, *, cost: int = 1, delay: float = 0) -> None:
    async with stand.database.transaction(for_job(tenant, None)) as tx:
        for _ in range(count):
            await jobs.enqueue(tx, JobKind.INGEST, uuid.uuid4(), cost=cost, delay=delay)


async def claimed(stand: Stand, count: int) -> list[TenantId]:
    """Whose job comes next, and next, and next; none is done."""
    turns = []
    async with stand.database.transaction(for_machine()) as tx:
        for _ in range(count):
            turns += [claim.tenant for claim in await jobs.claim(tx, [JobKind.INGEST], lease=60, most=1)]
    return turns


@pytest.mark.parametrize("size", [1_000, 40_000_000], ids=["a small file", "a large file"])
async def test_a_tenant_behind_three_hundred_jobs_of_another_starts_among_the_first(
    quiet: Stand, acme: SomeTenant, size: int
) -> None:
    small = await a_tenant(quiet.app, "Small")
    await enqueued(quiet, acme.id, 300)
    await claimed(quiet, 20)

    await enqueued(quiet, small.id, 1, cost=jobs.cost_of(size))

    assert small.id in (await claimed(quiet, 10))


async def test_two_tenants_take_turns_by_the_size_of_their_files(quiet: Stand, acme: SomeTenant) -> None:
    heavy = await a_tenant(quiet.app, "Heavy")
    await enqueued(quiet, acme.id, 60, cost=1)
    await enqueued(quiet, heavy.id, 60, cost=4)

    turns = Counter(await claimed(quiet, 50))

    assert 9 <= turns[heavy.id] <= 11, "one large file for four small ones"


async def test_a_retry_that_waits_gives_newcomers_no_head_start(quiet: Stand, acme: SomeTenant) -> None:
    newcomer = await a_tenant(quiet.app, "Newcomer")
    await enqueued(quiet, acme.id, 1, delay=300)
    await enqueued(quiet, acme.id, 100)
    await claimed(quiet, 90)

    await enqueued(quiet, newcomer.id, 100)

    assert Counter(await claimed(quiet, 22))[acme.id] == 10


async def test_a_tenant_that_was_idle_saves_nothing_up(quiet: Stand, acme: SomeTenant) -> None:
    sleeper = await a_tenant(quiet.app, "Sleeper")
    await enqueued(quiet, sleeper.id, 1)
    await enqueued(quiet, acme.id, 200)
    await claimed(quiet, 101)

    await enqueued(quiet, sleeper.id, 100)

    assert 9 <= Counter(await claimed(quiet, 20))[sleeper.id] <= 11


# Failing and trying again


def test_each_try_waits_about_twice_as_long_as_the_one_before_up_to_five_minutes() -> None:
    for attempt in range(1, 12):
        waits = [delay_before(attempt) for _ in range(50)]
        most = min(2.0**attempt, 300.0)
        assert most / 2 <= min(waits) < max(waits) <= most
    assert delay_before(100_000) <= 300, "a purge is tried for ever"


async def test_what_may_pass_is_tried_again_and_is_a_dead_letter_in_the_end(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    async def refuse(_: str) -> None:
        raise Unavailable("The parser is away.", code="parser_away")

    work = recorded(quiet, refuse)
    delivery = await delivered(acme, source, "a.md", "# A page")
    async with running(work.worker):
        await until(lambda: len(work.parser.keys) == 1)
        await asyncio.sleep(0.3)
        waiting = await document_of(acme, delivery)
    assert (waiting.status, waiting.attempts, waiting.error and waiting.error.code) == ("pending", 1, "parser_away")

    await drained(quiet, work.worker)

    dead = await document_of(acme, delivery)
    assert dead.error is not None
    assert (dead.status, dead.attempts, len(work.parser.keys)) == ("failed", MOST_ATTEMPTS, MOST_ATTEMPTS)
    assert (dead.error.code, dead.error.stage, dead.error.retryable) == ("parser_away", Stage.PARSE, True)
    assert (await tally(quiet, acme.id)).jobs == 0


async def test_what_will_not_pass_is_a_dead_letter_at_once(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    async def refuse(_: str) -> None:
        raise Unreadable("It is damaged.")

    work = recorded(quiet, refuse)
    delivery = await delivered(acme, source, "a.md", "# A page")
    await drained(quiet, work.worker)

    dead = await document_of(acme, delivery)
    assert dead.error is not None
    assert (dead.status, dead.attempts, dead.error.retryable) == ("failed", 1, False)


async def test_a_mistake_of_ours_is_tried_again_and_leaves_the_worker_standing(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    async def break_once(_: str) -> None:
        if len(work.parser.keys) == 1:
            raise ZeroDivisionError

    work = recorded(quiet, break_once)
    delivery = await delivered(acme, source, "a.md", "# A page")
    await drained(quiet, work.worker)

    done = await document_of(acme, delivery)
    assert (done.status, done.attempts, done.error) == ("ready", 2, None)


# Leases and fences


async def lose(stand: Stand) -> None:
    """Every lease ends now, and with the next claim is another's."""
    async with connected(stand.endpoint.superuser_url) as connection:
        await connection.execute("update jobs set leased_until = now() - interval '1 second'")


async def stolen(stand: Stand) -> Claim:
    await lose(stand)
    (claim,) = await Desk(stand.database).claim([JobKind.INGEST], lease=60, most=1)
    return claim


async def test_who_lost_the_lease_can_neither_go_on_nor_fail_nor_postpone(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    desk = Desk(quiet.database)
    delivery = await delivered(acme, source, "a.md", "# A page")
    (older,) = await desk.claim([JobKind.INGEST], lease=60, most=1)
    newer = await stolen(quiet)
    assert (older.orphaned, newer.orphaned, newer.epoch) == (False, True, older.epoch + 1)
    before = await document_of(acme, delivery)

    late = Work(older, for_job(acme.id, None))
    with pytest.raises(LeaseLost):
        await desk.begin(late)
    with pytest.raises(LeaseLost):
        await desk.beat(late, lease=60)
    for refusal in (Unavailable("Later."), Unreadable("Never.")):
        with pytest.raises(LeaseLost):
            await desk.settle(late, refusal)

    assert await document_of(acme, delivery) == before


@pytest.mark.parametrize("finishes", [True, False], ids=["the thief has finished", "the thief is at work"])
@pytest.mark.parametrize("moment", ["before it is parsed", "before the commit"])
async def test_who_lost_the_lease_commits_nothing(
    quiet: Stand, acme: SomeTenant, source: SourceId, moment: str, *, finishes: bool
) -> None:
    ingest, desk = tasks(quiet.parts, quiet.parser)[JobKind.INGEST], Desk(quiet.database)

    async def steal(_: str) -> None:
        thief = Work(await stolen(quiet), for_job(acme.id, None))
        await desk.begin(thief)
        if finishes:
            await ingest(thief)

    delivery = await delivered(acme, source, "a.md", "# A page\n\nThat is stolen.")
    (claim,) = await desk.claim([JobKind.INGEST], lease=60, most=1)
    late = Work(claim, for_job(acme.id, None))
    await desk.begin(late)
    parts, parser = quiet.parts, recorded(quiet, steal).parser
    if moment == "before the commit":
        parts, parser = replace(parts, words=HookedWords(parts.words, steal)), recorded(quiet).parser
    with pytest.raises(LeaseLost):
        await tasks(parts, parser)[JobKind.INGEST](late)

    document = await document_of(acme, delivery)
    assert (document.status, document.attempts) == ("ready" if finishes else "processing", 2)
    await lose(quiet)
    await drained(quiet)
    assert_whole(await tally(quiet, acme.id), documents=1)


async def test_a_worker_that_slept_through_its_lease_does_not_unsettle_what_another_finished(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    desk = Desk(quiet.database)
    delivery = await delivered(acme, source, "a.md", "# A page")
    (claim,) = await desk.claim([JobKind.INGEST], lease=60, most=1)
    await lose(quiet)
    await drained(quiet)

    with pytest.raises(LeaseLost):
        await desk.begin(Work(claim, for_job(acme.id, None)))

    assert (await document_of(acme, delivery)).status is DocumentStatus.READY


async def test_a_heartbeat_keeps_a_long_job(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    async def slowly(_: str) -> None:
        await asyncio.sleep(1.5)

    busy, idler = recorded(quiet, slowly, lease=0.5), recorded(quiet, lease=0.5)
    await delivered(acme, source, "long.md", "# A page")
    async with running(busy.worker):
        await until(lambda: busy.parser.keys == ["long.md"])
        async with running(idler.worker):
            await until_ready(acme, source, 1)

    assert (busy.parser.keys, idler.parser.keys) == (["long.md"], [])


async def test_two_workers_never_have_one_job(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    one, other = recorded(quiet), recorded(quiet)
    for number in range(24):
        await delivered(acme, source, f"{number}.md", f"# Page {number}")
    async with running(one.worker), running(other.worker):
        await until_ready(acme, source, 24)
        await idle(quiet)

    assert sorted(one.parser.keys + other.parser.keys) == sorted(f"{number}.md" for number in range(24))
    assert min(len(one.parser.keys), len(other.parser.keys)) > 3, "they share the work"
    assert_whole(await tally(quiet, acme.id), documents=24)


# Waking and stopping


async def test_an_idle_worker_wakes_at_once(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    async with running(a_worker_of(quiet)):
        await until_attended(quiet)
        await asyncio.sleep(0.2)
        await delivered(acme, source, "a.md", "# A page")
        assert await until_ready(acme, source, 1) < 1.0


class DeafDesk(Desk):
    """Hears no NOTIFY."""

    @asynccontextmanager
    async def listening(self, heard: Callable[[str], None]) -> AsyncIterator[asyncio.Event]:  # noqa: ARG002 - never called
        yield asyncio.Event()


async def test_a_worker_that_hears_nothing_looks_now_and_then(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    desk = DeafDesk(quiet.database)
    async with running(Worker(desk, tasks(quiet.parts, quiet.parser), concurrency=3, lease=30)):
        await asyncio.sleep(0.2)
        await delivered(acme, source, "a.md", "# A page")
        assert await until_ready(acme, source, 1) < 4.0


async def test_a_worker_rests_once_when_nothing_was_in_hand_for_a_while(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    begun, go_on, rests, ends = asyncio.Event(), asyncio.Event(), list[float](), list[float]()
    known, clock = tasks(quiet.parts, quiet.parser), asyncio.get_running_loop().time

    async def held(work: Work) -> None:
        begun.set()
        await go_on.wait()
        await known[JobKind.INGEST](work)
        ends.append(clock())

    doing = {JobKind.INGEST: held}
    worker = Worker(Desk(quiet.database), doing, concurrency=3, lease=30, rest=lambda: rests.append(clock()))
    async with running(worker):
        await delivered(acme, source, "a.md", "# A page")
        await begun.wait()
        await asyncio.sleep(2.2)  # it looks now and then, and finds one in hand
        assert rests == []
        go_on.set()
        await until_ready(acme, source, 1)
        await until(lambda: len(rests) == 1)
        await asyncio.sleep(2.2)
        await delivered(acme, source, "b.md", "# Another page")
        await until_ready(acme, source, 2)
        await until(lambda: len(rests) == 2)
    assert rests[0] - ends[0] < 1.9, "it had not rested for long: a moment is enough"
    assert rests[1] - ends[1] >= 1.9, "it had: it waits whether something comes"


async def test_a_worker_whose_connections_are_cut_goes_on(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    async with running(a_worker_of(quiet, lease=1.0)):
        await until_attended(quiet)
        async with connected(quiet.endpoint.superuser_url) as connection:
            cut = await connection.fetchval(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = $1", quiet.endpoint.app
            )
        assert cut >= 2
        await asyncio.sleep(0.1)
        with suppress(Unavailable):  # the first borrower of a dead connection notices it
            await quiet.app.desk.backlog()
        await until_attended(quiet)
        await delivered(acme, source, "a.md", "# A page")
        await until_ready(acme, source, 1)


async def until_attended(stand: Stand) -> None:
    async with asyncio.timeout(120):
        while True:
            with suppress(Unavailable):
                if await stand.app.desk.is_attended():
                    return
            await asyncio.sleep(0.02)


async def test_a_worker_that_is_stopped_finishes_what_it_has_and_takes_nothing_new(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    go_on = asyncio.Event()

    async def wait(_: str) -> None:
        await go_on.wait()

    work = recorded(quiet, wait)
    for number in range(5):
        await delivered(acme, source, f"{number}.md", f"# Page {number}")
    async with running(work.worker) as stop:
        await until(lambda: len(work.parser.keys) == 3)
        stop.set()
        await asyncio.sleep(0.1)
        go_on.set()

    assert await ready(acme, source) == 3
    assert len(work.parser.keys) == 3
    await drained(quiet)
    assert_whole(await tally(quiet, acme.id), documents=5)


async def test_a_newcomer_does_not_wait_behind_the_large_documents_of_others(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    newcomer = await a_tenant(quiet.app, "Newcomer")
    corner = (await newcomer.source()).id
    go_on = asyncio.Event()

    async def wait(key: str) -> None:
        if key != "small.md":
            await go_on.wait()

    work = recorded(quiet, wait)
    for number in range(5):
        await delivered(acme, source, f"{number}.md", f"# Page {number}")
    async with running(work.worker):
        await until(lambda: len(work.parser.keys) == 3)
        await delivered(newcomer, corner, "small.md", "# A page")
        await until_ready(newcomer, corner, 1)
        assert len(work.parser.keys) == 4
        go_on.set()
        await until_ready(acme, source, 5)


class CountingDesk(Desk):
    """Counts how often newcomers are looked for."""

    looks = 0

    async def claim(
        self, kinds: Sequence[JobKind], *, lease: float, most: int, passed_over: Collection[TenantId] = ()
    ) -> list[Claim]:
        self.looks += bool(passed_over)
        return await super().claim(kinds, lease=lease, most=most, passed_over=passed_over)


async def test_newcomers_are_looked_for_on_news_and_seldom_without(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    desk = CountingDesk(quiet.database)
    for number in range(30):
        await delivered(acme, source, f"{number}.md", f"# Page {number}")
    async with running(Worker(desk, tasks(quiet.parts, quiet.parser), concurrency=3, lease=30)):
        for number in range(30, 40):
            await delivered(acme, source, f"{number}.md", f"# Page {number}")
        took = await until_ready(acme, source, 40)
        busy = desk.looks
        await asyncio.sleep(0.2)
    assert busy <= 5 + took, "not at each of forty documents, nor at each that comes"


async def test_a_claim_reads_the_front_of_the_queue_and_no_more(quiet: Stand, acme: SomeTenant) -> None:
    await enqueued(quiet, acme.id, 3_000)
    async with connected(quiet.endpoint.superuser_url) as connection:
        (explained,) = json.loads(
            await connection.fetchval(
                "explain (analyze, buffers, format json) select * from claim_jobs(array['ingest'], '1s', 1, '{}')"
            )
        )
    assert explained["Plan"]["Actual Rows"] == 1
    assert explained["Plan"]["Shared Hit Blocks"] < 1_500, "a few for each of a hundred jobs"


async def test_a_worker_has_so_many_jobs_of_one_tenant_and_places_for_others(quiet: Stand, acme: SomeTenant) -> None:
    rival, go_on, begun = await a_tenant(quiet.app, "Rival"), asyncio.Event(), list[TenantId]()

    async def walk(work: Work) -> None:
        begun.append(work.claim.tenant)
        await go_on.wait()
        async with quiet.database.transaction(work.grant) as tx:
            await jobs.finish(tx, work.claim)

    async with quiet.database.transaction(for_job(acme.id, None)) as tx:
        for _ in range(6):
            await jobs.enqueue(tx, JobKind.REFRESH, uuid.uuid4())
    walker = Worker(Desk(quiet.database), {JobKind.REFRESH: walk}, concurrency=4, lease=30, share=2)
    async with running(walker):
        await until(lambda: len(begun) == 2)
        async with quiet.database.transaction(for_job(rival.id, None)) as tx:
            for _ in range(3):
                await jobs.enqueue(tx, JobKind.REFRESH, uuid.uuid4())
        await until(lambda: len(begun) == 4)
        assert Counter(begun) == {acme.id: 2, rival.id: 2}
        go_on.set()
        await until(lambda: len(begun) == 9)


async def test_a_tenant_with_its_share_in_hand_hides_nobody_however_much_it_has_due(
    quiet: Stand, acme: SomeTenant
) -> None:
    """And it is walked by along the order of the turns, not looked for in the whole queue."""
    rival = await a_tenant(quiet.app, "Rival")
    await walks_asked_for(quiet, acme.id, 5_000)
    await walks_asked_for(quiet, rival.id, 2)
    async with connected(quiet.endpoint.superuser_url) as superuser:
        await superuser.execute("analyze jobs")
        for plan in ("force_generic_plan", "force_custom_plan"):
            await superuser.execute(f"discard plans; begin; set local plan_cache_mode = {plan}")
            taken = await superuser.fetch(
                "select tenant_id from claim_jobs('{refresh}', interval '1 minute', 3, array[$1::uuid])", acme.id
            )
            await superuser.execute("rollback")
            assert [row["tenant_id"] for row in taken] == [rival.id, rival.id]
        scans = "select pg_stat_get_xact_numscans($1::regclass)"
        whole, in_turn = [await superuser.fetchval(scans, name) for name in ("jobs", "jobs_in_turn")]
        assert (whole, in_turn) == (0, 2)


async def test_jobs_that_are_held_are_walked_by_by_nobody(quiet: Stand, acme: SomeTenant) -> None:
    await walks_asked_for(quiet, acme.id, 5_000)
    async with connected(quiet.endpoint.superuser_url) as superuser:
        await superuser.execute("update jobs set due_at = 'infinity', kind = 'ingest'")
        await superuser.execute("vacuum analyze jobs")
    async with connected(quiet.endpoint.superuser_url) as superuser, superuser.transaction():
        await superuser.execute("select set_config('carrel.tenant', $1, true)", str(acme.id))
        taken = await superuser.fetch("select id from claim_jobs('{ingest}', interval '1 minute', 3, '{}')")
        await superuser.execute(
            "select enqueue_job(gen_random_uuid(), 'ingest', gen_random_uuid(), null, interval '0', 1)"
        )
        read = await superuser.fetchval("select pg_stat_get_xact_tuples_returned('jobs_in_turn'::regclass)")
        whole = await superuser.fetchval("select pg_stat_get_xact_numscans('jobs'::regclass)")
    assert (taken, read, whole) == ([], 0, 0)


async def walks_asked_for(stand: Stand, tenant: TenantId, count: int) -> None:
    async with connected(stand.endpoint.superuser_url) as superuser, superuser.transaction():
        await superuser.execute("select set_config('carrel.tenant', $1, true)", str(tenant))
        await superuser.execute(
            "select enqueue_job(gen_random_uuid(), 'refresh', gen_random_uuid(), null, interval '0', 1)"
            " from generate_series(1, $1::integer)",
            count,
        )


async def test_a_worker_survives_what_it_does_not_expect(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    worker = Worker(StumblingDesk(quiet.database), tasks(quiet.parts, quiet.parser), concurrency=3, lease=30)
    async with running(worker):
        await delivered(acme, source, "a.md", "# A page")
        await until_ready(acme, source, 1)


class StumblingDesk(Desk):
    """Its first claim fails in a way that nobody foresaw."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._stumbled = False

    async def claim(
        self, kinds: Sequence[JobKind], *, lease: float, most: int, passed_over: Collection[TenantId] = ()
    ) -> list[Claim]:
        if not self._stumbled:
            self._stumbled = True
            raise RuntimeError("nobody foresaw this")
        return await super().claim(kinds, lease=lease, most=most, passed_over=passed_over)


async def test_what_is_asked_for_again_while_it_runs_runs_once_more(quiet: Stand, acme: SomeTenant) -> None:
    runs = 0

    async def ask_twice(work: Work) -> None:
        nonlocal runs
        runs += 1
        async with quiet.database.transaction(work.grant) as tx:
            if runs == 1:
                for _ in range(2):
                    await jobs.enqueue(tx, JobKind.WEIGH, acme.id)
        async with quiet.database.transaction(work.grant) as tx:
            await jobs.finish(tx, work.claim)

    async with quiet.database.transaction(for_job(acme.id, None)) as tx:
        for _ in range(3):
            await jobs.enqueue(tx, JobKind.WEIGH, acme.id)
    await drained(quiet, a_worker_of(quiet, doing={JobKind.WEIGH: ask_twice}))

    assert runs == 2


async def test_weighing_that_is_asked_for_again_while_it_runs_waits_a_little(quiet: Stand, acme: SomeTenant) -> None:
    async with quiet.database.transaction(for_job(acme.id, None)) as tx:
        await jobs.enqueue(tx, JobKind.WEIGH, acme.id)
    (claim,) = await quiet.app.desk.claim([JobKind.WEIGH], lease=60, most=1)
    work = Work(claim, for_job(acme.id, None))
    async with quiet.database.transaction(work.grant) as tx:
        await jobs.enqueue(tx, JobKind.WEIGH, acme.id)

    await tasks(quiet.parts, quiet.parser)[JobKind.WEIGH](work)

    backlog = await quiet.app.desk.backlog()
    assert (backlog.waiting, backlog.running, backlog.later) == (0, 0, 1)
    await drained(quiet)


@pytest.mark.parametrize(
    ("kinds", "attempts", "alone"),
    [
        ((JobKind.INGEST, JobKind.INGEST), 1, False),
        ((JobKind.INGEST, JobKind.INGEST), 2, True),
        ((JobKind.INGEST, JobKind.WEIGH), 2, False),
        ((JobKind.PURGE, JobKind.INGEST), 5, False),
        ((JobKind.WEIGH, JobKind.PURGE), 5, False),
    ],
)
async def test_only_a_document_whose_worker_died_is_read_beside_no_other(
    quiet: Stand, acme: SomeTenant, kinds: tuple[JobKind, JobKind], attempts: int, *, alone: bool
) -> None:
    together = asyncio.Barrier(2)

    async def meet(work: Work) -> None:
        with suppress(TimeoutError, asyncio.BrokenBarrierError):
            async with asyncio.timeout(0.5 if alone else 30):
                await together.wait()
                met.append(work.claim.kind)
        async with quiet.database.transaction(work.grant) as tx:
            await jobs.finish(tx, work.claim)

    met: list[JobKind] = []
    subjects = uuid.uuid4(), uuid.uuid4()
    async with quiet.database.transaction(for_job(acme.id, None)) as tx:
        for kind, subject in zip(kinds, subjects, strict=True):
            await jobs.enqueue(tx, kind, subject)
    await orphaned(quiet, subjects[0], attempts=attempts)

    await drained(quiet, a_worker_of(quiet, doing=dict.fromkeys(kinds, meet)))

    assert (len(met) == 0) == alone


async def orphaned(stand: Stand, subject: uuid.UUID, *, attempts: int) -> None:
    """Its worker died with it, and the next attempt is of that number."""
    async with connected(stand.endpoint.superuser_url) as connection:
        await connection.execute(
            "update jobs set attempts = $1, leased_until = now() - interval '1 second' where subject_id = $2",
            attempts - 1,
            subject,
        )


async def test_while_a_suspect_is_read_deletions_go_on_and_other_workers_have_the_documents(
    quiet: Stand, acme: SomeTenant
) -> None:
    rival = await a_tenant(quiet.app, "Rival")
    suspect, begun, go_on = uuid.uuid4(), list[Work](), asyncio.Event()

    async def work_on(work: Work) -> None:
        begun.append(work)
        if work.claim.subject == suspect:
            await go_on.wait()
        async with quiet.database.transaction(work.grant) as tx:
            await jobs.finish(tx, work.claim)

    async def leased() -> int:
        async with connected(quiet.endpoint.superuser_url) as connection:
            sql = "select count(*) from jobs where kind = 'ingest' and leased_until > now()"
            return int(await connection.fetchval(sql))

    async with quiet.database.transaction(for_job(acme.id, None)) as tx:
        await jobs.enqueue(tx, JobKind.INGEST, suspect)
        await jobs.enqueue(tx, JobKind.INGEST, uuid.uuid4())  # is claimed with it, and takes no place while it waits
    await orphaned(quiet, suspect, attempts=2)
    doing = {JobKind.INGEST: work_on, JobKind.PURGE: work_on}
    async with running(a_worker_of(quiet, concurrency=2, doing=doing)):
        await until(lambda: any(work.claim.subject == suspect for work in begun))
        before = len(begun)  # two, if the other one came first through the door
        await enqueued(quiet, rival.id, 3)
        async with quiet.database.transaction(for_job(acme.id, None)) as tx:
            await jobs.enqueue(tx, JobKind.PURGE, uuid.uuid4())
        await until(lambda: len(begun) > before)
        assert begun[before].claim.kind is JobKind.PURGE
        assert await leased() == 3 - before
        async with running(a_worker_of(quiet, concurrency=2, doing=doing)):
            await until(lambda: len(begun) == before + 4)
        assert [work.claim.tenant for work in begun[before + 1 :]] == [rival.id] * 3
        go_on.set()
        await until(lambda: len(begun) == 6)
        await idle(quiet)


async def test_too_few_connections_cost_time_and_nothing_else(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    for number in range(8):
        await delivered(acme, source, f"{number}.md", f"# Page {number}")
    narrow = await Database.connect(quiet.endpoint.app_url, connections=2, patience=0.2)
    base = Base(narrow, quiet.parts.base.blobs, SECRETS)
    parts = replace(quiet.parts, base=base, vectors=PgvectorIndexes(narrow), words=PostgresWords(narrow))
    worker = Worker(Desk(narrow), tasks(parts, quiet.parser), concurrency=8, lease=2.0)

    async with running(worker), without_delays(quiet):
        for _ in range(3):
            async with narrow.transaction(for_machine()), narrow.transaction(for_machine()):
                await asyncio.sleep(0.3)
        await until_ready(acme, source, 8)
        await idle(quiet)

    assert narrow.borrowed == 0
    await narrow.close()
    assert_whole(await tally(quiet, acme.id), documents=8)


async def test_a_suspect_works_alone_and_is_not_kept_waiting_for_ever() -> None:
    floor, inside, seen = Floor(), set[int](), list[tuple[int, int]]()

    async def work(number: int, *, alone: bool) -> None:
        async with floor.entered(alone=alone):
            inside.add(number)
            await asyncio.sleep(0.01)
            seen.append((number, len(inside)))
            inside.remove(number)

    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for number in range(9):
            group.create_task(work(number, alone=number in {4, 5}))

    crowds = dict(seen)
    assert (crowds[4], crowds[5]) == (1, 1)
    assert crowds[0] > 1
    assert crowds[6] > 1
