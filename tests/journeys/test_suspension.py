"""Suspension at work: credentials, open streams, jobs that wait and jobs that run; and what it lets go on."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx2
import pytest

from carrel.adapters.models.single import OnlyModel
from carrel.adapters.postgres import Endpoint
from carrel.api.app import create_app
from carrel.domain.access import Principal, console, enter, for_accounts
from carrel.domain.errors import Denied, NotFound, Unauthenticated
from carrel.domain.ids import SourceId
from carrel.domain.jobs import FOR_ACTIVE_TENANTS
from carrel.domain.library import Document, DocumentStatus, Outcome
from carrel.domain.rights import Permission, Scope
from carrel.ingest.upload import Delivery
from carrel.ports.model import Draft, Prompt
from carrel.store import accounts, jobs
from carrel.store.members import MemberStatus
from carrel.tenancy.keys import KeyWish
from carrel.tenancy.sign_in import Knock
from carrel.wiring import assemble
from support.people import Person, a_person
from support.quiet import a_quiet_stand, drained, idle
from support.raw import connected
from support.recording import recorded
from support.stand import Stand
from support.tenants import SomeTenant, a_tenant, pieces

TEXT = "# Boats\n\nBoats float on water because water is heavier than boats."


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    home = tmp_path_factory.mktemp("suspension")
    async with a_quiet_stand(endpoint, "suspension", home, models=models) as standing:
        yield standing


@pytest.fixture
async def acme(quiet: Stand) -> SomeTenant:
    """In an empty queue."""
    async with connected(quiet.endpoint.superuser_url) as connection:
        await connection.execute("truncate jobs, job_turns")
    return await a_tenant(quiet.app, "Acme")


@pytest.fixture
async def source(acme: SomeTenant) -> SourceId:
    return (await acme.source()).id


async def brought(acme: SomeTenant, who: Principal, source: SourceId, key: str = "boats.md") -> Delivery:
    dock = await acme.app.uploads.dock(who, source)
    return await acme.app.uploads.deliver(dock, key, pieces(TEXT.encode()), declared=None)


async def seen(acme: SomeTenant, delivery: Delivery) -> Document:
    assert delivery.document is not None
    return await acme.app.documents.get(acme.console, delivery.document)


async def turn(quiet: Stand, acme: SomeTenant, status: str) -> None:
    async with connected(quiet.endpoint.superuser_url) as connection:
        await connection.execute("update tenants set status = $2 where id = $1", acme.id, status)


async def suspend(acme: SomeTenant, person: Person) -> None:
    await acme.app.members.change(acme.console, person.id, status=MemberStatus.SUSPENDED)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(120):
        while not true():  # noqa: ASYNC110 - what the tests wait for has no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def at_work(quiet: Stand, *, lease: float = 0.3) -> AsyncIterator["Pause"]:
    """A worker that stops before it reads `held.md`, and keeps its lease there."""
    pause = Pause()
    stop, worker = asyncio.Event(), recorded(quiet, pause.before, lease=lease).worker
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        group.create_task(worker.run(stop))
        try:
            yield pause
        finally:
            pause.go.set()
            stop.set()


@dataclass
class Pause:
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    struck: asyncio.Event = field(default_factory=asyncio.Event)

    async def before(self, key: str) -> None:
        if key != "held.md":
            return
        self.reached.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.struck.set()
            raise


# All at once


@dataclass
class Hanging:
    """Begins an answer and never ends it."""

    name: str = "hanging"
    follows_instructions: bool = False
    context_tokens: int = 8_000
    writing: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def write(self, prompt: Prompt) -> AsyncGenerator[Draft]:  # noqa: ARG002 - whatever is asked
        try:
            yield Draft("Boats ")
            self.writing.set()
            await asyncio.Event().wait()
        finally:
            self.left.set()


async def test_who_is_suspended_stops_everywhere(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    """Token, refresh token, key, open stream and waiting job."""
    await brought(acme, acme.console, source)
    await drained(quiet)
    person = await a_person(quiet, admin=acme.id)
    who = await person.principal(acme.id)
    key = (await acme.app.keys.create(who, KeyWish("mine", frozenset(Scope)))).clear
    waiting = await brought(acme, who, source, "waiting.md")
    refresh = await signed_in(quiet, person)
    model = Hanging()
    async with asking(replace(quiet, app=assemble(replace(quiet.parts, models=OnlyModel(model))))) as ask:
        stream = asyncio.create_task(ask(person.token(acme.id)))
        await asyncio.wait_for(model.writing.wait(), 20)
        await suspend(acme, person)
        said = await asyncio.wait_for(stream, 20)
    name, problem = said[-1]
    assert (name, problem["status"], problem["code"]) == ("error", 401, "tenant_inactive")
    await asyncio.wait_for(model.left.wait(), 30)
    for credential in (person.token(acme.id), key):
        with pytest.raises(Unauthenticated):
            await acme.app.principals.authenticate(credential)
    with pytest.raises(NotFound):
        await acme.app.entrance.sign_in.refresh(refresh, tenant=acme.slug, origin="test")
    issued = await acme.app.entrance.sign_in.refresh(refresh, tenant=None, origin="test")
    assert issued.tenant is None
    with pytest.raises(Denied):
        enter(await acme.app.principals.authenticate(issued.access), Permission.METADATA)
    await drained(quiet)
    document = await seen(acme, waiting)
    assert (document.status, document.error and document.error.code) == (DocumentStatus.FAILED, "requester_suspended")
    assert (document.attempts, document.error and document.error.retryable) == (1, False)


async def signed_in(quiet: Stand, person: Person) -> str:
    """A refresh token."""
    passwords = quiet.parts.base.passwords
    async with quiet.database.transaction(for_accounts()) as tx:
        await accounts.set_password(tx, person.id, await passwords.hash("a long enough word"))
    knock = Knock(person.email, "a long enough word", tenant=None, client="", origin="test")
    return (await quiet.app.entrance.sign_in.by_password(knock)).refresh


Ask = Callable[[str], Coroutine[None, None, list[tuple[str, dict[str, object]]]]]


@asynccontextmanager
async def asking(stand: Stand) -> AsyncIterator["Ask"]:
    app = create_app(lambda: nullcontext(stand.app))
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://carrel.test", timeout=60) as client,
    ):

        async def ask(token: str) -> list[tuple[str, dict[str, object]]]:
            answer = await client.post(
                "/v1/chat",
                json={"message": "Why do boats float on water?", "stream": True},
                headers={"Authorization": f"Bearer {token}"},
            )
            frames = [frame for frame in answer.text.strip().split("\n\n") if not frame.startswith(":")]
            return [(frame.split("\n")[0][7:], json.loads(frame.split("\n")[1][6:])) for frame in frames]

        yield ask


# A person's documents


async def test_a_running_job_of_who_is_suspended_is_struck_at_the_next_heartbeat(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    person = await a_person(quiet, editor=acme.id)
    delivery = await brought(acme, await person.principal(acme.id), source, "held.md")
    async with at_work(quiet) as pause:
        await asyncio.wait_for(pause.reached.wait(), 20)
        await suspend(acme, person)
        await asyncio.wait_for(pause.struck.wait(), 20)
    document = await seen(acme, delivery)
    assert (document.status, document.error and document.error.code) == (DocumentStatus.FAILED, "requester_suspended")


async def test_another_member_tries_it_again_and_it_is_done(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    person, other = await a_person(quiet, editor=acme.id), await a_person(quiet, editor=acme.id)
    deliveries = [await brought(acme, await person.principal(acme.id), source, f"{n}.md") for n in range(3)]
    await suspend(acme, person)
    await drained(quiet)
    assert {(await seen(acme, one)).error.code for one in deliveries} == {"requester_suspended"}  # type: ignore[union-attr]

    who = await other.principal(acme.id)
    assert deliveries[0].document
    await acme.app.retries.one(who, deliveries[0].document)
    again = await brought(acme, who, source, "1.md")
    assert again.outcome is Outcome.REPLACED, "the same bytes from somebody else are not `unchanged`: nobody read them"
    await drained(quiet)
    assert [(await seen(acme, one)).status for one in deliveries] == ["ready", "ready", "failed"]


async def test_who_is_back_tries_it_again_alone(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    person = await a_person(quiet, editor=acme.id)
    delivery = await brought(acme, await person.principal(acme.id), source)
    await suspend(acme, person)
    await drained(quiet)
    await acme.app.members.change(acme.console, person.id, status=MemberStatus.ACTIVE)
    assert delivery.document
    await acme.app.retries.one(await person.principal(acme.id), delivery.document)
    await drained(quiet)
    assert (await seen(acme, delivery)).status is DocumentStatus.READY


async def test_what_nobody_in_person_asked_for_is_done(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    """A key that the console made is the tenant's own, and no person stands behind it."""
    delivery = await brought(acme, await acme.principal("ingest"), source)
    await drained(quiet)
    assert (await seen(acme, delivery)).status is DocumentStatus.READY


