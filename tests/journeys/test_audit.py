"""The audit log: what it tells, that nobody can fill it, and that nobody changes it unseen."""

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from carrel.domain.access import for_job
from carrel.domain.audit import Act
from carrel.domain.chain import Event, Fault, Seal
from carrel.domain.errors import Denied, Unauthenticated
from carrel.domain.ids import TenantId
from carrel.domain.secret import Secret
from carrel.operate.audit import Anchor, Line, Verdict, Wanted
from carrel.operate.seal import Sealer
from carrel.store import audit
from carrel.store.audit import LogBusyError
from carrel.store.bots import BotChange, NewBot
from carrel.store.sources import NewSource
from carrel.store.transaction import Transaction
from carrel.tenancy.credentials import CredentialChange, CredentialWish
from carrel.tenancy.refusals import Refusals, Refused
from carrel.worker.rounds import sealing
from conftest import TenantMaker
from support.raw import REFUSED, Raw, connected, posing
from support.rounds import rounds
from support.stand import Stand
from support.tenants import SomeTenant, pieces


@pytest.fixture
async def acme(tenant: TenantMaker) -> SomeTenant:
    return await tenant("Acme")


@pytest.fixture
async def superuser(carrel: Stand) -> AsyncIterator[Raw]:
    async with connected(carrel.endpoint.superuser_url) as connection:
        yield connection


@dataclass(frozen=True)
class Log:
    """A tenant's log, and the superuser who would like to change it."""

    carrel: Stand
    acme: SomeTenant
    superuser: Raw


@pytest.fixture
def log(carrel: Stand, acme: SomeTenant, superuser: Raw) -> Log:
    return Log(carrel, acme, superuser)


async def told(acme: SomeTenant, wanted: Wanted | None = None) -> list[Line]:
    """Oldest first."""
    page = await acme.app.audit.listed(acme.console, wanted or Wanted(), limit=200)
    return list(page.items)[::-1]


async def write(carrel: Stand, acme: SomeTenant, count: int = 6) -> None:
    for _ in range(count):
        async with carrel.database.transaction(for_job(acme.id, None)) as tx:
            await audit.record(tx, Act.SOURCE_CHANGED, uuid.uuid4(), facts={"n": 1})


async def sealed(carrel: Stand, acme: SomeTenant) -> list[uuid.UUID]:
    """Six sealed events, in order."""
    await write(carrel, acme)
    await Sealer(carrel.database, margin=0).run()
    return [line.event.id for line in await told(acme)]


async def verified(acme: SomeTenant, *anchors: Anchor) -> Verdict:
    return await acme.app.audit.verify(acme.console, anchors=anchors)


# What is told


async def test_every_act_of_the_journeys_is_told_once(carrel: Stand, acme: SomeTenant) -> None:
    app, who = acme.app, await acme.principal()
    source = await app.sources.create(who, NewSource("Docs"))
    await app.sources.change(who, source.id, name="Documents")
    bot = await app.bots.create(who, NewBot("Helper", frozenset({source.id})))
    await app.bots.change(who, bot.id, BotChange(instructions="Be brief."))
    await app.bots.delete(who, bot.id)
    document = await acme.put(source.id, "boats.md", "# Boats\n\nBoats float.")
    failed = await acme.put(source.id, "bad.pdf", b"%PDF-1.7\nThis is no PDF.")
    await app.documents.describe(who, document.id, {"team": "red"})
    await app.retries.one(who, failed.id)
    await app.forgetting.document(who, document.id)
    await app.forgetting.source(who, source.id)
    credential = await app.credentials.create(who, CredentialWish("main", "openai", Secret("sk-0123456789abcdef")))
    await app.credentials.change(who, credential.id, CredentialChange(name="other"))
    await app.credentials.delete(who, credential.id)
    lines = await told(acme)
    assert [(line.event.action, line.event.object) for line in lines[1:]] == [
        (Act.SOURCE_CREATED, source.id),
        (Act.SOURCE_CHANGED, source.id),
        (Act.BOT_CREATED, bot.id),
        (Act.BOT_CHANGED, bot.id),
        (Act.BOT_DELETED, bot.id),
        (Act.DOCUMENTS_DELIVERED, source.id),
        (Act.DOCUMENTS_DELIVERED, source.id),
        (Act.DOCUMENT_DESCRIBED, document.id),
        (Act.DOCUMENT_RETRIED, failed.id),
        (Act.DOCUMENT_DELETED, document.id),
        (Act.SOURCE_DELETED, source.id),
        (Act.CREDENTIAL_CREATED, credential.id),
        (Act.CREDENTIAL_CHANGED, credential.id),
        (Act.CREDENTIAL_DELETED, credential.id),
    ]
    assert {line.event.credential for line in lines if line.event.action == Act.BOT_CREATED} == {who.credential}
    assert lines[6].event.facts == {"files": 1, "document": str(document.id)}
    assert not any(
        word in json.dumps([line.event.facts for line in lines]) for word in ("Boats", "boats", "red", "sk-")
    )


