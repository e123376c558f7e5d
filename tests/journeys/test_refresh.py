"""Sources that refresh themselves: what is at the place is in the source, and what has gone there has gone here."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from carrel.adapters.parsers.media import media_type_of
from carrel.adapters.postgres import Endpoint
from carrel.domain.access import console, enter, for_job
from carrel.domain.errors import Conflict, Invalid, NotFound, Refusal, Unavailable, Unreadable
from carrel.domain.jobs import JobKind
from carrel.domain.library import DocumentStatus, Duplicates, Source
from carrel.domain.origins import Counts, Run, RunState
from carrel.domain.quotas import Quota, Resource
from carrel.domain.rights import Permission
from carrel.ingest.desk import Desk, LeaseLost, TenantWaits
from carrel.ingest.take import Taken, Taking, Visit
from carrel.ingest.upload import Uploads
from carrel.library.sources import Refit
from carrel.ports.origins import Failed, Gone
from carrel.store import source_items, source_runs, sources
from carrel.wiring import Base, Opened, fetching
from support.lying_place import LyingPlace, Meanwhile, texts
from support.places import Make, Watched, listening
from support.quiet import a_quiet_stand
from support.raw import connected
from support.stand import Stand, a_worker
from support.tenants import a_tenant, pieces

OPERATOR = console(None)
MANY = [f"page-{number:02}.md" for number in range(12)]
COMPOSED = ("caf\u00e9.md", "cafe\u0301.md")


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with a_quiet_stand(endpoint, "refresh", tmp_path_factory.mktemp("refresh"), models=models) as standing:
        yield standing


def code_of(run: Run) -> str | None:
    return run.problem.code if run.problem else None


async def as_superuser(place: Watched, sql: str, *values: object) -> int:
    async with connected(place.stand.endpoint.superuser_url) as connection:
        return int(await connection.fetchval(sql, *values) or 0)


async def give_back(place: Watched, source: Source) -> None:
    """As if the lease were over."""
    expire = "update jobs set leased_until = now() - interval '1 second' where subject_id = $1"
    await as_superuser(place, expire, source.id)


async def until(fulfilled: Callable[[], Awaitable[bool]], *, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not await fulfilled():  # noqa: ASYNC110 - of what another process could do as well
            await asyncio.sleep(0.05)


def base_of(place: Watched) -> Base:
    return replace(place.stand.parts.base, places=Opened({place.tenant.slug: (str(place.folder),)}))


def taking_of(place: Watched) -> Taking:
    base = place.stand.parts.base
    return Taking(base.database, base.blobs, Uploads(base.database, base.blobs, judge_type=media_type_of))


# What a folder holds


async def test_a_source_becomes_like_its_folder(watched: Make) -> None:
    place = await watched()
    place.write("a.md", "# Boats\n\nBoats float.")
    place.write("deep/er/b.txt", "Trains roll.")
    place.write(".hidden/c.md", "Nobody sees this.")
    source = await place.source()

    first = await place.next_run(source.id)
    assert (first.state, first.counts) == (RunState.DONE, Counts(found=2, created=2))
    assert set(await place.documents(source.id)) == {"a.md", "deep/er/b.txt"}

    place.write("a.md", "# Boats\n\nBoats sink.")
    (place.folder / "deep/er/b.txt").rename(place.folder / "c.txt")
    second = await place.walked(source.id)
    assert (second.state, second.counts) == (RunState.DONE, Counts(found=2, created=1, replaced=1, deleted=1))
    assert set(await place.documents(source.id)) == {"a.md", "c.txt"}

    third = await place.walked(source.id)
    assert (third.state, third.counts) == (RunState.DONE, Counts(found=2, unchanged=2))


async def test_one_thing_that_cannot_be_had_stops_no_other_and_is_tried_again(watched: Make) -> None:
    place = await watched()
    place.write("good.md")
    place.write("picture.png", b"\x89PNG....")
    place.write("empty.md", b"")
    with place.write("huge.txt").open("wb") as huge:
        huge.truncate(50 * 1024 * 1024 + 1)
    (place.folder / "loop.md").symlink_to("loop.md")
    (place.folder / "out.md").symlink_to("/etc/hostname")
    source = await place.source()

    run = await place.next_run(source.id)
    assert (run.state, run.counts) == (RunState.PARTIAL, Counts(found=6, created=1, failed=5))
    assert await place.failures(source.id) == {
        "picture.png": "unsupported_type",
        "empty.md": "empty_document",
        "huge.txt": "too_large",
        "loop.md": "item_unreadable",
        "out.md": "outside_folder",
    }

    place.write("empty.md", "Not any more.")
    (place.folder / "out.md").unlink()
    run = await place.walked(source.id)
    assert run.counts == Counts(found=5, created=1, unchanged=1, failed=3)
    assert set(await place.failures(source.id)) == {"picture.png", "huge.txt", "loop.md"}


async def test_a_document_that_fails_at_the_place_stays_as_it_was(watched: Make) -> None:
    lying = LyingPlace(texts(["a.md", "b.md"]))
    place = await watched(origins=lying)
    source = await place.source()
    await place.next_run(source.id)
    lying.things["a.md"] = Unavailable("Come back later.", code="origin_slow")

    run = await place.walked(source.id)
    assert (run.state, run.counts) == (RunState.PARTIAL, Counts(found=2, unchanged=1, failed=1))
    assert set(await place.documents(source.id)) == {"a.md", "b.md"}
    assert await place.failures(source.id) == {"a.md": "origin_slow"}

    lying.things = texts(["a.md", "b.md"])
    run = await place.walked(source.id)
    assert (run.state, run.counts) == (RunState.DONE, Counts(found=2, unchanged=2))
    assert await place.failures(source.id) == {}


async def test_what_has_not_changed_is_not_read(watched: Make) -> None:
    lying = LyingPlace(texts(f"{number}.md" for number in range(120)))
    place = await watched(origins=lying)
    source = await place.source()
    await place.next_run(source.id)
    lying.read.clear()
    lying.asked.clear()

    run = await place.walked(source.id)
    assert run.counts == Counts(found=120, unchanged=120)
    assert (lying.read, lying.asked) == ([], [100, 20])


async def test_names_that_cannot_be_keys_are_failures(watched: Make) -> None:
    names = ["a/../b.md", "/etc/a.md", "new\nline.md", "sur\udc80rogate.md", "x" * 2000 + ".md"]
    lying = LyingPlace(texts(["good.md"]) | dict.fromkeys(names, b"Some text.") | texts(["https://a.example/b//c"]))
    place = await watched(origins=lying)
    source = await place.source()
    run = await place.next_run(source.id)
    assert run.counts == Counts(found=7, created=2, failed=5)
    assert set((await place.failures(source.id)).values()) == {"invalid_key"}
    assert set(await place.documents(source.id)) == {"good.md", "https://a.example/b//c"}


@pytest.mark.parametrize("names", [COMPOSED, COMPOSED[::-1]], ids=["composed first", "decomposed first"])
async def test_two_names_that_only_look_the_same_are_two_documents(watched: Make, names: tuple[str, str]) -> None:
    """Neither replaces the other, and neither takes it along when it goes."""
    place = await watched()
    first, second = names

    async def sizes(source: Source) -> dict[str, int]:
        return {key: found.size for key, found in (await place.documents(source.id)).items()}

    place.write(first, "1")
    source = await place.source()
    assert (await place.next_run(source.id)).counts == Counts(found=1, created=1)
    place.write(second, "22")
    assert (await place.walked(source.id)).counts == Counts(found=2, unchanged=1, created=1)
    for _ in range(2):
        assert (await place.walked(source.id)).counts == Counts(found=2, unchanged=2)
    assert await sizes(source) == {first: 1, second: 2}

    (place.folder / first).unlink()
    assert (await place.walked(source.id)).counts == Counts(found=1, unchanged=1, deleted=1)
    assert await sizes(source) == {second: 2}
    place.write(first, "333")
    assert (await place.walked(source.id)).counts == Counts(found=2, unchanged=1, created=1)
    assert await sizes(source) == {first: 3, second: 2}
    assert {found.title for found in (await place.documents(source.id)).values()} == {"caf\u00e9"}


async def test_what_was_kept_under_a_name_in_nfc_becomes_the_document_of_its_own_name(watched: Make) -> None:
    """As it may have been kept before names of places were taken as they are."""
    place = await watched()
    in_nfc, own = COMPOSED
    place.write(in_nfc, "old")
    source = await place.source()
    await place.next_run(source.id)
    async with connected(place.stand.endpoint.superuser_url) as superuser:
        rename = "update source_items set id = $2, key = $3 where source_id = $1"
        await superuser.execute(rename, source.id, source_items.item_id(source.id, own), own)
    (place.folder / in_nfc).unlink()
    place.write(own, "newer")

    assert (await place.walked(source.id)).counts == Counts(found=1, created=1, deleted=1)
    assert {key: found.size for key, found in (await place.documents(source.id)).items()} == {own: 5}
    assert (await place.walked(source.id)).counts == Counts(found=1, unchanged=1)


async def test_a_source_that_takes_no_bytes_twice_takes_the_twin_when_the_other_has_gone(watched: Make) -> None:
    place = await watched()
    place.write("a.md", "The same.")
    source = await place.source(duplicates=Duplicates.REJECT)
    await place.next_run(source.id)
    place.write("b.md", "The same.")
    run = await place.walked(source.id)
    assert run.counts == Counts(found=2, unchanged=2)
    (place.folder / "a.md").unlink()
    await place.walked(source.id)
    run = await place.walked(source.id)
    assert set(await place.documents(source.id)) == {"b.md"}


async def test_what_has_no_room_in_the_quota_waits_for_the_next_time(watched: Make) -> None:
    place = await watched()
    quotas = {Resource.DOCUMENTS: Quota(hard=2)}
    base = replace(place.stand.parts.base, quotas=quotas)
    narrow = replace(place, fetching=fetching(base, LyingPlace(texts(["a.md", "b.md", "c.md"]))))
    source = await place.source()
    run = await narrow.next_run(source.id)
    assert (run.state, run.counts) == (RunState.PARTIAL, Counts(found=3, created=2, failed=1))
    assert set((await place.failures(source.id)).values()) == {"quota_exceeded"}


# What is never forgotten by mistake


@pytest.mark.parametrize("breaks", [Unavailable("Gone away.", code="origin_down"), Unreadable("Nonsense.")])
async def test_a_walk_that_breaks_off_forgets_nothing(watched: Make, breaks: Refusal) -> None:
    lying = LyingPlace(texts(MANY))
    place = await watched(origins=lying)
    source = await place.source()
    await place.next_run(source.id)
    lying.things, lying.breaks, lying.breaks_after = texts(["new.md", *MANY[:3]]), breaks, 2

    run = await place.walked(source.id)
    assert (run.state, code_of(run)) == (RunState.FAILED, breaks.code)
    assert set(await place.documents(source.id)) == {"new.md", *MANY}


async def test_a_mistake_of_ours_forgets_nothing_and_is_no_run_for_ever(watched: Make) -> None:
    lying = LyingPlace(texts(MANY))
    place = await watched(origins=lying)
    source = await place.source()
    await place.next_run(source.id)
    lying.breaks, lying.breaks_after = ZeroDivisionError(), 3
    with pytest.raises(ZeroDivisionError):
        await place.walked(source.id)
    assert set(await place.documents(source.id)) == set(MANY)

    lying.breaks = None
    await give_back(place, source)
    await place.walked(source.id)
    page = await place.tenant.app.refreshes.runs(place.tenant.console, source.id)
    assert [run.state for run in page.items] == [RunState.DONE, RunState.FAILED, RunState.DONE]
    assert page.items[1].problem is not None
    assert page.items[1].problem.code == "interrupted"


async def test_a_place_that_is_suddenly_empty_is_not_believed(watched: Make) -> None:
    lying = LyingPlace(texts(MANY))
    place = await watched(origins=lying)
    source = await place.source()
    await place.next_run(source.id)
    lying.things = {}

    run = await place.walked(source.id)
    assert (run.state, code_of(run)) == (RunState.FAILED, "origin_empty")
    assert set(await place.documents(source.id)) == set(MANY)

    await place.tenant.app.refreshes.request(place.tenant.console, source.id, accept_empty=True)
    run = await place.next_run(source.id)
    assert (run.state, run.counts) == (RunState.DONE, Counts(deleted=12))
    assert await place.documents(source.id) == {}

    lying.things = texts(MANY)
    await place.walked(source.id)
    lying.things = {}
    run = await place.walked(source.id)
    assert run.problem is not None, "the leave was for one run"


async def test_a_folder_that_has_gone_takes_nothing_with_it(watched: Make) -> None:
    place = await watched()
    place.write("handbook/a.md")
    source = await place.source(place.folder / "handbook")
    await place.next_run(source.id)
    (place.folder / "handbook").rename(place.folder / "elsewhere")
    run = await place.walked(source.id)
    assert (run.state, code_of(run)) == (RunState.FAILED, "folder_missing")
    assert set(await place.documents(source.id)) == {"a.md"}


async def test_a_folder_that_was_closed_again_is_not_read(watched: Make, quiet: Stand) -> None:
    place = await watched()
    place.write("a.md")
    source = await place.source()
    closed = replace(place, fetching=fetching(quiet.parts.base))
    run = await closed.next_run(source.id)
    assert (run.state, code_of(run)) == (RunState.FAILED, "folder_not_allowed")


# Interruptions


async def test_a_worker_that_lost_the_job_writes_nothing_more(watched: Make) -> None:
    """Another worker holds it by now, and has not begun."""
    lying = LyingPlace(texts(MANY))
    place = await watched(origins=lying)
    source = await place.source()

    async def lose() -> None:
        if len(lying.read) == 3:
            lying.meanwhile = None
            await give_back(place, source)
            await Desk(place.stand.database).claim([JobKind.REFRESH], lease=60, most=10)

    lying.meanwhile = lose
    with pytest.raises(LeaseLost):
        await place.next_run(source.id)
    assert set(await place.documents(source.id)) == set(MANY[:3])
    assert len(lying.read) == 4, "the fence stands at the first thing that is written"

    await give_back(place, source)
    run = await place.next_run(source.id)
    assert (run.state, run.counts) == (RunState.DONE, Counts(found=12, created=9, unchanged=3))
    page = await place.tenant.app.refreshes.runs(place.tenant.console, source.id)
    assert [run.state for run in page.items] == [RunState.DONE, RunState.FAILED]


async def test_a_worker_that_is_told_to_stop_leaves_the_rest_to_another(watched: Make) -> None:
    lying = LyingPlace(texts(MANY))
    place = await watched(origins=lying)
    source = await place.source()

    async def stop() -> None:
        if len(lying.read) == 5:
            place.fetching.leave()

    lying.meanwhile = stop
    run = await place.next_run(source.id)
    assert (run.state, code_of(run)) == (RunState.PARTIAL, "interrupted")
    assert await as_superuser(place, "select attempts from jobs where subject_id = $1", source.id) == 0
    another = replace(place, fetching=fetching(place.stand.parts.base, lying))
    run = await another.next_run(source.id)
    assert run.state is RunState.DONE
    assert set(await place.documents(source.id)) == set(MANY)
    assert sorted(lying.read) == sorted(MANY), "nothing was read twice"


async def test_a_walk_that_is_cancelled_while_its_source_is_paused_stands_in_nobodys_way(watched: Make) -> None:
    lying, stays = LyingPlace(texts(MANY)), asyncio.Event()
    place = await watched(origins=lying)
    source = await place.source()
    await place.tenant.app.refreshes.request(place.tenant.console, source.id, accept_empty=True)
    lying.meanwhile = cast(Meanwhile, stays.wait)
    walking = asyncio.create_task(place.next_run(source.id))

    async def is_at_work() -> bool:
        return bool(lying.asked)

    async def waits() -> bool:
        sql = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        return await as_superuser(place, sql) > 0

    await until(is_at_work)
    async with place.stand.database.transaction(for_job(place.tenant.id, None)) as tx:
        await sources.pause(tx, source.id, paused=True)
        walking.cancel()
        await until(waits)
        await source_runs.take_leave_back(tx, source.id)
    with pytest.raises(asyncio.CancelledError):
        await walking
    assert code_of(await place.last_run(source.id)) == "interrupted"


async def test_a_walk_that_kills_its_worker_is_not_begun_for_ever(watched: Make) -> None:
    lying = LyingPlace(texts(["a.md"]))
    place = await watched(origins=lying)
    source = await place.source(schedule=3600)
    await as_superuser(place, "update jobs set attempts = 5 where subject_id = $1", source.id)
    run = await place.next_run(source.id)
    assert (run.state, code_of(run), lying.read) == (RunState.FAILED, "worker_crashed", [])
    run = await place.walked(source.id)
    assert run.state is RunState.DONE, "the next time is another one"


async def test_a_tenant_that_is_suspended_is_walked_no_further(watched: Make) -> None:
    place = await watched(origins=LyingPlace(texts(MANY)))
    source = await place.source()
    work = await place.claimed(source.id)
    assert work is not None
    await place.stand.app.life.suspend(OPERATOR, place.tenant.id)
    with pytest.raises(TenantWaits):
        await place.worked(work)
    await Desk(place.stand.database).settle(work, TenantWaits("It is not active."))
    assert await place.claimed(source.id) is None
    await place.stand.app.life.resume(OPERATOR, place.tenant.id)
    assert (await place.next_run(source.id)).state is RunState.DONE


async def test_a_source_that_is_deleted_in_the_middle_stays_deleted(watched: Make) -> None:
    lying = LyingPlace(texts(MANY))
    place = await watched(origins=lying)
    source = await place.source()

    async def delete() -> None:
        if len(lying.read) == 5:
            lying.meanwhile = None
            await place.tenant.app.forgetting.source(place.tenant.console, source.id)

    lying.meanwhile = delete
    with pytest.raises(LeaseLost):
        await place.next_run(source.id)
    with pytest.raises(NotFound):
        await place.documents(source.id)
    for table in ("source_items", "source_runs"):
        assert await as_superuser(place, f"select count(*) from {table} where source_id = $1", source.id) == 0


async def test_a_place_that_was_changed_in_the_middle_is_walked_anew(watched: Make) -> None:
    """What was read at the old place is not taken for the new one's."""
    place = await watched()
    for key in MANY:
        place.write(f"old/{key}")
    place.write("new/other.md")
    source = await place.source(place.folder / "old")
    lying = LyingPlace(texts(MANY))
    old = replace(place, fetching=fetching(place.stand.parts.base, lying))

    async def move() -> None:
        if len(lying.read) == 5:
            lying.meanwhile = None
            refit = Refit(place={"path": str(place.folder / "new")})
            await place.tenant.app.sources.change(place.tenant.console, source.id, refit=refit)

    lying.meanwhile = move
    run = await old.next_run(source.id)
    assert (run.state, code_of(run)) == (RunState.FAILED, "place_changed")
    run = await place.next_run(source.id)
    assert (run.state, run.counts.created, run.counts.deleted) == (RunState.DONE, 1, 5)
    assert set(await place.documents(source.id)) == {"other.md"}


