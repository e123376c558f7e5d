"""Quotas under haste and accidents: never more than the limit, and nothing that is held for ever."""

import asyncio
import uuid
from collections.abc import AsyncGenerator

import pytest

from carrel.ask.pipeline import ChatWish, Event
from carrel.domain.access import Principal, console, enter
from carrel.domain.errors import Throttled
from carrel.domain.quotas import Level, Quota, Resource
from carrel.domain.rights import Permission
from carrel.store import quotas
from carrel.store.quotas import Wanted
from carrel.tenancy.quotas import Period
from conftest import TenantMaker
from support.raw import connected
from support.stand import Stand
from support.tenants import SomeTenant, pieces


async def a_limited_tenant(carrel: Stand, tenant: TenantMaker, resource: Resource, hard: int) -> SomeTenant:
    made = await tenant()
    await carrel.app.allowances.limit(console(None), made.id, {resource: Quota(hard=hard)})
    return made


async def level(carrel: Stand, tenant: SomeTenant, resource: Resource) -> Level:
    report = await carrel.app.allowances.usage(tenant.console, Period())
    return next(level for level in report.levels if level.resource is resource)


async def ask(carrel: Stand, principal: Principal) -> bool:
    allowed = await carrel.app.asking.allow(principal, ChatWish("Do boats float?"))
    try:
        async for _ in carrel.app.asking.chat(allowed):
            pass
    except Throttled:
        return False
    return True


async def begun(carrel: Stand, principal: Principal) -> AsyncGenerator[Event]:
    """A question that is under way: its evidence is there, its answer is not."""
    allowed = await carrel.app.asking.allow(principal, ChatWish("Do boats float?"))
    events = carrel.app.asking.chat(allowed)
    await anext(events)
    return events


async def test_of_fifty_questions_at_once_as_many_are_answered_as_the_quota_allows(
    carrel: Stand, tenant: TenantMaker
) -> None:
    limited = await a_limited_tenant(carrel, tenant, Resource.QUESTIONS, 7)
    principal = await limited.principal()
    answered = await asyncio.gather(*(ask(carrel, principal) for _ in range(50)))
    assert sum(answered) == 7
    standing = await level(carrel, limited, Resource.QUESTIONS)
    assert (standing.used, standing.held) == (7, 0)


async def test_a_question_that_fails_or_is_given_up_costs_nothing(carrel: Stand, tenant: TenantMaker) -> None:
    limited = await a_limited_tenant(carrel, tenant, Resource.QUESTIONS, 5)
    source = await limited.source()
    await limited.put(source.id, "boats.md", "# Boats\n\nBoats float on water.")
    events = await begun(carrel, await limited.principal())
    assert (await level(carrel, limited, Resource.QUESTIONS)).held == 1
    await events.aclose()
    standing = await level(carrel, limited, Resource.QUESTIONS)
    assert (standing.used, standing.held) == (0, 0)


async def test_what_a_dead_process_held_is_free_when_its_lease_is_over(carrel: Stand, tenant: TenantMaker) -> None:
    limited = await a_limited_tenant(carrel, tenant, Resource.QUESTIONS, 1)
    principal = await limited.principal()
    dead = await begun(carrel, principal)
    assert not await ask(carrel, principal)
    async with connected(carrel.endpoint.superuser_url) as connection:
        await connection.execute(
            "update reservations set expires_at = now() - interval '1 second' where tenant_id = $1", limited.id
        )
    assert await ask(carrel, principal)
    standing = await level(carrel, limited, Resource.QUESTIONS)
    assert (standing.used, standing.held) == (1, 0)
    await dead.aclose()


async def test_an_answer_later_than_its_lease_is_counted_all_the_same(carrel: Stand, tenant: TenantMaker) -> None:
    limited = await a_limited_tenant(carrel, tenant, Resource.QUESTIONS, 3)
    late = await begun(carrel, await limited.principal())
    async with connected(carrel.endpoint.superuser_url) as connection:
        await connection.execute("update reservations set expires_at = '-infinity' where tenant_id = $1", limited.id)
    await carrel.app.allowances.limit(console(None), limited.id, {Resource.QUESTIONS: Quota(hard=3)})
    assert (await level(carrel, limited, Resource.QUESTIONS)).held == 0
    async for _ in late:
        pass
    standing = await level(carrel, limited, Resource.QUESTIONS)
    assert (standing.used, standing.held) == (1, 0)


async def test_a_new_month_begins_with_nothing_used_and_nothing_held(carrel: Stand, tenant: TenantMaker) -> None:
    limited = await a_limited_tenant(carrel, tenant, Resource.QUESTIONS, 2)
    principal = await limited.principal()
    assert await ask(carrel, principal)
    late = await begun(carrel, principal)
    assert not await ask(carrel, principal)
    async with connected(carrel.endpoint.superuser_url) as connection:
        for table in ("quotas", "reservations"):
            await connection.execute(f"update {table} set month = '2020-01-01' where tenant_id = $1", limited.id)
    standing = await level(carrel, limited, Resource.QUESTIONS)
    assert (standing.used, standing.held) == (0, 0)
    assert await ask(carrel, principal)
    async for _ in late:  # asked in the former month, answered in this
        pass
    standing = await level(carrel, limited, Resource.QUESTIONS)
    assert (standing.used, standing.held) == (2, 0)
    assert not await ask(carrel, principal)