async def test_many_files_of_one_request_are_one_event(acme: SomeTenant) -> None:
    source = await acme.source()
    dock = await acme.app.uploads.dock(acme.console, source.id)

    async def bring() -> None:
        held = [
            await acme.app.uploads.take(
                dock, f"{number}.txt", pieces(f"Text {number}".encode()), declared=None, room=99
            )
            for number in range(5)
        ]
        await acme.app.uploads.commit_all(dock, held)

    await bring()
    await bring()
    delivered = await told(acme, Wanted(action=Act.DOCUMENTS_DELIVERED))
    assert [(line.event.object, line.event.facts) for line in delivered] == [(source.id, {"files": 5})]


async def test_what_is_rolled_back_is_not_told(carrel: Stand, acme: SomeTenant) -> None:
    async def fail() -> None:
        async with carrel.database.transaction(for_job(acme.id, None)) as tx:
            await audit.record(tx, Act.SOURCE_CREATED, uuid.uuid4())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await told(acme) == []


async def test_filters_narrow_the_list(carrel: Stand, acme: SomeTenant) -> None:
    thing, somebody = uuid.uuid4(), uuid.uuid4()
    await write(carrel, acme, 2)
    async with carrel.database.transaction(for_job(acme.id, None)) as tx:
        await audit.record(tx, Act.BOT_CREATED, thing, actor=somebody, refused=True)  # type: ignore[arg-type]
    await write(carrel, acme, 2)
    (found,) = await told(acme, Wanted(object=thing))
    at = found.event.created_at
    wishes = [
        Wanted(actor=somebody),
        Wanted(action=Act.BOT_CREATED),
        Wanted(result="refused"),
        Wanted(since=at, until=at + timedelta(microseconds=1)),
    ]
    for wish in wishes:
        assert await told(acme, wish) == [found], wish
    assert (
        len(await told(acme, Wanted(since=at))) == len(await told(acme, Wanted(until=at + timedelta.resolution))) == 3
    )
    assert await told(acme, Wanted(actor=uuid.uuid4())) == []


async def test_who_lacks_the_right_reads_nothing(acme: SomeTenant) -> None:
    for principal in (await acme.principal("search"), await acme.principal("ingest")):
        with pytest.raises(Denied):
            await acme.app.audit.listed(principal, Wanted())
        with pytest.raises(Denied):
            await acme.app.audit.verify(principal)


# Refusals


@pytest.fixture
def minutes() -> list[float]:
    """A clock that the test turns, in seconds."""
    return [0.0]


@pytest.fixture
def refusals(carrel: Stand, minutes: list[float]) -> Refusals:
    return Refusals(carrel.database, every=60, clock=lambda: minutes[0])


async def test_refusals_are_told_once_a_minute_with_their_count(
    acme: SomeTenant, refusals: Refusals, minutes: list[float]
) -> None:
    refused = Refused(acme.id, None, uuid.uuid4(), "scope_missing", "manage")
    await asyncio.gather(*(refusals.note(refused) for _ in range(50)))
    assert [line.event.facts["count"] for line in await told(acme)] == [1]
    minutes[0] += 60
    await refusals.flush()
    await refusals.flush()
    minutes[0] += 60
    await refusals.flush()
    lines = await told(acme)
    assert [line.event.facts for line in lines] == [
        {"code": "scope_missing", "count": 1, "permission": "manage"},
        {"code": "scope_missing", "count": 49, "permission": "manage"},
    ]
    assert {(line.event.credential, line.event.result) for line in lines} == {(refused.credential, "refused")}


async def test_each_credential_and_reason_is_told_for_itself(acme: SomeTenant, refusals: Refusals) -> None:
    one, other = uuid.uuid4(), uuid.uuid4()
    for credential, code in ((one, "a"), (one, "b"), (other, "a"), (one, "a")):
        await refusals.note(Refused(acme.id, None, credential, code))
    assert len(await told(acme)) == 3