# Two at the same time


async def test_whoever_was_slower_looks_again(watched: Make) -> None:
    """While the old bytes are read the thing changes, and somebody else takes the new ones."""
    lying = LyingPlace({"a.md": b"The old words of it."})
    place = await watched(origins=lying)
    source = await place.source()
    await place.next_run(source.id)
    visit = Visit(for_job(place.tenant.id, None), source, lying)
    taking = taking_of(place)
    lying.things["a.md"] = b"Newer words, but not the newest."
    slow = await lying.look("a.md", taking.known(visit))

    async def overtake() -> None:
        lying.while_reading = None
        lying.things["a.md"] = b"The newest words of all of them."
        assert await taking.take(visit, await lying.look("a.md", taking.known(visit))) is Taken.REPLACED

    lying.while_reading = overtake
    await taking.take(visit, slow)
    document = (await place.documents(source.id))["a.md"]
    assert document.size == len(b"The newest words of all of them.")
    content = await place.tenant.app.documents.download(place.tenant.console, document.id)
    assert b"".join([piece async for piece in content.content]) == b"The newest words of all of them."


async def test_the_same_news_twice_at_once_makes_one_document(watched: Make) -> None:
    lying = LyingPlace(texts(["a.md"]))
    place = await watched(origins=lying)
    source = await place.source()
    await place.next_run(source.id)
    visit, taking = Visit(for_job(place.tenant.id, None), source, lying), taking_of(place)
    lying.things |= texts(["b.md"])
    sights = [await lying.look("b.md", taking.known(visit)) for _ in range(4)]
    taken = await asyncio.gather(*(taking.take(visit, sight) for sight in sights))
    assert sorted(taken) == [Taken.CREATED, *[Taken.UNCHANGED] * 3]
    assert set(await place.documents(source.id)) == {"a.md", "b.md"}

    del lying.things["b.md"]
    gone = await asyncio.gather(*(taking.take(visit, Gone("b.md")) for _ in range(4)))
    assert sorted(gone) == [*[Taken.ABSENT] * 3, Taken.DELETED]
    assert set(await place.documents(source.id)) == {"a.md"}