# A tenant's jobs


async def test_a_suspended_tenants_jobs_wait_and_go_on(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    delivery = await brought(acme, acme.console, source)
    await turn(quiet, acme, "suspended")
    await drained(quiet)
    backlog = await quiet.app.desk.backlog()
    assert (backlog.outstanding, backlog.held, backlog.oldest_seconds) == (0, 1, 0)
    assert (await seen(acme, delivery)).status is DocumentStatus.PENDING
    await turn(quiet, acme, "active")
    await drained(quiet)
    document = await seen(acme, delivery)
    assert (document.status, document.attempts) == (DocumentStatus.READY, 1)


async def test_a_running_job_of_a_suspended_tenant_goes_back_as_if_it_had_not_begun(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    delivery = await brought(acme, acme.console, source, "held.md")
    async with at_work(quiet) as pause:
        await asyncio.wait_for(pause.reached.wait(), 20)
        await turn(quiet, acme, "suspended")
        await asyncio.wait_for(pause.struck.wait(), 20)
        pause.go.set()
        await idle(quiet)
        waiting = await seen(acme, delivery)
        assert (waiting.status, waiting.attempts, waiting.error) == (DocumentStatus.PENDING, 0, None)
        await turn(quiet, acme, "active")
        await idle(quiet)
    document = await seen(acme, delivery)
    assert (document.status, document.attempts) == (DocumentStatus.READY, 1)


async def test_a_long_queue_of_a_suspended_tenant_holds_nobody_up(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    """More than a claim looks at, all in front of the others; and a newcomer still starts at the present turn."""
    other, newcomer = await a_tenant(quiet.app, "Other"), await a_tenant(quiet.app, "Newcomer")
    async with connected(quiet.endpoint.superuser_url) as connection:
        await connection.execute(_MANY, acme.id)
    await turn(quiet, acme, "suspended")
    theirs = (await other.source()).id
    for n in range(3):
        await brought(other, other.console, theirs, f"{n}.md")
    async with connected(quiet.endpoint.superuser_url) as connection:
        await connection.execute("update jobs set turn = turn + 5000 where tenant_id = $1", other.id)
    await brought(newcomer, newcomer.console, (await newcomer.source()).id)
    async with connected(quiet.endpoint.superuser_url) as connection:
        turns = await connection.fetch("select tenant_id, min(turn) as turn from jobs group by 1")
    first = {row["tenant_id"]: row["turn"] for row in turns}
    assert first[acme.id] < 5000 <= first[other.id] == first[newcomer.id]
    await drained(quiet)
    assert (await other.app.sources.get(other.console, theirs)).documents[DocumentStatus.READY] == 3


@pytest.mark.parametrize("held", [0, 100])
async def test_a_tenant_that_is_back_starts_at_the_present_turn(quiet: Stand, acme: SomeTenant, held: int) -> None:
    """With the first of its jobs that may begin: those of a paused source wait for something else."""
    other = await a_tenant(quiet.app, "Other")
    operator = console(None)
    await acme.app.life.suspend(operator, acme.id)
    async with connected(quiet.endpoint.superuser_url) as connection:
        await connection.execute(_MANY, acme.id)
        await connection.execute(_MANY, other.id)
        await connection.execute("update jobs set turn = turn + 5000 where tenant_id = $1", other.id)
        await connection.execute("update jobs set due_at = 'infinity' where turn <= $1", held)
        await acme.app.life.resume(operator, acme.id)
        turns = await connection.fetch(
            "select tenant_id, min(turn) as first, max(turn) as last from jobs where due_at < 'infinity'"
            " group by 1 order by tenant_id = $1",
            acme.id,
        )
        await connection.execute("truncate jobs, job_turns")
    assert [(row["first"], row["last"]) for row in turns] == [(5001, 5300), (5001, 5300 - held)]


_PURGED = "select completed_at is not null from erasure_receipts where tenant_id = $1"
_MANY = """
    insert into jobs (tenant_id, id, kind, subject_id, turn, due_at)
    select $1, gen_random_uuid(), 'ingest', gen_random_uuid(), n, now() from generate_series(1, 300) n
"""


@pytest.mark.parametrize("status", ["suspended", "deleting"])
async def test_forgetting_waits_for_nobody(quiet: Stand, acme: SomeTenant, source: SourceId, status: str) -> None:
    delivery = await brought(acme, acme.console, source)
    await drained(quiet)
    assert delivery.document
    await acme.app.forgetting.document(acme.console, delivery.document)
    await turn(quiet, acme, status)
    await drained(quiet)
    async with connected(quiet.endpoint.superuser_url) as connection:
        left = await connection.fetch("select kind from jobs where tenant_id = $1", acme.id)
        purged = await connection.fetchval(_PURGED, acme.id)
    assert ([row["kind"] for row in left], purged) == (["weigh"], True)
    await turn(quiet, acme, "active")


def test_the_database_and_the_worker_agree_on_what_waits() -> None:
    functions = (Path(jobs.__file__).parent / "functions.sql").read_text()
    named = re.findall(r"j\.kind (?:not )?in \((.*?)\)", functions)
    assert len(named) == 2
    assert all({kind.strip("'") for kind in one.split(", ")} == FOR_ACTIVE_TENANTS for one in named)