async def test_what_was_counted_is_told_at_the_end(acme: SomeTenant, refusals: Refusals) -> None:
    running = asyncio.create_task(refusals.run())
    for _ in range(3):
        await refusals.note(Refused(acme.id, None, None, "expired_key"))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [line.event.facts["count"] for line in await told(acme)] == [1, 2]


async def test_two_who_tell_at_once_tell_each_refusal_once(
    acme: SomeTenant, refusals: Refusals, minutes: list[float]
) -> None:
    codes = [f"code_{number}" for number in range(10)]
    for code in codes * 2:
        await refusals.note(Refused(acme.id, None, None, code))
    minutes[0] += 60
    await asyncio.gather(refusals.flush(), refusals.flush())
    assert Counter(line.event.facts["code"] for line in await told(acme)) == dict.fromkeys(codes, 2)


async def test_what_is_cut_short_is_told_later(acme: SomeTenant, refusals: Refusals, minutes: list[float]) -> None:
    for _ in range(2):
        await refusals.note(Refused(acme.id, None, None, "expired_key"))
    minutes[0] += 60
    telling = asyncio.create_task(refusals.flush())
    await asyncio.sleep(0)
    telling.cancel()
    await asyncio.wait([telling])
    minutes[0] += 60
    await refusals.flush()
    assert [line.event.facts["count"] for line in await told(acme)] == [1, 1]


async def test_a_tenant_that_is_gone_harms_nobody(refusals: Refusals) -> None:
    with capture_logs() as logs:
        await refusals.note(Refused(uuid.uuid4(), None, None, "expired_key"))  # type: ignore[arg-type]
    assert [line["event"] for line in logs] == ["audit.homeless"]


async def test_a_dead_key_of_a_known_tenant_is_told(acme: SomeTenant) -> None:
    principal, clear = await acme.principal("search"), await acme.key("search")
    key = clear.split("_")
    keys = await acme.app.keys.listed(acme.console)
    revoked = next(row for row in keys.items if row.id.hex == key[1])
    await acme.app.keys.revoke(acme.console, revoked.id)
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await acme.app.principals.authenticate(clear)
    (line,) = await told(acme, Wanted(action=Act.ACCESS_REFUSED))
    assert (line.event.credential, line.event.facts) == (revoked.id, {"code": "revoked_key", "count": 1})
    assert principal.credential != revoked.id


# Seals


async def test_sealing_again_adds_what_is_new_and_nothing_else(carrel: Stand, acme: SomeTenant) -> None:
    sealer = Sealer(carrel.database, margin=0)
    await write(carrel, acme, 2)
    assert [line.sealed for line in await told(acme)] == [False, False]
    await sealer.run()
    await sealer.run()
    await write(carrel, acme, 1)
    assert [line.sealed for line in await told(acme)] == [True, True, False]
    await sealer.run()
    verdict = await verified(acme)
    assert (verdict.seals, verdict.first_break) == (3, None)


async def test_an_event_is_left_alone_until_it_is_old_enough(carrel: Stand, acme: SomeTenant) -> None:
    await write(carrel, acme, 1)
    await Sealer(carrel.database, margin=3600).run()
    assert (await verified(acme)).seals == 0


async def test_a_chain_of_several_batches_holds(carrel: Stand, acme: SomeTenant, superuser: Raw) -> None:
    await superuser.execute(
        "insert into audit_events (tenant_id, id, action, result, created_at)"
        " select $1, gen_random_uuid(), 'a', 'done', now() - interval '1 hour' + n * interval '1 millisecond'"
        " from generate_series(1, 2300) n",
        acme.id,
    )
    await Sealer(carrel.database, margin=0).run()
    verdict = await verified(acme)
    assert (verdict.seals, verdict.first_break) == (2300, None)