async def test_what_an_event_brings_during_a_run_is_not_taken_for_gone(watched: Make) -> None:
    lying = LyingPlace(texts(MANY))
    place = await watched(origins=lying)
    source = await place.source()
    taking, visit = taking_of(place), Visit(for_job(place.tenant.id, None), source, lying)

    async def bring() -> None:
        if len(lying.read) == 5:
            lying.meanwhile = None
            lying.things |= texts(["late.md"])
            await taking.take(visit, await lying.look("late.md", taking.known(visit)))
            await taking.take(visit, Failed("later.md", Unavailable("Not now.")))

    lying.meanwhile = bring
    run = await place.next_run(source.id)
    assert (run.counts.created, run.counts.deleted) == (12, 0)
    assert set(await place.documents(source.id)) == {"late.md", *MANY}


async def test_what_an_event_began_to_bring_before_a_run_is_not_taken_for_gone(watched: Make) -> None:
    """It commits while the run reads the same thing, and knows nothing of the run."""
    lying = LyingPlace(texts(["a.md"]))
    place = await watched(origins=lying)
    source = await place.source()
    taking, visit = taking_of(place), Visit(for_job(place.tenant.id, None), source, lying)

    async def overtake() -> None:
        lying.while_reading = None
        await taking.take(visit, await lying.look("a.md", taking.known(visit)))
        await as_superuser(place, "update source_items set seen_in = null where source_id = $1", source.id)

    lying.while_reading = overtake
    run = await place.next_run(source.id)
    assert (run.state, run.counts) == (RunState.DONE, Counts(found=1, unchanged=1))
    assert set(await place.documents(source.id)) == {"a.md"}


