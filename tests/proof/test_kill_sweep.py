"""`kill -9` of the worker, the API and PostgreSQL, again and again, while documents come, change and go.

At the end each acknowledged document stands exactly once, with its last acknowledged content, and nothing else does.
"""

import asyncio
import random
import signal
import socket
import time
from asyncio.subprocess import DEVNULL, Process
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from typing import Final, Literal, NoReturn
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest

from carrel.adapters.postgres import EmbeddedPostgres
from carrel.ask.pipeline import SearchWish
from carrel.cli.serve import listen
from carrel.domain.access import console
from carrel.domain.errors import Unavailable
from carrel.domain.ids import SourceId
from carrel.domain.layout import Isolation
from carrel.ingest.retry import Redrive
from carrel.ingest.sweep import Sweep
from support import crash_api, crash_worker, pdfs
from support.crash_worker import FEW, MANY, Order, kill_postgres, running_postmaster, thresholds_at
from support.quiet import blobs_of, drained
from support.raw import connected
from support.rounds import rounds
from support.stand import Stand, a_stand
from support.tally import assert_whole, tally
from support.tenants import SomeTenant, a_tenant

pytestmark = pytest.mark.proof

TESTS: Final = Path(__file__).parents[1]
TENANTS: Final = rounds(2, 4)
WRITERS: Final = 2  # for each tenant, each with keys of its own
DOCUMENTS: Final = rounds(48, 2_048)
BACKGROUND_KILLS: Final = rounds(6, 162)  # of the worker and of PostgreSQL
API_KILLS: Final = rounds(2, 48)
LEASE: Final = 1.0
PATIENCE: Final = rounds(3, 8)  # seconds for a point to be reached; then the victim dies where it is
DEADLINE: Final = rounds(120, 2_300)  # seconds for everything; then the test says what it waits for
MOST_SPARED: Final = 6
ENDINGS: Final = ("md", "txt", "html", "pdf")

Victim = Literal["worker", "postgres", "api"]


@dataclass(frozen=True)
class Step:
    """Who dies, and at which point of the journey; without a point, at any moment."""

    victim: Victim
    point: str = ""


# A journey that is added brings its points to `crash_worker.POINTS`, and so into this sweep.
AT_WORK: Final = ("", *crash_worker.POINTS)
BACKGROUND: Final = [Step(victim, point) for point in AT_WORK for victim in ("worker", "postgres", "worker")]
FOREGROUND: Final = [Step("api", point) for point in ("", *crash_api.POINTS)]


@dataclass(frozen=True)
class Act:
    """What a writer does with a key: put it, with a word that no other version has, or delete it."""

    key: str
    word: str | None


@dataclass
class Ledger:
    """What one tenant was promised: for each key the word of its last acknowledged version."""

    tenant: SomeTenant
    source: SourceId
    bearer: str
    words: dict[str, str] = field(default_factory=dict)
    documents: dict[str, str] = field(default_factory=dict)
    acts: int = 0