async def test_writers_beside_sealers_end_in_one_chain(carrel: Stand, acme: SomeTenant) -> None:
    """Transactions commit in another order than they began, some not at all, and three sealers look all the time."""
    over = asyncio.Event()

    async def keep_writing(number: int) -> None:
        for turn in range(rounds(15, 300)):
            with suppress(ZeroDivisionError):
                async with carrel.database.transaction(for_job(acme.id, None)) as tx:
                    await audit.record(tx, Act.SOURCE_CHANGED, facts={"writer": number, "turn": turn})
                    await asyncio.sleep((number * 7 + turn) % 5 / 1000)
                    assert 1 / ((number + turn) % 6)

    async def keep_sealing() -> None:
        while not over.is_set():
            await Sealer(carrel.database, margin=0).run()

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(keep_sealing())
        async with asyncio.TaskGroup() as writers:
            for number in range(4):
                writers.create_task(keep_writing(number))
        over.set()
    await Sealer(carrel.database, margin=0).run()
    verdict, lines = await verified(acme), await told(acme)
    assert verdict.first_break is None
    assert verdict.seals >= len(lines) > 40
    assert all(line.sealed for line in lines)


async def test_a_writer_that_takes_long_is_waited_for_and_not_passed_over(carrel: Stand, acme: SomeTenant) -> None:
    async with carrel.database.transaction(for_job(acme.id, None)) as tx:
        await audit.record(tx, Act.SOURCE_CREATED)
        with capture_logs() as logs:
            await write(carrel, acme, 1)
            await Sealer(carrel.database, margin=0).run()
        assert [line["event"] for line in logs if line.get("tenant") == str(acme.id)] == ["audit.busy"]
        assert (await verified(acme)).seals == 0
        with pytest.raises(LogBusyError):
            async with carrel.database.transaction(for_job(acme.id, None)) as other:
                await audit.hold(other)
    await Sealer(carrel.database, margin=0).run()
    assert (await verified(acme)).seals == 2


async def test_a_worker_seals_and_tells_by_itself(carrel: Stand, acme: SomeTenant) -> None:
    await write(carrel, acme, 3)
    with capture_logs() as logs:
        async with sealing(Sealer(carrel.database, margin=0)):
            while not all(line.sealed for line in await told(acme)):  # noqa: ASYNC110 - another task commits
                await asyncio.sleep(0.01)
        async with sealing(Sealer(carrel.database, margin=0)):
            while str(acme.id) not in {line.get("tenant") for line in logs if line["event"] == "audit.head"}:  # noqa: ASYNC110 - another task logs
                await asyncio.sleep(0.01)
    assert (await verified(acme)).seals == 3


async def test_the_head_is_told_when_it_moved(carrel: Stand, acme: SomeTenant) -> None:
    await sealed(carrel, acme)
    sealer, verdict = Sealer(carrel.database, margin=0), await verified(acme)
    heads = []
    for _ in range(2):
        with capture_logs() as logs:
            await sealer.tell()
        heads.append([line for line in logs if line["event"] == "audit.head" and line["tenant"] == str(acme.id)])
    assert [(head["position"], head["hash"]) for head in heads[0]] == [(6, verdict.head.hex())]
    assert heads[1] == []


# Tampering


UPDATE = "update audit_events set {} where id = $2 and tenant_id = $1"
SWAP = """
    with two as (select id, created_at from audit_events where tenant_id = $1 and id in ($2, $3))
    update audit_events t set created_at = other.created_at from two other
    where t.tenant_id = $1 and t.id in ($2, $3) and other.id <> t.id
"""
BETWEEN = """
    insert into audit_events (tenant_id, id, action, result, created_at)
    select tenant_id, gen_random_uuid(), 'key.created', 'done', created_at + interval '1 microsecond'
    from audit_events where tenant_id = $1 and id = $2
"""
TAMPERING: dict[str, tuple[str, int, Fault]] = {
    "another action": (UPDATE.format("action = 'key.revoked'"), 3, Fault.CHANGED),
    "another actor": (UPDATE.format("actor_id = gen_random_uuid()"), 3, Fault.CHANGED),
    "another result": (UPDATE.format("result = 'refused'"), 3, Fault.CHANGED),
    "other facts": (UPDATE.format("""facts = '{"n": 2}'"""), 3, Fault.CHANGED),
    "no object": (UPDATE.format("object_id = null"), 3, Fault.CHANGED),
    "a deleted row": ("delete from audit_events where tenant_id = $1 and id = $2", 3, Fault.REMOVED),
    "an inserted row": (BETWEEN, 4, Fault.INSERTED),
    "a deleted seal": ("delete from audit_seals where tenant_id = $1 and event_id = $2", 3, Fault.SEAL_REMOVED),
    "a row that moved to the end": (UPDATE.format("created_at = now() + interval '1 day'"), 3, Fault.REORDERED),
    "a row that moved to the start": (UPDATE.format("created_at = now() - interval '1 day'"), 3, Fault.REORDERED),
}