# Schedules, pauses, room


async def test_the_end_of_a_run_plans_the_next_one(watched: Make) -> None:
    place = await watched(origins=LyingPlace(texts(["a.md"])))
    source = await place.source(schedule=3600)
    run = await place.next_run(source.id)
    planned = await place.tenant.app.sources.get(place.tenant.console, source.id)
    assert run.ended_at is not None
    assert planned.next_run_at is not None
    assert abs((planned.next_run_at - run.ended_at).total_seconds() - 3600) < 5
    sql = "select count(*) from jobs where tenant_id = $1 and kind = 'refresh' and due_at > now()"
    assert await as_superuser(place, sql, place.tenant.id) == 1
    assert (await place.stand.app.desk.backlog()).held >= 1, "nobody waits for it"

    await place.walked(source.id)
    refit = Refit(schedule=None, keeps_schedule=False)
    changed = await place.tenant.app.sources.change(place.tenant.console, source.id, refit=refit)
    assert (changed.schedule, changed.next_run_at) == (None, None)


async def test_a_next_run_that_was_lost_is_planned_again(watched: Make) -> None:
    place = await watched(origins=LyingPlace(texts(["a.md"])))
    source = await place.source(schedule=3600)
    await place.next_run(source.id)
    await as_superuser(place, "delete from jobs where kind = 'refresh' and subject_id = $1", source.id)
    await place.fetching.mend()
    assert (await place.next_run(source.id)).state is RunState.DONE