@dataclass
class Storm:
    """The sweep while it runs: what was killed, and how much of the writing that allows."""

    stand: Stand
    models: Path
    folder: Path
    listener: socket.socket
    chance: random.Random
    acts: int = 0
    killed: Counter[Victim] = field(default_factory=Counter)
    at_points: int = 0
    done: int = 0
    serving: bool = False

    @property
    def postmaster(self) -> Path:
        return self.folder / "postgres" / "data" / "postmaster.pid"

    async def may_write(self) -> None:
        """The writing is spread over all the kills."""
        planned = BACKGROUND_KILLS + API_KILLS
        while (kills := self.killed.total()) < planned and self.done > self.acts * (kills + 1) / planned:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        self.done += 1

    def summary(self) -> str:
        kills = ", ".join(f"{count} of {victim}" for victim, count in sorted(self.killed.items()))
        return (
            f"{self.killed.total()} kills ({kills}; {self.at_points} at named points) over {DOCUMENTS} documents"
            f" and {self.done} writes of {TENANTS} tenants"
        )

    async def background(self) -> None:
        for step in cycle(self._shuffled(BACKGROUND)):
            if self.killed["worker"] + self.killed["postgres"] >= BACKGROUND_KILLS:
                return
            await (self._kill_worker if step.victim == "worker" else self._kill_postgres)(step)

    async def foreground(self) -> NoReturn:
        """Like a supervisor it starts the next API whenever one ends, for one that finds no database ends by itself."""
        steps = cycle(self._shuffled(FOREGROUND))
        while self.killed["api"] < API_KILLS:
            await self._kill_api(next(steps))
        while True:
            async with self._api(Step("api")) as process:
                await process.wait()

    def _shuffled(self, steps: list[Step]) -> list[Step]:
        return self.chance.sample(steps, len(steps))

    async def _kill_worker(self, step: Step) -> None:
        async with self._worker(step) as process:
            await ended(process, seconds=self._moment(step))
            self._count(step, process)

    async def _kill_postgres(self, step: Step) -> None:
        """A worker kills it, or we do. The worker lives on for a while, and then dies too."""
        await until(lambda: self.server() is not None, seconds=60)
        before = self.server()
        async with self._worker(step, postmaster=str(self.postmaster)) as process:
            await until(lambda: self.server() != before, seconds=self._moment(step))
            self.at_points += self.server() != before
            if self.server() == before:
                kill_postgres(self.postmaster)
            self.killed["postgres"] += 1
            await ended(process, seconds=self.chance.uniform(1.0, 4.0))
            self._count(Step("worker"), process)

    async def _kill_api(self, step: Step) -> None:
        async with self._api(step) as process:
            await ended(process, seconds=self._moment(step))
            self._count(step, process)

    def _count(self, step: Step, process: Process) -> None:
        """One that found no database and went away was not killed: its supervisor would start the next one."""
        if process.returncode in {None, -signal.SIGKILL}:
            self.killed[step.victim] += 1
        self.at_points += process.returncode == -signal.SIGKILL

    def server(self) -> int | None:
        return running_postmaster(self.postmaster)

    def _moment(self, step: Step) -> float:
        return PATIENCE if step.point else self.chance.uniform(1.5, 5.0)

    @asynccontextmanager
    async def _worker(self, step: Step, *, postmaster: str = "") -> AsyncIterator[Process]:
        order = self._order(step, postmaster)
        async with a_process(order.command(), order) as process:
            yield process

    @asynccontextmanager
    async def _api(self, step: Step) -> AsyncIterator[Process]:
        order, number = self._order(step), self.listener.fileno()
        async with a_process(order.command("support.crash_api", str(number)), order, descriptor=number) as process:
            self.serving = process.returncode is None
            try:
                yield process
            finally:
                self.serving = False

    def _order(self, step: Step, postmaster: str = "") -> Order:
        return Order(
            self.stand.endpoint.app_url,
            str(blobs_of(self.stand)),
            str(self.models),
            step.point,
            lease=LEASE,
            many=self.chance.choice([FEW, FEW, MANY]),
            spare=self.chance.randrange(MOST_SPARED),
            postmaster=postmaster if step.point else "",
            ready=str(self.folder / str(uuid4())),
        )