@pytest.mark.parametrize(("statement", "position", "fault"), TAMPERING.values(), ids=TAMPERING)
async def test_what_a_superuser_does_is_found(log: Log, statement: str, position: int, fault: Fault) -> None:
    carrel, acme, events = log.carrel, log.acme, await sealed(log.carrel, log.acme)
    await log.superuser.execute(statement, acme.id, events[2])
    await Sealer(carrel.database, margin=0).run()
    found = (await verified(acme)).first_break
    assert found is not None
    assert (found.position, found.fault) == (position, fault)
    if fault in {Fault.CHANGED, Fault.REMOVED, Fault.REORDERED}:
        assert found.event == events[2]


async def test_two_rows_that_changed_places_are_found(carrel: Stand, acme: SomeTenant, superuser: Raw) -> None:
    events = await sealed(carrel, acme)
    await superuser.execute(SWAP, acme.id, events[2], events[4])
    found = (await verified(acme)).first_break
    assert found is not None
    assert (found.position, found.fault, found.event) == (3, Fault.REORDERED, events[2])


async def test_a_row_that_was_inserted_is_never_sealed(carrel: Stand, acme: SomeTenant, superuser: Raw) -> None:
    """Else the next round would make it true."""
    events = await sealed(carrel, acme)
    await superuser.execute(BETWEEN, acme.id, events[0])
    await write(carrel, acme, 2)
    await Sealer(carrel.database, margin=0).run()
    verdict = await verified(acme)
    assert verdict.seals == 8
    assert verdict.first_break is not None
    assert (verdict.first_break.position, verdict.first_break.fault) == (2, Fault.INSERTED)


@pytest.mark.parametrize(("gone", "fault"), [(2, Fault.SEAL_REMOVED), (0, Fault.ANCHOR_DIFFERS)])
async def test_an_anchor_tells_what_the_database_alone_cannot(log: Log, gone: int, fault: Fault) -> None:
    """Whoever owns the database can cut the end off, or make the whole chain anew."""
    carrel, acme, superuser = log.carrel, log.acme, log.superuser
    events = await sealed(carrel, acme)
    anchor = Anchor(6, (await verified(acme)).head)
    assert (await verified(acme, anchor)).first_break is None
    await superuser.execute("delete from audit_events where tenant_id = $1 and id = any ($2)", acme.id, events[-gone:])
    await superuser.execute("delete from audit_seals where tenant_id = $1", acme.id)
    if not gone:
        await write(carrel, acme, 6)
    await Sealer(carrel.database, margin=0).run()
    assert (await verified(acme)).first_break is None
    found = (await verified(acme, anchor)).first_break
    assert found is not None
    assert found.fault is fault


async def test_the_serving_role_adds_and_reads_only(carrel: Stand, acme: SomeTenant) -> None:
    await sealed(carrel, acme)
    async with connected(carrel.endpoint.app_url) as app, posing(app, acme.id, sources="*"):
        assert await app.fetchval("select count(*) from audit_seals") == 6
        for table in ("audit_events", "audit_seals"):
            for statement in (f"update {table} set created_at = now()", f"delete from {table}", f"truncate {table}"):
                with pytest.raises(REFUSED):
                    async with app.transaction():
                        await app.execute(statement)


async def test_a_tenant_that_goes_while_it_is_sealed_ends_no_worker(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seals would refer to a tenant that is destroyed by then; the others are sealed all the same."""
    gone = uuid.uuid4()
    unsealed, to_seal = audit.unsealed, audit.to_seal

    async def with_one_that_goes(tx: Transaction, *, margin: float) -> list[TenantId]:
        return [TenantId(gone), *await unsealed(tx, margin=margin)]

    async def as_it_was(tx: Transaction, after: Seal | None, *, margin: float, most: int) -> list[Event]:
        if tx.tenant != gone:
            return await to_seal(tx, after, margin=margin, most=most)
        return [Event(tx.tenant, uuid.uuid4(), datetime.now(UTC), None, None, "x", None, "done", None, {})]

    monkeypatch.setattr(audit, "unsealed", with_one_that_goes)
    monkeypatch.setattr(audit, "to_seal", as_it_was)
    await log.acme.source()
    await Sealer(log.carrel.database, margin=-1.0).run()
    assert all(line.sealed for line in await told(log.acme))