async def test_a_place_that_does_not_answer_is_asked_again_soon_and_not_for_ever(watched: Make) -> None:
    lying = LyingPlace(breaks=Unavailable("Nobody there.", code="origin_down"))
    place = await watched(origins=lying)
    source = await place.source(schedule=3600)
    for _ in range(5):
        await as_superuser(place, "update jobs set due_at = now() where subject_id = $1", source.id)
        await place.next_run(source.id)
    planned = await place.tenant.app.sources.get(place.tenant.console, source.id)
    last = await place.last_run(source.id)
    assert planned.next_run_at is not None
    assert last.ended_at is not None
    assert (planned.next_run_at - last.ended_at).total_seconds() > 3000


async def test_a_source_that_is_paused_stops_at_the_next_thing(watched: Make) -> None:
    lying = LyingPlace(texts(MANY))
    place = await watched(origins=lying)
    source = await place.source()

    async def pause() -> None:
        if len(lying.read) == 5:
            lying.meanwhile = None
            await place.tenant.app.refreshes.pause(place.tenant.console, source.id)
            await asyncio.sleep(0.6)  # as long as a walk goes on without looking

    lying.meanwhile = pause
    run = await place.next_run(source.id)
    assert (run.state, code_of(run)) == (RunState.PARTIAL, "source_paused")
    assert len(await place.documents(source.id)) <= 6
    with pytest.raises(Conflict) as refused:
        await place.tenant.app.refreshes.request(place.tenant.console, source.id)
    assert refused.value.code == "source_paused"

    resumed = await place.tenant.app.refreshes.resume(place.tenant.console, source.id)
    assert not resumed.paused
    assert (await place.next_run(source.id)).counts.found == 12


