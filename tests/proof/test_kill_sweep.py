"""`kill -9` of the worker, the API and PostgreSQL, again and again, while documents come, change and go.

Writers bring them, walks find them at places that change meanwhile, webhooks tell of them, and the scrub reads them
again. At the end each acknowledged document stands exactly once with its last acknowledged content, each source is as
its place is, nothing else stands, and each event was told.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg
import pytest

from carrel.adapters.postgres import EmbeddedPostgres
from carrel.ask.pipeline import SearchWish
from carrel.cli.serve import listen
from carrel.domain.access import console
from carrel.domain.errors import Unavailable
from carrel.domain.ids import DeliveryId
from carrel.domain.layout import Isolation
from carrel.domain.webhooks import Occasion, message_id
from carrel.ingest.retry import Redrive
from carrel.ingest.sweep import Sweep
from carrel.store.transaction import translated
from carrel.tenancy.webhooks import WebhookWish
from carrel.wiring import assemble, fetching, tasks
from carrel.wiring.webhooks import dispatch
from support.changing import KINDS, Followed, followed
from support.crash_worker import places_of
from support.fate import FEW, Order, thresholds_at
from support.nursery import a_nursery
from support.quiet import a_worker_of, blobs_of, drained, without_delays
from support.raw import connected
from support.receiver import Receiver, a_receiver
from support.rounds import rounds
from support.s3_server import S3Server
from support.sites import a_site
from support.stand import Stand, a_stand
from support.storm import LEASE, Ground, Storm, Toll
from support.tally import assert_whole, tally
from support.tenants import SomeTenant, a_tenant
from support.writers import Ledger, a_file, acts_of, write

pytestmark = pytest.mark.proof

TENANTS: Final = rounds(2, 4)
WRITERS: Final = 2  # for each tenant, each with keys of its own
DOCUMENTS: Final = rounds(48, 4_864)  # that writers bring
THINGS: Final = rounds(12, 48)  # at each of the four places
TOLL: Final = Toll(rounds(8, 590), rounds(2, 110))
EVENTS: Final = frozenset({Occasion.DOCUMENT_READY, Occasion.DOCUMENT_FAILED, Occasion.SOURCE_REFRESHED})
DEADLINE: Final = rounds(600, 3_300)  # seconds for everything; then the test says what it waits for


@dataclass(frozen=True)
class Scene:
    """What the storm comes over."""

    ground: Ground
    ledgers: list[Ledger]
    follow: list[Followed]
    receiver: Receiver

    @property
    def stand(self) -> Stand:
        return self.ground.stand

    def promised(self, ledger: Ledger) -> Mapping[str, tuple[str, bytes]]:
        """The word and the bytes of each document of the tenant."""
        promised = {key: (word, a_file(key, word)) for key, word in ledger.words.items()}
        for one in self.follow:
            if one.ledger is ledger:
                promised |= one.place.contents()
        return promised


@pytest.fixture
async def scene(models: Path, tmp_path: Path, s3: S3Server) -> AsyncIterator[Scene]:
    home = tmp_path / "home"
    with EmbeddedPostgres(home) as endpoint, listen("127.0.0.1", 0) as listener, (tmp_path / "said").open("wb") as said:
        async with (
            a_stand(endpoint, home, models=models) as bare,
            a_site() as site,
            a_receiver() as receiver,
            a_nursery(said) as nursery,
        ):
            slugs = [(await a_tenant(bare.app, f"Storm {number}")).slug for number in range(TENANTS)]
            folders = {slug: str(tmp_path / slug) for slug in slugs}
            ground = Ground(bare, nursery, listener, models, home, folders, (s3.url,), str(site.port))
            ground = replace(ground, stand=opened(ground))
            ledgers = [await a_ledger(ground.stand, slug, receiver) for slug in slugs]
            follow = []
            for number, kind in enumerate(KINDS):
                ledger = ledgers[number % TENANTS]
                folder = Path(folders[ledger.tenant.slug])
                follow.append(await followed(ledger, kind, folder=folder, site=site, s3=s3))
            yield Scene(ground, ledgers, follow, receiver)


def opened(ground: Ground) -> Stand:
    """The stand with the same places open as its victims have."""
    stand = ground.stand
    order = Order("", "", "", "", folders=ground.folders, endpoints=ground.endpoints, ports=ground.ports)
    parts = replace(stand.parts, base=replace(stand.parts.base, places=places_of(order)), thresholds=thresholds_at(FEW))
    return replace(stand, app=assemble(parts), parts=parts)


async def a_ledger(stand: Stand, slug: str, receiver: Receiver) -> Ledger:
    """Of a tenant that wants to be told everything."""
    tenant = SomeTenant(stand.app, await stand.app.tenants.find(console(None), slug))
    made = await tenant.app.webhooks.create(tenant.console, WebhookWish(receiver.url, EVENTS))
    receiver.secrets.append(made.secret.reveal())
    return Ledger(tenant, (await tenant.source()).id, await tenant.key())


@pytest.mark.timeout(DEADLINE + 60)
async def test_whatever_is_killed_nothing_is_lost_doubled_or_stuck(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    started, storm = time.monotonic(), Storm(scene.ground, TOLL, random.Random(3))
    async with in_time(storm):
        await rage(storm, scene)
        calm = time.monotonic()
        redriven = await calmed(scene)
        for ledger in scene.ledgers:
            await assert_promises_kept(scene, ledger)
        told = await assert_told(scene)
        scrubbed = await assert_scrubbed(scene)
    documents = DOCUMENTS + sum(len(one.place.ever) for one in scene.follow)
    assert (storm.killed.total() >= TOLL.total, documents >= rounds(50, 5_000)) == (True, True)
    with capsys.disabled():
        print(  # noqa: T201 - the verdict of the proof
            f"\nkills: {storm.summary()} over {documents} documents of {TENANTS} tenants: 0 lost, 0 doubled, 0 stuck,"
            f" {redriven} redriven, {told} events told, {scrubbed} files read again;"
            f" {calm - started:.0f} s of storm, {time.monotonic() - calm:.0f} s until all was checked"
        )


@asynccontextmanager
async def in_time(storm: Storm) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(DEADLINE):
            yield
    except TimeoutError:
        pytest.fail(f"Something is stuck after {storm.summary()} of {storm.acts}. {await state_of(storm)}")


async def state_of(storm: Storm) -> str:
    """What waits in the queue, for whoever has to find out why it does."""
    api = f"The API {'serves' if storm.serving else 'is down'}; PostgreSQL is process {storm.server()}."
    try:
        async with asyncio.timeout(60), connected(storm.ground.stand.endpoint.superuser_url) as connection:
            found = [row for question in _STATE for row in await connection.fetch(question)]
    except (OSError, TimeoutError, asyncpg.PostgresError) as problem:
        return f"{api} The database does not answer: {problem!r}"
    return "\n".join([api, *map(str, found)])


async def rage(storm: Storm, scene: Scene) -> None:
    """Returns when everything is written and everybody is dead."""
    plans = [
        (ledger, acts_of(f"writer-{writer}", DOCUMENTS // TENANTS // WRITERS, storm.chance))
        for ledger in scene.ledgers
        for writer in range(WRITERS)
    ]
    storm.acts = sum(len(acts) for _, acts in plans)
    async with asyncio.TaskGroup() as serving:
        api = serving.create_task(storm.foreground())
        async with asyncio.TaskGroup() as group:
            group.create_task(storm.background())
            group.create_task(aging(storm))
            for one in scene.follow:
                group.create_task(moving(storm, one))
            for ledger, acts in plans:
                group.create_task(write(ledger, acts, scene.ground.url, may=storm.may_write))
        api.cancel()


async def moving(storm: Storm, one: Followed) -> None:
    """The place changes, and is walked also while it does not."""
    async with one.ledger.client(storm.ground.url) as client:
        while not storm.is_over:
            await one.change(storm.chance, most=THINGS)
            for _ in range(2):
                await one.ask(client)
                await storm.more(kills=2)


async def aging(storm: Storm) -> None:
    """Some of the bytes become old enough to be read again."""
    while not storm.is_over:
        with suppress(Unavailable), translated():
            async with connected(storm.ground.stand.endpoint.superuser_url) as connection:
                await connection.execute(_OLD)
        await storm.more(kills=1)


async def calmed(scene: Scene) -> int:
    """A worker that nobody kills does what is left. How many documents had to be tried anew."""
    redriven, stand = 0, scene.stand
    await answering(stand)
    for _ in range(3):
        await everything_done(stand)
        redriven += sum(
            [
                await ledger.tenant.app.retries.many(ledger.tenant.console, Redrive(force=True))
                for ledger in scene.ledgers
            ]
        )
    for one in scene.follow:
        await stand.app.refreshes.request(one.ledger.tenant.console, one.source)
    await everything_done(stand)
    async with connected(stand.endpoint.superuser_url) as connection:
        await connection.execute(_SEARCHES_ARE_OVER)
    await Sweep(stand.database, stand.parts.base.blobs, thresholds=stand.parts.thresholds, grace=0).run()
    await everything_done(stand)
    async with connected(stand.endpoint.superuser_url) as connection:
        await connection.execute(_TELL_NOW)
    await dispatch(stand.parts.base).drain()
    return redriven


async def everything_done(stand: Stand) -> None:
    """Walks have places of their own, as in a worker: they wait while too many documents wait."""
    documents = tasks(stand.parts, stand.parser)
    walker = a_worker_of(stand, lease=LEASE, doing=fetching(stand.parts.base).tasks)
    stop = asyncio.Event()
    async with asyncio.timeout(rounds(300, 1_500)), without_delays(stand), asyncio.TaskGroup() as group:
        group.create_task(a_worker_of(stand, lease=LEASE, doing=documents).run(stop))
        await walker.drain()
        stop.set()
    await drained(stand, a_worker_of(stand, lease=LEASE, doing=documents), seconds=rounds(300, 1_500))


async def answering(stand: Stand) -> None:
    """Until PostgreSQL is back, if it was the last to be killed."""
    async with asyncio.timeout(60):
        while True:
            with suppress(Unavailable):
                await stand.app.desk.backlog()
                return
            await asyncio.sleep(0.1)


async def assert_promises_kept(scene: Scene, ledger: Ledger) -> None:
    stand, promised = scene.stand, scene.promised(ledger)
    assert_whole(await tally(stand, ledger.tenant.id), documents=len(promised))
    assert (await stand.app.tenants.find(console(None), ledger.tenant.slug)).isolation == Isolation.DEDICATED
    async with connected(stand.endpoint.superuser_url) as connection:
        found = await connection.fetch(_DOCUMENTS, UUID(str(ledger.tenant.id)))
        chunks = await connection.fetch(_CHUNKS, UUID(str(ledger.tenant.id)))
    fingerprints = {key: sha256(content).digest() for key, (_, content) in promised.items()}
    assert {row["key"]: row["fingerprint"] for row in found} == fingerprints
    assert [row for row in chunks if promised[row["key"]][0] not in row["text"]] == []
    assert {row["key"] for row in chunks} == set(promised)
    kept = {sha256(path.read_bytes()).digest() for path in (blobs_of(stand) / str(ledger.tenant.id)).iterdir()}
    assert kept == set(fingerprints.values())
    for key, (word, _) in promised.items():
        await assert_found(ledger, key, word)


async def assert_found(ledger: Ledger, key: str, word: str) -> None:
    found = await ledger.tenant.app.asking.search(ledger.tenant.console, SearchWish(word, limit=5))
    assert found.alarms == 0
    assert found.hits[0].key == key
    assert {hit.key for hit in found.hits if word in hit.text} == {key}


async def assert_told(scene: Scene) -> int:
    """Each event came at least once, signed, and none that never was. How many there were."""
    async with connected(scene.stand.endpoint.superuser_url) as connection:
        deliveries = await connection.fetch(_DELIVERIES)
        versions = await connection.fetch("select live_version_id as id from documents where deleted_at is null")
        runs = await connection.fetch(_RUNS)
    assert Counter(row["state"] for row in deliveries) == {"delivered": len(deliveries)}
    assert {told.id for told in scene.receiver.told} == {message_id(DeliveryId(row["id"])) for row in deliveries}
    assert all(told.signed_with for told in scene.receiver.told)
    ready = Counter(row["version"] for row in deliveries if row["event"] == Occasion.DOCUMENT_READY)
    ended = Counter(row["run"] for row in deliveries if row["event"] == Occasion.SOURCE_REFRESHED)
    assert {str(row["id"]) for row in versions} <= set(ready)
    assert {str(row["id"]) for row in runs} <= set(ended)
    assert {*ready.values(), *ended.values()} == {1}, "each was announced once"
    return len(deliveries)


async def assert_scrubbed(scene: Scene) -> int:
    """The scrub found nothing wrong. How many files it has read."""
    async with connected(scene.stand.endpoint.superuser_url) as connection:
        assert await connection.fetchval("select count(*) from document_versions where content_code is not null") == 0
        read = await connection.fetchval(
            "select count(*) from document_versions where checked_at > now() - interval '1 day'"
        )
    assert read > 0
    return int(read)


_DOCUMENTS: Final = """
    select d.key, v.fingerprint from documents d
    join document_versions v on v.tenant_id = d.tenant_id and v.id = d.live_version_id and v.id = d.newest_version_id
    where d.tenant_id = $1 and d.deleted_at is null and v.state = 'ready'
"""
_CHUNKS: Final = """
    select d.key, c.text from chunks c join documents d on d.tenant_id = c.tenant_id and d.id = c.document_id
    where c.tenant_id = $1
"""
_SEARCHES_ARE_OVER: Final = "update layouts set changed_at = now() - interval '1 hour' where state = 'leaving'"
_TELL_NOW: Final = "update deliveries set due_at = now(), leased_until = null where state = 'waiting'"
_DELIVERIES: Final = """
    select id, event, state, data ->> 'version' as version, data ->> 'run_id' as run from deliveries
"""
_RUNS: Final = "select id from source_runs where state <> 'running' and problem_code is distinct from 'interrupted'"
_OLD: Final = """
    update document_versions set checked_at = now() - interval '2 days'
    where id in (select id from document_versions where state = 'ready' order by random() limit 20)
"""
_STATE: Final = (
    "select state, stage, count(*) from document_versions group by 1, 2",
    "select state, count(*), min(due_at) - now() as due_in from deliveries group by 1",
    """select kind, subject_id, attempts, lease_epoch, due_at - now() as due_in, leased_until - now() as leased_for
    from jobs order by due_at limit 20""",
)
