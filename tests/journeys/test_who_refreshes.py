"""Whose sources refresh themselves, from where, and who may see and say so."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from carrel.adapters.postgres import Endpoint
from carrel.domain.access import Principal, console, for_machine
from carrel.domain.audit import Act
from carrel.domain.errors import Conflict, Denied, Unavailable
from carrel.domain.ids import CredentialId, KeyId, SourceId
from carrel.domain.jobs import JobKind
from carrel.domain.library import Source, SourceKind
from carrel.domain.origins import Bucket, Counts, Folder, ItemStatus, Place, Run, RunState, Site
from carrel.domain.places import fields_of
from carrel.domain.rights import RIGHTS, Permission, Role, Scope
from carrel.domain.secret import Secret
from carrel.ingest.desk import Desk
from carrel.library.sources import Refit, Step
from carrel.store import jobs, source_runs
from carrel.store.audit import Wanted
from carrel.store.members import MemberStatus
from carrel.store.sources import NewSource
from carrel.tenancy.credentials import CredentialWish
from carrel.tenancy.keys import KeyWish
from carrel.wiring import fetching
from carrel.worker.loop import Worker
from support.lying_place import LyingPlace, texts
from support.people import a_person
from support.places import Make, Watched
from support.quiet import a_quiet_stand
from support.raw import connected
from support.stand import Stand

OPERATOR = console(None)
MANY = [f"page-{number:02}.md" for number in range(12)]
HERE, ELSEWHERE = Site(("https://a.example/",)), Site(("https://b.example/",))


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    home = tmp_path_factory.mktemp("who_refreshes")
    async with a_quiet_stand(endpoint, "who_refreshes", home, models=models) as standing:
        yield standing


# Places and credentials


async def an_s3_key(place: Watched, name: str) -> CredentialId:
    wish = CredentialWish(name, "s3", Secret("AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"))
    return (await place.tenant.app.credentials.create(place.tenant.console, wish)).id


async def test_who_may_not_keep_credentials_opens_no_bucket_with_one(watched: Make) -> None:
    place = await watched()
    app, key = place.tenant.app, await an_s3_key(place, "reports")
    editor, admin = [
        await (await a_person(place.stand, **{role: place.tenant.id})).principal(place.tenant.id)
        for role in ("editor", "admin")
    ]
    opened, public = Bucket("reports", credential=key), Bucket("reports")
    for owner in (None, editor.user):
        with pytest.raises(Denied) as refused:
            await app.sources.create(editor, NewSource("taken", SourceKind.S3, place=opened, owner=owner))
        assert refused.value.code == "role_lacks_permission"
    absent = replace(opened, credential=CredentialId(uuid.uuid4()))
    with pytest.raises(Denied):
        await app.sources.create(editor, NewSource("absent", SourceKind.S3, place=absent))

    mine = await app.sources.create(editor, NewSource("mine", SourceKind.S3, place=public, owner=editor.user))
    ours = await app.sources.create(admin, NewSource("ours", SourceKind.S3, place=opened))
    for source, wanted in ((mine, opened), (ours, replace(opened, prefix="payroll/"))):
        with pytest.raises(Denied):
            await app.sources.change(editor, source.id, refit=Refit(place=fields_of(wanted)))
    slower = await app.sources.change(
        editor, ours.id, refit=Refit(place=fields_of(opened), schedule=60, keeps_schedule=False)
    )
    assert (slower.place, slower.schedule) == (opened, 60), "the same place is no use that is new"
    changed = await app.sources.change(admin, ours.id, refit=Refit(place=fields_of(replace(opened, prefix="payroll/"))))
    assert changed.place == replace(opened, prefix="payroll/")


async def test_the_audit_log_tells_from_where_a_source_fetches_and_no_secret_of_it(watched: Make) -> None:
    place = await watched()
    app, console = place.tenant.app, place.tenant.console
    key = await an_s3_key(place, "reports")
    site = Site(("https://a.example:8443/feed?token=SECRET", "https://a.example:8443/", "http://b.example/x"))
    source = await app.sources.create(console, NewSource("site", SourceKind.URL, place=site))
    await app.sources.change(console, source.id, name="pages")
    await app.sources.change(
        console, source.id, refit=Refit(place=fields_of(ELSEWHERE), schedule=60, keeps_schedule=False)
    )
    bucket = Bucket("reports", "payroll/", "eu-central-1", credential=key)
    await app.sources.create(console, NewSource("bucket", SourceKind.S3, place=bucket))
    await place.source()
    await place.tenant.source()
    lines = [line.event for line in (await app.audit.listed(console, Wanted(), limit=50)).items][::-1]
    facts = [event.facts for event in lines if event.action in {Act.SOURCE_CREATED, Act.SOURCE_CHANGED}]
    assert facts == [
        {"kind": "url", "place": {"hosts": ["http://b.example", "https://a.example:8443"]}},
        {"changed": ["name"]},
        {"changed": ["place", "schedule"], "kind": "url", "place": {"hosts": ["https://b.example"]}},
        {"kind": "s3", "place": {"bucket": "reports", "credential_id": str(key)}},
        {"kind": "folder", "place": {"folder": str(place.folder)}},
        {"kind": "upload"},
    ]


async def test_where_a_source_fetches_from_is_shown_to_those_who_may_change_it(watched: Make) -> None:
    lying = LyingPlace({"a.md": Unavailable("Of /srv/secret, not now.", code="origin_slow"), **texts(["b.md"])})
    place = await watched(origins=lying)
    app, console = place.tenant.app, place.tenant.console
    source = await place.source()
    await place.next_run(source.id)
    lying.breaks = Unavailable("Of /srv/secret, nothing.", code="origin_down")
    await place.walked(source.id)
    limited = KeyWish("limited", frozenset({Scope.MANAGE, Scope.INGEST}), sources=frozenset({source.id}))
    viewer = await (await a_person(place.stand, viewer=place.tenant.id)).principal(place.tenant.id)
    editor = await (await a_person(place.stand, editor=place.tenant.id)).principal(place.tenant.id)
    part = await app.principals.authenticate((await app.keys.create(console, limited)).clear)
    writer, manager = await place.tenant.principal("ingest"), await place.tenant.principal("manage")

    for who, sees in ((viewer, False), (part, False), (writer, False), (editor, True), (manager, True)):
        shown = [
            await app.sources.get(who, source.id),
            await app.sources.named(who, source.name),
            *(await app.sources.listed(who)).items,
            *(await app.sources.walk(who, Step(10))).items,
        ]
        if who is writer:
            shown.append(await app.refreshes.request(who, source.id))
        assert [one and one.place for one in shown] == [source.place if sees else None] * len(shown)
        runs = (await app.refreshes.runs(who, source.id)).items
        items = (await app.refreshes.items(who, source.id, status=ItemStatus.FAILED)).items
        told = [*runs[:1], *(one.last_run for one in shown if one)]
        reasons = [run.problem for run in told if run] + [item.failure for item in items]
        assert [reason and reason.code for reason in reasons] == ["origin_down"] * len(told) + ["origin_slow"]
        assert [sees] * len(reasons) == ["/srv/secret" in reason.detail for reason in reasons if reason]


# Changes


async def test_two_who_change_a_source_at_once_lose_nothing_of_each_other(watched: Make) -> None:
    """One has written another place and not yet committed when the other asks for another schedule."""
    place = await watched()
    app, console = place.tenant.app, place.tenant.console
    source = await app.sources.create(console, NewSource("site", SourceKind.URL, place=HERE, schedule=3600))
    async with connected(place.stand.endpoint.superuser_url) as other, other.transaction():
        moved = json.dumps(fields_of(ELSEWHERE))
        await other.execute("update sources set place = $2::jsonb where id = $1", source.id, moved)
        refit = Refit(schedule=7200, keeps_schedule=False)
        changing = asyncio.create_task(app.sources.change(console, source.id, refit=refit))
        await until_somebody_waits(other)
    changed = await changing
    assert (changed.place, changed.schedule) == (ELSEWHERE, 7200)


async def until_somebody_waits(connection: Any) -> None:
    """For a lock that this connection holds."""
    sql = "select exists (select from pg_stat_activity where pg_backend_pid() = any (pg_blocking_pids(pid)))"
    async with asyncio.timeout(20):
        while not await connection.fetchval(sql):  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.02)


# The leave to find nothing


async def emptied(make: Make) -> tuple[Watched, LyingPlace, Source]:
    """A source that has twelve documents, and whose place has nothing any more."""
    lying = LyingPlace(texts(MANY))
    place = await make(origins=lying)
    source = await place.source(schedule=3600)
    assert (await place.next_run(source.id)).counts.created == len(MANY)
    lying.things = {}
    return place, lying, source


async def test_the_leave_to_find_nothing_is_not_for_a_run_that_is_on_its_way(watched: Make) -> None:
    place, lying, source = await emptied(watched)
    app, console = place.tenant.app, place.tenant.console
    lying.things = {"last.md": b"The last of all."}

    async def ask() -> None:
        lying.meanwhile, lying.things = None, {}
        await app.refreshes.request(console, source.id, accept_empty=True)

    lying.meanwhile = ask
    run = await place.walked(source.id)
    assert (run.state, run.problem and run.problem.code) == (RunState.FAILED, "origin_empty")
    assert len(await place.documents(source.id)) == len(MANY)
    run = await place.next_run(source.id)
    assert (run.state, run.counts) == (RunState.DONE, Counts(deleted=len(MANY)))


async def test_the_leave_to_find_nothing_ends_with_the_place_and_with_a_pause(watched: Make) -> None:
    place, _, source = await emptied(watched)
    app, console = place.tenant.app, place.tenant.console

    async def move() -> None:
        (place.folder / "elsewhere").mkdir()
        refit = Refit(place={"path": str(place.folder / "elsewhere")})
        await app.sources.change(console, source.id, refit=refit)

    async def pause() -> None:
        await app.refreshes.pause(console, source.id)
        await app.refreshes.resume(console, source.id)

    for turns in (move, pause):
        await app.refreshes.request(console, source.id, accept_empty=True)
        await turns()
        run = await place.next_run(source.id)
        assert (run.state, run.problem and run.problem.code) == (RunState.FAILED, "origin_empty")
    assert len(await place.documents(source.id)) == len(MANY)


@pytest.mark.parametrize("ends", ["told to stop", "tried again", "cancelled", "killed"])
async def test_the_leave_to_find_nothing_goes_on_with_what_it_was_given_for(watched: Make, ends: str) -> None:
    place, lying, source = await emptied(watched)
    lying.things = texts(["a.md"])

    async def end() -> None:
        lying.meanwhile = None
        match ends:
            case "told to stop":
                place.fetching.leave()
            case "tried again":
                lying.breaks = Unavailable("Not now.", code="origin_down")
                raise lying.breaks
            case "cancelled":
                raise asyncio.CancelledError
            case _:
                raise ZeroDivisionError

    lying.meanwhile = end
    await place.tenant.app.refreshes.request(place.tenant.console, source.id, accept_empty=True)
    with suppress(asyncio.CancelledError, ZeroDivisionError):
        await place.next_run(source.id)
    async with connected(place.stand.endpoint.superuser_url) as connection:
        await connection.execute("update jobs set leased_until = null, due_at = now() where subject_id = $1", source.id)
    lying.breaks, lying.things = None, {}
    again = replace(place, fetching=fetching(place.stand.parts.base, lying))
    run = await again.next_run(source.id)
    assert (run.state, run.problem) == (RunState.DONE, None)
    assert await place.documents(source.id) == {}

    lying.things = texts(MANY)
    await again.walked(source.id)
    lying.things = {}
    assert (await again.walked(source.id)).state is RunState.FAILED, "once"


# Owners of private sources


async def run_of(place: Watched, who: Principal, source: SourceId) -> Run | None:
    """The run that is due now; None where nobody may claim it."""
    work = await place.claimed(source)
    if work is None:
        return None
    await place.worked(work)
    return (await place.tenant.app.sources.get(who, source)).last_run


async def private_source(place: Watched, who: Principal, at: Place | None = None) -> Source:
    kind = SourceKind.S3 if isinstance(at, Bucket) else SourceKind.FOLDER
    wish = NewSource(f"{uuid.uuid4()}", kind, owner=who.user, place=at or Folder(str(place.folder)), schedule=3600)
    return await place.tenant.app.sources.create(who, wish)


async def is_awaited(place: Watched, source: Source) -> bool:
    """Whether a worker claims it, listens to it, and plans its next run when that was lost: all of it, or nothing."""
    async with place.stand.database.transaction(for_machine()) as tx:
        waits = (await jobs.backlog(tx)).waiting
        claimed = {claim.subject for claim in await jobs.claim(tx, list(JobKind), lease=0, most=1000)}
        heard = {ref.source for ref in await source_runs.listening(tx)}
    async with connected(place.stand.endpoint.superuser_url) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("delete from jobs")
        lost = {row["source_id"] for row in await connection.fetch("select * from lost_schedules()")}
        await transaction.rollback()
    assert waits == len(claimed), "nobody waits for what is held"
    answers = {source.id in claimed, source.id in heard, source.id in lost}
    assert len(answers) == 1
    return answers.pop()


async def test_a_private_source_is_refreshed_while_its_owner_could_make_it(watched: Make) -> None:
    place = await watched()
    app, tenant, console = place.tenant.app, place.tenant, place.tenant.console
    await a_person(place.stand, owner=tenant.id)
    person = await a_person(place.stand, admin=tenant.id)
    who = await person.principal(tenant.id)
    queue = "https://sqs.us-east-1.amazonaws.com/123/queue"
    plain, keyed = [
        await private_source(place, who, at)
        for at in (None, Bucket("reports", credential=await an_s3_key(place, "reports"), queue=queue))
    ]
    for role in Role:
        await app.members.change(console, person.id, role=role)
        wanted = [role in RIGHTS[needed].roles for needed in (Permission.CURATE, Permission.MANAGE)]
        assert [await is_awaited(place, source) for source in (plain, keyed)] == wanted, role

    await app.members.change(console, person.id, role=Role.EDITOR)
    with pytest.raises(Conflict) as refused:
        await app.refreshes.request(await person.principal(tenant.id), keyed.id)
    assert refused.value.code == "source_held"
    for status in (MemberStatus.SUSPENDED, MemberStatus.ACTIVE):
        await app.members.change(console, person.id, status=status)
        assert await is_awaited(place, plain) is (status is MemberStatus.ACTIVE)
    for turn, stands in ((app.entrance.accounts.suspend, False), (app.entrance.accounts.resume, True)):
        await turn(OPERATOR, person.email)
        assert await is_awaited(place, plain) is stands
    await app.members.remove(console, person.id)
    assert not await is_awaited(place, plain)

    key = await tenant.principal("manage")
    keys = await private_source(place, key)
    assert await is_awaited(place, keys)
    assert key.credential is not None
    await app.keys.revoke(console, KeyId(key.credential))
    assert not await is_awaited(place, keys)
    assert await is_awaited(place, await private_source(place, console))
    assert await is_awaited(place, await place.source(schedule=3600)), "the whole organisation's"


async def test_a_walk_of_who_is_suspended_stops_at_once_and_goes_on_when_they_are_back(watched: Make) -> None:
    lying = LyingPlace(texts(MANY))
    place = await watched(origins=lying)
    person = await a_person(place.stand, editor=place.tenant.id)
    who = await person.principal(place.tenant.id)
    source = await private_source(place, who)

    async def suspend() -> None:
        if len(lying.read) == 5:
            lying.while_reading = None
            await place.tenant.app.members.change(place.tenant.console, person.id, status=MemberStatus.SUSPENDED)

    lying.while_reading = suspend
    run = await run_of(place, who, source.id)
    assert run is not None
    assert (run.state, run.problem and run.problem.code, run.counts.created) == (RunState.PARTIAL, "source_held", 4)
    assert len(lying.read) == 5, "nothing is written from then on, not even what was being read"
    assert await run_of(place, who, source.id) is None
    await place.tenant.app.members.change(place.tenant.console, person.id, status=MemberStatus.ACTIVE)
    run = await run_of(place, who, source.id)
    assert run is not None
    assert (run.state, run.counts) == (RunState.DONE, Counts(found=12, created=8, unchanged=4))


async def test_a_walk_that_waits_for_its_place_is_left_when_its_owner_is_suspended(watched: Make) -> None:
    lying = LyingPlace(texts(MANY))
    place = await watched(origins=lying)
    person = await a_person(place.stand, editor=place.tenant.id)
    source = await private_source(place, await person.principal(place.tenant.id))
    reading, left, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        reading.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    lying.while_reading = hang
    walker = Worker(Desk(place.stand.database), place.fetching.tasks, concurrency=1, lease=0.3)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(walker.run(stop))
        await reading.wait()
        await place.tenant.app.members.change(place.tenant.console, person.id, status=MemberStatus.SUSPENDED)
        await left.wait()
        stop.set()
    assert not await is_awaited(place, source)
    async with connected(place.stand.endpoint.superuser_url) as connection:
        job = await connection.fetchrow("select attempts, leased_until from jobs where subject_id = $1", source.id)
    assert tuple(job or ()) == (0, None), "it was no attempt"