async def test_documents_of_a_paused_source_wait_and_go_on_when_it_is_resumed(watched: Make) -> None:
    place = await watched()
    app, console = place.tenant.app, place.tenant.console
    source = await place.tenant.source()
    dock = await app.uploads.dock(console, source.id)
    early = await app.uploads.deliver(dock, "early.md", pieces(b"Early words."), declared=None)
    assert (await app.refreshes.pause(console, source.id)).paused
    assert (await app.refreshes.pause(console, source.id)).paused, "twice is once"
    late = await app.uploads.deliver(dock, "late.md", pieces(b"Late words."), declared=None)
    async with a_worker(place.stand):
        await until(lambda: held(place, 2))
        for delivery in (early, late):
            assert (await app.uploads.settled(dock, delivery, seconds=0)).status is DocumentStatus.PENDING
        await app.refreshes.resume(console, source.id)
        for delivery in (early, late):
            assert (await app.uploads.settled(dock, delivery, seconds=30)).status is DocumentStatus.READY


async def held(place: Watched, many: int) -> bool:
    sql = "select count(*) from jobs where kind = 'ingest' and tenant_id = $1 and due_at = 'infinity'"
    return await as_superuser(place, sql, place.tenant.id) == many


async def test_a_walk_waits_while_too_many_documents_wait(watched: Make) -> None:
    """Two at the most: the walk looks between any two things, and goes on when there is room again."""
    lying = LyingPlace(texts(MANY[:6]))
    place = await watched(origins=lying, pending=2)
    source = await place.source()
    walking = asyncio.create_task(place.next_run(source.id))

    async def look_rarely() -> None:
        await asyncio.sleep(0.6)

    lying.meanwhile = look_rarely

    async def has_begun() -> bool:
        return len(lying.read) >= 2

    await until(has_begun)
    await asyncio.sleep(1.5)
    assert len(lying.read) <= 3
    lying.meanwhile = None
    async with a_worker(place.stand):
        assert (await walking).counts.created == 6