@asynccontextmanager
async def a_process(command: list[str], order: Order, *, descriptor: int | None = None) -> AsyncIterator[Process]:
    """Once it is at work, unless it found no database. Killed at the end, if it still lives."""
    kept = [] if descriptor is None else [descriptor]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=TESTS, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, pass_fds=kept
    )
    try:
        await until(lambda: Path(order.ready).exists() or process.returncode is not None, seconds=60)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until(true: Callable[[], bool], *, seconds: float) -> None:
    """Or until the time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not true():  # noqa: ASYNC110 - what is awaited happens in another process
                await asyncio.sleep(0.05)


async def ended(process: Process, *, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await process.wait()


def acts_of(writer: str, count: int, chance: random.Random) -> list[Act]:
    """Every key is put; many are put again, some deleted, and some of those put once more."""
    plan: list[tuple[float, Act]] = []
    for number in range(count):
        key = f"{writer}/{number}.{ENDINGS[number % len(ENDINGS)]}"
        fate = chance.random()
        course = "p" if fate < 0.4 else "pp" if fate < 0.7 else "ppp" if fate < 0.8 else "pd" if fate < 0.92 else "pdp"
        place = float(number)
        for turn, letter in enumerate(course):
            word = a_word(f"{key} {turn}") if letter == "p" else None
            place += chance.uniform(0.1, 20)
            plan.append((place, Act(key, word)))
    return [act for _, act in sorted(plan, key=lambda planned: planned[0])]


def a_word(seed: str) -> str:
    """Twelve letters that no other version has."""
    number = int.from_bytes(sha256(seed.encode()).digest())
    return "q" + "".join(chr(ord("a") + number // 26**place % 26) for place in range(11))


def a_file(key: str, word: str) -> bytes:
    """Every sentence has the word, so that every chunk does; every eighth file has several chunks."""
    long = int.from_bytes(sha256(word.encode()).digest()[:1]) < 32
    sentences = [f"Step {number} of the {word} procedure drains one gateway." for number in range(60 if long else 4)]
    match key.rpartition(".")[2]:
        case "md":
            return f"# The {word} procedure\n\n{' '.join(sentences)}\n".encode()
        case "html":
            return f"<h1>The {word} procedure</h1><p>{'<p>'.join(sentences)}".encode()
        case "pdf":
            return pdfs.a_pdf(
                [[pdfs.Line(sentence, 720 - 40 * place) for place, sentence in enumerate(sentences[:15])]]
            )
        case _:
            return "\n\n".join(sentences).encode()


async def write(storm: Storm, ledger: Ledger, acts: list[Act], url: str) -> None:
    """One act after the other; each is repeated until it is acknowledged."""
    headers = {"Authorization": f"Bearer {ledger.bearer}"}
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        for act in acts:
            await storm.may_write()
            await (put if act.word else delete)(client, ledger, act)
            ledger.acts += 1


async def put(client: httpx2.AsyncClient, ledger: Ledger, act: Act) -> None:
    assert act.word is not None
    content = a_file(act.key, act.word)
    answer = await acknowledged(
        client, "PUT", f"/v1/sources/{ledger.source}/documents/{act.key}", content=content, expected={202}
    )
    ledger.words[act.key] = act.word
    ledger.documents[act.key] = answer.json()["document_id"]


async def delete(client: httpx2.AsyncClient, ledger: Ledger, act: Act) -> None:
    """Repeated after a lost answer it finds nothing more to delete."""
    await acknowledged(client, "DELETE", f"/v1/documents/{ledger.documents[act.key]}", expected={204, 404})
    del ledger.words[act.key]


async def acknowledged(
    client: httpx2.AsyncClient, method: str, path: str, *, expected: set[int], content: bytes | None = None
) -> httpx2.Response:
    """Asked again when the connection breaks or the API cannot; any other answer is a fault."""
    while True:
        with suppress(httpx2.TransportError):
            answer = await client.request(method, path, content=content)
            if answer.status_code in expected:
                return answer
            assert answer.status_code == 503, f"{method} {path}: {answer.status_code} {answer.text}"
        await asyncio.sleep(0.1)


@dataclass(frozen=True)
class Scene:
    stand: Stand
    home: Path


@pytest.fixture
async def scene(models: Path, tmp_path: Path) -> AsyncIterator[Scene]:
    with EmbeddedPostgres(tmp_path / "home") as endpoint:
        async with a_stand(endpoint, tmp_path / "home", models=models) as stand:
            parts = replace(stand.parts, thresholds=thresholds_at(FEW))
            yield Scene(replace(stand, parts=parts), tmp_path / "home")


async def a_ledger(stand: Stand, number: int) -> Ledger:
    tenant = await a_tenant(stand.app, f"Storm {number}")
    return Ledger(tenant, (await tenant.source()).id, await tenant.key())


@pytest.mark.timeout(DEADLINE + 60)
async def test_whatever_is_killed_nothing_is_lost_doubled_or_stuck(
    scene: Scene, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started, stand = time.monotonic(), scene.stand
    ledgers = [await a_ledger(stand, number) for number in range(TENANTS)]
    with listen("127.0.0.1", 0) as listener:
        storm = Storm(stand, models, scene.home, listener, random.Random(3))
        async with in_time(storm):
            await rage(storm, ledgers)
            calm = time.monotonic()
            redriven = await calmed(stand, ledgers)
            for ledger in ledgers:
                await assert_promises_kept(stand, ledger)
    with capsys.disabled():
        print(  # noqa: T201 - the verdict of the proof
            f"\nkill sweep: {storm.summary()}: 0 lost, 0 doubled, 0 stuck, {redriven} redriven; {calm - started:.0f} s"
            f" of storm, {time.monotonic() - calm:.0f} s until all was checked"
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
        async with asyncio.timeout(10), connected(storm.stand.endpoint.superuser_url) as connection:
            versions = await connection.fetch("select state, stage, count(*) from document_versions group by 1, 2")
            waiting = await connection.fetch(_WAITING)
    except (OSError, TimeoutError, asyncpg.PostgresError) as problem:
        return f"{api} The database does not answer: {problem!r}"
    return "\n".join([api, *map(str, versions), *map(str, waiting)])


async def rage(storm: Storm, ledgers: list[Ledger]) -> None:
    """Returns when everything is written and everybody is dead."""
    plans = [
        (ledger, acts_of(f"writer-{writer}", DOCUMENTS // TENANTS // WRITERS, storm.chance))
        for ledger in ledgers
        for writer in range(WRITERS)
    ]
    storm.acts = sum(len(acts) for _, acts in plans)
    url = f"http://127.0.0.1:{storm.listener.getsockname()[1]}"
    async with asyncio.TaskGroup() as serving:
        api = serving.create_task(storm.foreground())
        async with asyncio.TaskGroup() as group:
            group.create_task(storm.background())
            for ledger, acts in plans:
                group.create_task(write(storm, ledger, acts, url))
        api.cancel()


async def calmed(stand: Stand, ledgers: list[Ledger]) -> int:
    """A worker that nobody kills does what is left. How many documents had to be tried anew."""
    redriven = 0
    await answering(stand)
    for _ in range(3):
        await drained(stand, lease=LEASE, seconds=rounds(60, 600))
        redriven += sum(
            [await ledger.tenant.app.retries.many(ledger.tenant.console, Redrive(force=True)) for ledger in ledgers]
        )
    async with connected(stand.endpoint.superuser_url) as connection:
        await connection.execute(_SEARCHES_ARE_OVER)
    await Sweep(stand.database, stand.parts.base.blobs, thresholds=stand.parts.thresholds, grace=0).run()
    await drained(stand, lease=LEASE)
    return redriven


async def answering(stand: Stand) -> None:
    """Until PostgreSQL is back, if it was the last to be killed."""
    async with asyncio.timeout(60):
        while True:
            with suppress(Unavailable):
                await stand.app.desk.backlog()
                return
            await asyncio.sleep(0.1)


async def assert_promises_kept(stand: Stand, ledger: Ledger) -> None:
    assert_whole(await tally(stand, ledger.tenant.id), documents=len(ledger.words))
    assert (await stand.app.tenants.find(console(None), ledger.tenant.slug)).isolation == Isolation.DEDICATED
    async with connected(stand.endpoint.superuser_url) as connection:
        found = await connection.fetch(_DOCUMENTS, UUID(str(ledger.tenant.id)))
        chunks = await connection.fetch(_CHUNKS, UUID(str(ledger.tenant.id)))
    assert {row["key"]: row["fingerprint"] for row in found} == fingerprints(ledger.words)
    assert [row for row in chunks if ledger.words[row["key"]] not in row["text"]] == []
    assert {row["key"] for row in chunks} == set(ledger.words)
    kept = {sha256(path.read_bytes()).digest() for path in (blobs_of(stand) / str(ledger.tenant.id)).iterdir()}
    assert kept == set(fingerprints(ledger.words).values())
    for key, word in ledger.words.items():
        await assert_found(ledger, key, word)


def fingerprints(words: Mapping[str, str]) -> dict[str, bytes]:
    return {key: sha256(a_file(key, word)).digest() for key, word in words.items()}


async def assert_found(ledger: Ledger, key: str, word: str) -> None:
    found = await ledger.tenant.app.asking.search(ledger.tenant.console, SearchWish(word, limit=5))
    assert found.alarms == 0
    assert found.hits[0].key == key
    assert {hit.key for hit in found.hits if word in hit.text} == {key}


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
_WAITING: Final = """
    select kind, subject_id, attempts, lease_epoch, due_at - now() as due_in, leased_until - now() as leased_for
    from jobs order by due_at limit 20
"""