async def test_tokens_are_refused_once_they_are_used_up(carrel: Stand, tenant: TenantMaker) -> None:
    limited = await a_limited_tenant(carrel, tenant, Resource.TOKENS, 10)
    principal = await limited.principal()
    assert await ask(carrel, principal)
    async with connected(carrel.endpoint.superuser_url) as connection:
        await connection.execute("update quotas set tokens_used = 10 where tenant_id = $1", limited.id)
    with pytest.raises(Throttled) as refused:
        await begun(carrel, principal)
    assert refused.value.code == "quota_exceeded"
    assert 0 < refused.value.wait <= 31 * 86_400


async def test_of_many_documents_at_once_as_many_are_taken_as_the_quota_allows(
    carrel: Stand, tenant: TenantMaker
) -> None:
    limited = await a_limited_tenant(carrel, tenant, Resource.DOCUMENTS, 5)
    source = await limited.source()
    dock = await carrel.app.uploads.dock(limited.console, source.id)

    async def bring(n: int) -> bool:
        try:
            await carrel.app.uploads.deliver(dock, f"{n}.txt", pieces(f"Text {n}.".encode()), declared=None)
        except Throttled:
            return False
        return True

    assert sum(await asyncio.gather(*(bring(n) for n in range(20)))) == 5
    assert (await level(carrel, limited, Resource.DOCUMENTS)).used == 5
    assert len(list((carrel.parts.base.blobs._root / str(limited.id)).iterdir())) == 5  # type: ignore[attr-defined]


async def test_counters_follow_what_is_kept_through_replacing_and_deleting(carrel: Stand, tenant: TenantMaker) -> None:
    some = await tenant()
    source, doomed = await some.source(), await some.source()
    await some.put(source.id, "a.txt", "12345")
    await some.put(source.id, "a.txt", "1234567890")
    await some.put(doomed.id, "b.txt", "123")
    await some.put(doomed.id, "c.txt", "123")
    assert (await level(carrel, some, Resource.DOCUMENTS)).used == 3
    assert (await level(carrel, some, Resource.BYTES)).used == 16
    await carrel.app.forgetting.source(some.console, doomed.id)
    assert (await level(carrel, some, Resource.DOCUMENTS)).used == 1
    async with asyncio.timeout(60):
        while (await level(carrel, some, Resource.BYTES)).used != 10:  # noqa: ASYNC110 - a worker empties the source
            await asyncio.sleep(0.01)


async def test_counters_that_went_astray_are_counted_anew_with_what_is_private(
    carrel: Stand, tenant: TenantMaker
) -> None:
    some = await tenant()
    source = await some.source()
    await some.put(source.id, "a.txt", "12345")
    async with connected(carrel.endpoint.superuser_url) as connection:
        await connection.execute("update documents set owner_id = $2 where tenant_id = $1", some.id, uuid.uuid4())
        await connection.execute("update quotas set documents_used = 99, bytes_used = 0 where tenant_id = $1", some.id)
    await carrel.app.allowances.limit(console(None), some.id, {})
    assert (await level(carrel, some, Resource.DOCUMENTS)).used == 1
    assert (await level(carrel, some, Resource.BYTES)).used == 5


async def test_room_that_is_held_counts_for_others_until_it_is_given_back(carrel: Stand, tenant: TenantMaker) -> None:
    limited = await a_limited_tenant(carrel, tenant, Resource.BYTES, 1_000)
    source = await limited.source()
    async with carrel.app.uploads.docked(limited.console, source.id, expects=900) as dock:
        with pytest.raises(Throttled):
            async with carrel.app.uploads.docked(limited.console, source.id, expects=200):
                pass
        await carrel.app.uploads.deliver(dock, "a.txt", pieces(b"x" * 300), declared=None)
        standing = await level(carrel, limited, Resource.BYTES)
        assert (standing.used, standing.held) == (300, 600)
    standing = await level(carrel, limited, Resource.BYTES)
    assert (standing.used, standing.held) == (300, 0)


async def test_who_has_no_quota_holds_nothing(carrel: Stand, tenant: TenantMaker) -> None:
    some = await tenant()
    async with carrel.database.transaction(enter(some.console, Permission.ASK)) as tx:
        assert (await quotas.reserve(tx, Wanted(10**12, 1, 1), {})).hold.id is None


async def test_the_settings_quotas_hold_for_who_has_none_and_yield_to_its_own(
    carrel: Stand, tenant: TenantMaker
) -> None:
    some, defaults = await tenant(), {Resource.QUESTIONS: Quota(hard=1)}

    async def reserve() -> bool:
        try:
            async with carrel.database.transaction(enter(some.console, Permission.ASK)) as tx:
                await quotas.reserve(tx, Wanted(questions=1), defaults)
        except Throttled:
            return False
        return True

    assert [await reserve() for _ in range(2)] == [True, False]
    await carrel.app.allowances.limit(console(None), some.id, {Resource.QUESTIONS: Quota(hard=2)})
    assert [await reserve() for _ in range(2)] == [True, False]