async def test_a_walk_that_waits_for_room_is_left_all_the_same(watched: Make) -> None:
    place = await watched(origins=LyingPlace(texts(MANY)), pending=1)
    source = await place.source()
    plain = await place.tenant.source()
    dock = await place.tenant.app.uploads.dock(place.tenant.console, plain.id)
    await place.tenant.app.uploads.deliver(dock, "a.md", pieces(b"Some words."), declared=None)
    walking = asyncio.create_task(place.next_run(source.id))
    await asyncio.sleep(0.5)
    place.fetching.leave()
    assert code_of(await asyncio.wait_for(walking, 20)) == "interrupted"


async def test_what_was_held_back_takes_no_turn_of_others(watched: Make) -> None:
    """Jobs of a source that was paused long ago begin behind those that others have asked for since."""
    place = await watched()
    app, console_ = place.tenant.app, place.tenant.console
    source = await place.tenant.source()
    dock = await app.uploads.dock(console_, source.id)
    for number in range(3):
        await app.uploads.deliver(dock, f"{number}.md", pieces(f"Words {number}.".encode()), declared=None)
    await app.refreshes.pause(console_, source.id)
    other = await a_tenant(place.stand.app, "Other")
    theirs = await other.app.uploads.dock(other.console, (await other.source()).id)
    await other.app.uploads.deliver(theirs, "a.md", pieces(b"Theirs."), declared=None)
    await as_superuser(place, "update jobs set turn = turn + 1000 where tenant_id <> $1", place.tenant.id)
    await app.refreshes.resume(console_, source.id)
    sql = "select min(turn) from jobs where kind = 'ingest' and tenant_id = $1 and due_at <= now()"
    mine, others = [await as_superuser(place, sql, tenant) for tenant in (place.tenant.id, other.id)]
    assert mine >= others >= 1000


# Events


async def test_what_changes_in_a_folder_is_heard(watched: Make) -> None:
    place = await watched()
    place.write("a.md")
    source = await place.source()

    async def becomes(**sizes: int | None) -> None:
        async def has_become() -> bool:
            found = await place.documents(source.id)
            wanted = {name.replace("_", "."): size for name, size in sizes.items()}
            return found.keys() == wanted.keys() and all(
                size is None or found[key].size == size for key, size in wanted.items()
            )

        await until(has_become)

    async def is_watched() -> bool:
        runs = await place.tenant.app.refreshes.runs(place.tenant.console, source.id)
        return len(runs.items) >= 2  # that of its making, and the one for what changed while nobody watched

    async with listening(place):
        await becomes(a_md=None)
        await until(is_watched)
        place.write("b.md")
        await becomes(a_md=None, b_md=None)
        place.write("b.md", "Other words.")
        await becomes(a_md=None, b_md=12)
        (place.folder / "a.md").unlink()
        await becomes(b_md=12)
        place.write("folder/c.md")
        (place.folder / "folder/c.md").rename(place.folder / "c.md")
        await becomes(b_md=12, c_md=None)


