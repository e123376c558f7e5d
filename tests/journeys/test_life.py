"""The life of a tenant: suspended and resumed at once; deleted, invisible at once, then destroyed everywhere."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from carrel.adapters.postgres import Endpoint
from carrel.domain.access import console
from carrel.domain.errors import Conflict, Denied, NotFound, Unauthenticated
from carrel.domain.ids import TenantId
from carrel.domain.jobs import JobKind
from carrel.domain.layout import Isolation
from carrel.ingest.sweep import Sweep
from carrel.tenancy.destroy import Destroying
from carrel.wiring import tasks
from support.furnished import furnish
from support.people import a_person
from support.quiet import a_quiet_stand, a_worker_of, delivered, drained
from support.raw import Raw, connected, posing, tenant_tables
from support.stand import Stand, a_worker
from support.tally import files_of
from support.tenants import SomeTenant, a_tenant, pieces

OPERATOR = console(None)


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with a_quiet_stand(endpoint, "life", tmp_path_factory.mktemp("life"), models=models) as standing:
        yield standing


@pytest.fixture
async def superuser(quiet: Stand) -> AsyncIterator[Raw]:
    async with connected(quiet.endpoint.superuser_url) as connection:
        yield connection


async def rows_of(superuser: Raw, tenant: TenantId) -> dict[str, int]:
    """In every table that has tenants, whoever owns the row; tables without one are not named."""
    counted = {
        table: await superuser.fetchval(f"select count(*) from {table} where tenant_id = $1", tenant)
        for table in await tenant_tables(superuser)
    }
    return {table: count for table, count in counted.items() if count}


async def own_tables(superuser: Raw, tenant: TenantId) -> list[str]:
    rows = await superuser.fetch(
        "select relname from pg_class where relnamespace = 'carrel_own'::regnamespace and relkind = 'r'"
        " and relname like '%' || $1",
        tenant.hex,
    )
    return [row["relname"] for row in rows]


async def uncounted(superuser: Raw, tenant: TenantId) -> dict[str, int]:
    """What its rows were, but for those that say how they lie or whose turn it is."""
    found = await rows_of(superuser, tenant)
    return {table: count for table, count in found.items() if table not in {"layouts", "job_turns", "jobs"}}


async def test_everything_of_a_deleted_tenant_is_destroyed_and_counted(quiet: Stand, superuser: Raw) -> None:
    async with a_worker(quiet):
        doomed = await furnish(quiet, "Doomed", superuser)
        spared = await furnish(quiet, "Spared", superuser)
    tenant = doomed.tenant.id
    before, others = await uncounted(superuser, tenant), await uncounted(superuser, spared.tenant.id)
    files = len(files_of(quiet, tenant))
    assert files >= 2

    await quiet.app.life.delete(OPERATOR, tenant)
    before["audit_events"] = await superuser.fetchval("select count(*) from audit_events where tenant_id = $1", tenant)
    await drained(quiet)

    assert await rows_of(superuser, tenant) == {}
    assert files_of(quiet, tenant) == ()
    assert await own_tables(superuser, tenant) == []
    assert not await superuser.fetchval("select exists (select from tenants where id = $1)", tenant)
    receipt = await quiet.app.life.receipt(OPERATOR, tenant)
    assert receipt.completed_at is not None
    counted = {name: count for name, count in receipt.destroyed.items() if name not in {"jobs", "job_turns"}}
    assert counted.pop("files") == files
    assert counted == before
    assert await uncounted(superuser, spared.tenant.id) == others
    assert len(files_of(quiet, spared.tenant.id)) == files


async def test_a_dedicated_tenants_own_tables_go_too(quiet: Stand, superuser: Raw) -> None:
    made = await quiet.app.tenants.create(OPERATOR, "Large", isolation=Isolation.DEDICATED)
    doomed = SomeTenant(quiet.app, made)
    await delivered(doomed, (await doomed.source()).id, "a.md", "# A\n\nBoats float.\n")
    await drained(quiet)
    assert len(await own_tables(superuser, doomed.id)) == 2

    await quiet.app.life.delete(OPERATOR, doomed.id)
    await drained(quiet)

    assert await own_tables(superuser, doomed.id) == []
    assert await rows_of(superuser, doomed.id) == {}
    counted = (await quiet.app.life.receipt(OPERATOR, doomed.id)).destroyed
    assert counted["dense_entries"] == counted["lexical_entries"] == counted["chunks"] == 1


async def test_a_deleted_tenant_is_invisible_at_once_and_its_slug_is_free(quiet: Stand) -> None:
    acme = await a_tenant(quiet.app, "Invisible")
    key, person = await acme.key(), await a_person(quiet, owner=acme.id)
    token = person.token(acme.id)

    await quiet.app.life.delete(await person.principal(acme.id), acme.id)

    for credential in (key, token):
        with pytest.raises(Unauthenticated):
            await quiet.app.principals.authenticate(credential)
    assert acme.id not in (await person.principal()).roles
    assert acme.id not in [one.id for one in (await quiet.app.tenants.listed(OPERATOR, limit=200)).items]
    for name in (acme.slug, str(acme.id)):
        with pytest.raises(NotFound):
            await quiet.app.tenants.find(OPERATOR, name)
    for act in (quiet.app.life.get, quiet.app.life.suspend, quiet.app.life.resume, quiet.app.life.delete):
        with pytest.raises(NotFound):
            await act(OPERATOR, acme.id)
    with pytest.raises(NotFound):
        await quiet.app.life.rename(OPERATOR, acme.id, "Back again")
    heir = await quiet.app.tenants.create(OPERATOR, "Heir", slug=acme.slug)
    assert heir.id != acme.id
    assert (await quiet.app.life.receipt(OPERATOR, acme.id)).requested_by == person.id
    await drained(quiet)
    assert (await quiet.app.tenants.find(OPERATOR, acme.slug)).id == heir.id


async def test_a_receipt_is_the_operators_to_read(quiet: Stand) -> None:
    acme = await a_tenant(quiet.app, "Receipts")
    owner = await (await a_person(quiet, owner=acme.id)).principal(acme.id)
    with pytest.raises(NotFound):
        await quiet.app.life.receipt(OPERATOR, acme.id)
    await quiet.app.life.delete(OPERATOR, acme.id)
    assert (await quiet.app.life.receipt(OPERATOR, acme.id)).completed_at is None
    with pytest.raises(Denied):
        await quiet.app.life.receipt(owner, acme.id)


async def test_a_suspended_tenant_is_refused_until_it_is_resumed(quiet: Stand, superuser: Raw) -> None:
    acme = await a_tenant(quiet.app, "Pausing")
    key, person = await acme.key(), await a_person(quiet, owner=acme.id)
    for _ in range(2):
        assert (await quiet.app.life.suspend(OPERATOR, acme.id)).status == "suspended"
    for credential in (key, person.token(acme.id)):
        with pytest.raises(Unauthenticated):
            await quiet.app.principals.authenticate(credential)
    for _ in range(2):
        assert (await quiet.app.life.resume(OPERATOR, acme.id)).status == "active"
    assert (await quiet.app.principals.authenticate(key)).tenant == acme.id
    assert (await person.principal(acme.id)).tenant == acme.id
    told = await superuser.fetch(
        "select action from audit_events where tenant_id = $1 and action like 'tenant.%' order by created_at", acme.id
    )
    assert [row["action"] for row in told] == ["tenant.suspended", "tenant.resumed"], "what changed nothing is not told"


async def test_a_suspended_tenant_can_be_deleted(quiet: Stand, superuser: Raw) -> None:
    acme = await a_tenant(quiet.app, "Pausing")
    await quiet.app.life.suspend(OPERATOR, acme.id)
    await quiet.app.life.delete(OPERATOR, acme.id)
    await drained(quiet)
    assert await rows_of(superuser, acme.id) == {}


async def test_an_owner_acts_on_the_own_tenant_only_and_others_on_none(quiet: Stand) -> None:
    acme, other = await a_tenant(quiet.app, "Own"), await a_tenant(quiet.app, "Other")
    owner = await (await a_person(quiet, owner=acme.id)).principal(acme.id)
    admin = await (await a_person(quiet, admin=acme.id)).principal(acme.id)

    assert (await quiet.app.life.rename(owner, acme.id, "Renamed")).name == "Renamed"
    assert (await quiet.app.life.get(owner, acme.id)).slug == acme.slug
    for stranger in (other.id, TenantId(uuid.uuid4())):
        with pytest.raises(NotFound):
            await quiet.app.life.get(owner, stranger)
        with pytest.raises(NotFound):
            await quiet.app.life.rename(owner, stranger, "Taken")
        with pytest.raises(NotFound):
            await quiet.app.life.delete(owner, stranger)
    for act in (quiet.app.life.suspend, quiet.app.life.resume):
        with pytest.raises(Denied):
            await act(owner, acme.id)
    for who in (admin, await acme.principal()):
        with pytest.raises(Denied):
            await quiet.app.life.get(who, acme.id)
        with pytest.raises(Denied):
            await quiet.app.life.delete(who, acme.id)
    assert (await quiet.app.tenants.find(OPERATOR, other.slug)).name == other.tenant.name


async def some_chunks(superuser: Raw, tenant: TenantId) -> None:
    async with asyncio.timeout(120):
        while True:
            if await superuser.fetchval("select exists (select from chunks where tenant_id = $1)", tenant):
                return
            await asyncio.sleep(0.01)


async def test_a_worker_that_has_a_document_in_hand_leaves_nothing_behind(quiet: Stand, superuser: Raw) -> None:
    acme = await a_tenant(quiet.app, "Busy")
    source = (await acme.source()).id
    for number in range(4):
        await delivered(acme, source, f"{number}.md", "\n\n".join(f"# Part {n}\n\nBoats." for n in range(200)))
    async with a_worker(quiet):
        await some_chunks(superuser, acme.id)
        await quiet.app.life.delete(OPERATOR, acme.id)
    await drained(quiet)
    assert await rows_of(superuser, acme.id) == {}
    assert files_of(quiet, acme.id) == ()


async def test_bytes_that_come_after_the_end_are_swept(quiet: Stand) -> None:
    acme = await a_tenant(quiet.app, "Late")
    await quiet.app.life.delete(OPERATOR, acme.id)
    await drained(quiet)
    await quiet.parts.base.blobs.put(acme.id, pieces(b"Too late."), limit=100)
    assert len(files_of(quiet, acme.id)) == 1
    await Sweep(quiet.database, quiet.parts.base.blobs, grace=-1.0).run()
    assert files_of(quiet, acme.id) == ()


async def test_the_idempotency_key_of_a_tenant_that_was_deleted_makes_no_other(quiet: Stand) -> None:
    """It would have the id of the one that is gone, whose bytes are still swept."""
    key = await quiet.app.keys.create_operator(OPERATOR, name="twice")
    operator, slug = await quiet.app.principals.authenticate(key.reveal()), f"twice-{uuid.uuid4().hex[:8]}"
    made = await quiet.app.tenants.create(operator, "Twice", slug=slug, once="the same")
    await quiet.app.life.delete(operator, made.id)
    for _ in range(2):  # while it is being destroyed, and when it is gone
        with pytest.raises(Conflict, match="was deleted"):
            await quiet.app.tenants.create(operator, "Twice", slug=slug, once="the same")
        await drained(quiet)
    other = await quiet.app.tenants.create(operator, "Twice", slug=slug, once="another")
    assert (other.slug, other.id == made.id) == (slug, False)


async def test_destroying_in_small_steps_counts_the_same(quiet: Stand, superuser: Raw) -> None:
    async with a_worker(quiet):
        doomed = await furnish(quiet, "Slow", superuser)
    before = await uncounted(superuser, doomed.tenant.id)
    await quiet.app.life.delete(OPERATOR, doomed.tenant.id)
    slowly = Destroying(quiet.database, quiet.parts.base.blobs, batch=1)
    doing = {**tasks(quiet.parts, quiet.parser), JobKind.DESTROY: lambda work: slowly.run(work.grant, work.claim)}
    await drained(quiet, a_worker_of(quiet, doing=doing))
    counted = (await quiet.app.life.receipt(OPERATOR, doomed.tenant.id)).destroyed
    assert {table: counted[table] for table in before if table != "audit_events"} == {
        table: count for table, count in before.items() if table != "audit_events"
    }


async def test_nothing_of_a_tenant_that_lives_can_be_destroyed(quiet: Stand, superuser: Raw) -> None:
    """The functions do nothing for a tenant that was not given up, and their owner sees none of its rows."""
    async with a_worker(quiet):
        safe = await furnish(quiet, "Safe", superuser)
    before = await rows_of(superuser, safe.tenant.id)
    async with connected(quiet.endpoint.app_url) as app, posing(app, safe.tenant.id, sources="*") as transaction:
        for function in ("destroy_rows(1000)", "destroy_entries(1000)"):
            assert await transaction.fetch(f"select * from {function}") == []
        assert await transaction.fetchval("select bury_tenant()") is False
    async with posing(superuser, safe.tenant.id) as transaction:
        await transaction.execute(f"set local role {quiet.endpoint.database}_jobs")
        for table in ("api_keys", "documents", "sources", "memberships", "audit_events"):
            assert await transaction.execute(f"delete from {table} where tenant_id = $1", safe.tenant.id) == "DELETE 0"
    assert await rows_of(superuser, safe.tenant.id) == before