async def test_a_paused_source_is_not_listened_to(watched: Make) -> None:
    place = await watched()
    place.write("a.md")
    source = await place.source()

    async def has_all() -> bool:
        return set(await place.documents(source.id)) == {path.name for path in place.folder.iterdir()}

    async with listening(place):
        await until(has_all)
        await place.tenant.app.refreshes.pause(place.tenant.console, source.id)
        await asyncio.sleep(3)
        place.write("b.md")
        await asyncio.sleep(1.5)
        assert set(await place.documents(source.id)) == {"a.md"}
        await place.tenant.app.refreshes.resume(place.tenant.console, source.id)
        await until(has_all)


async def test_two_workers_that_listen_take_each_thing_once(watched: Make) -> None:
    place = await watched()
    source = await place.source()
    twin = replace(place, fetching=fetching(base_of(place)))
    keys = {f"{number}.md" for number in range(8)}

    async def has_all() -> bool:
        return set(await place.documents(source.id)) == keys

    async def has_none() -> bool:
        return not await place.documents(source.id)

    async with listening(place), listening(twin):
        for key in keys:
            place.write(key, f"These are the words of {key}.")
        await until(has_all)
        versions = "select count(*) from document_versions where source_id = $1"
        assert await as_superuser(place, versions, source.id) == len(keys)
        for key in keys:
            (place.folder / key).unlink()
        await until(has_none)
    assert await place.failures(source.id) == {}


async def test_news_that_could_not_be_heeded_come_again(watched: Make) -> None:
    lying = LyingPlace(texts(["a.md"]), news=["a.md", "gone.md"], deaf=[Unavailable("Not now.", code="origin_slow")])
    place = await watched(origins=lying)
    source = await place.source()
    await place.next_run(source.id)
    lying.things = texts(["a.md", "b.md"])
    lying.news += ["b.md", None]
    # the sources of other tests would hear of this place too
    await as_superuser(place, "update sources set paused_at = now() where id <> $1", source.id)

    async def is_settled() -> bool:
        return not lying.news

    async with listening(place):
        await until(is_settled)
    assert set(await place.documents(source.id)) == {"a.md", "b.md"}
    assert lying.deaf == []


# What is private


async def test_a_private_source_is_fetched_for_its_owner_alone(watched: Make) -> None:
    place = await watched(origins=LyingPlace({**texts(["a.md"]), "b.md": Unavailable("Not now.", code="origin_slow")}))
    source = await place.source(owner=place.tenant.console.user)
    run = await place.next_run(source.id)
    assert run.counts == Counts(found=2, created=1, failed=1)
    assert set(await place.documents(source.id)) == {"a.md"}
    other = await place.tenant.principal()
    for look in (place.tenant.app.refreshes.runs, place.tenant.app.refreshes.items):
        with pytest.raises(NotFound):
            await look(other, source.id)
    with pytest.raises(NotFound):
        await place.tenant.app.refreshes.request(other, source.id)
    async with place.stand.database.transaction(enter(other, Permission.METADATA)) as tx:
        assert (await source_items.listed(tx, source.id, status=None, limit=9, cursor=None)).items == []
        assert (await source_runs.listed(tx, source.id, limit=9, cursor=None)).items == []


# What is refused


async def test_nobody_brings_documents_to_a_source_that_fetches_them(watched: Make) -> None:
    place = await watched()
    source = await place.source()
    with pytest.raises(Conflict) as refused:
        await place.tenant.app.uploads.dock(place.tenant.console, source.id)
    assert refused.value.code == "source_refreshes"
    plain = await place.tenant.source()
    with pytest.raises(Conflict) as refused:
        await place.tenant.app.refreshes.request(place.tenant.console, plain.id)
    assert refused.value.code == "source_not_refreshing"


async def test_a_folder_must_be_one_that_the_operator_opened(watched: Make, tmp_path: Path) -> None:
    place = await watched()
    (tmp_path / "closed").mkdir()
    (place.folder / "door").symlink_to(tmp_path / "closed")
    for path, code in (
        (tmp_path / "closed", "folder_not_allowed"),
        (place.folder / "door", "folder_not_allowed"),
        (Path("/"), "folder_not_allowed"),
        (tmp_path / "opened-too", "folder_not_allowed"),
        (place.folder / "nothing", "folder_missing"),
    ):
        with pytest.raises(Invalid) as refused:
            await place.source(path)
        assert (refused.value.code, refused.value.field) == (code, "place.path")


async def test_another_tenants_folder_is_closed(watched: Make, quiet: Stand) -> None:
    place = await watched()
    other = await a_tenant(quiet.app, "Other")
    stranger = replace(place, tenant=replace(other, app=place.tenant.app))
    with pytest.raises(Invalid) as refused:
        await stranger.source()
    assert refused.value.code == "folder_not_allowed"
