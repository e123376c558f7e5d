"""Members: who may change whom, that an owner always remains, and what a member who leaves takes along."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from carrel.ask.pipeline import ChatWish, Done, SearchWish
from carrel.domain.access import Principal, console, enter
from carrel.domain.errors import Conflict, Denied, NotFound, Refusal, Unauthenticated
from carrel.domain.ids import SourceId
from carrel.domain.rights import Permission, Role, Scope
from carrel.store.members import MemberStatus
from carrel.store.sources import NewSource
from carrel.store.transaction import Statement
from carrel.tenancy.keys import KeyWish
from conftest import TenantMaker
from support.people import Person, a_person
from support.raw import connected
from support.stand import Stand
from support.tenants import SomeTenant, pieces

_OWNERS = "select count(*) from memberships where tenant_id = $1 and role = 'owner' and status = 'active'"
PRIVATE = ("chunks", "document_versions", "chats", "messages")
_EVENTS = Statement("select action, actor_id, object_id from audit_events where tenant_id = :tenant order by id")
_JOBS = "select count(*) from jobs where tenant_id = $1 and kind in ('farewell', 'empty')"


async def refused(deed: Awaitable[object]) -> str:
    with pytest.raises(Refusal) as refusal:
        await deed
    return refusal.value.code


async def owners(carrel: Stand, place: SomeTenant) -> int:
    async with connected(carrel.endpoint.superuser_url) as superuser:
        return int(await superuser.fetchval(_OWNERS, place.id))


# Who may change whom

Deed = Callable[[Stand, Principal, Person], Awaitable[object]]
STEPPING_DOWN: dict[str, Deed] = {
    "demoted": lambda carrel, who, person: carrel.app.members.change(who, person.id, role=Role.VIEWER),
    "suspended": lambda carrel, who, person: carrel.app.members.change(who, person.id, status=MemberStatus.SUSPENDED),
    "removed": lambda carrel, who, person: carrel.app.members.remove(who, person.id),
}


@pytest.mark.parametrize("role", list(Role))
async def test_an_admin_deals_with_every_role_but_an_owners(carrel: Stand, tenant: TenantMaker, role: Role) -> None:
    place = await tenant()
    await a_person(carrel, owner=place.id)
    admin = await (await a_person(carrel, admin=place.id)).principal(place.id)
    target = await a_person(carrel, **{role.value: place.id})
    if role is Role.OWNER:
        for deed in STEPPING_DOWN.values():
            assert await refused(deed(carrel, admin, target)) == "above_your_role"
    else:
        assert (await carrel.app.members.change(admin, target.id, role=Role.ADMIN)).role is Role.ADMIN
        await carrel.app.members.remove(admin, target.id)
        assert await refused(carrel.app.members.get(admin, target.id)) == "not_found"


@pytest.mark.parametrize("by_key", [False, True], ids=["a person", "a key"])
async def test_nobody_gives_a_role_above_their_own(carrel: Stand, tenant: TenantMaker, *, by_key: bool) -> None:
    place = await tenant()
    owner, viewer = await a_person(carrel, owner=place.id), await a_person(carrel, viewer=place.id)
    admin = await (await a_person(carrel, admin=place.id)).principal(place.id)
    actor = await place.principal("manage") if by_key else admin
    assert await refused(carrel.app.members.change(actor, viewer.id, role=Role.OWNER)) == "above_your_role"
    assert (await carrel.app.members.change(actor, viewer.id, role=Role.ADMIN)).role is Role.ADMIN
    key = (await carrel.app.keys.create(await owner.principal(place.id), KeyWish("k", frozenset(Scope)))).clear
    of_an_owner = await carrel.app.principals.authenticate(key)
    assert await refused(carrel.app.members.change(of_an_owner, viewer.id, role=Role.OWNER)) == "above_your_role"


async def test_nobody_raises_their_own_role(carrel: Stand, tenant: TenantMaker) -> None:
    place = await tenant()
    await a_person(carrel, owner=place.id)
    for role in (Role.ADMIN, Role.EDITOR, Role.VIEWER):
        person = await a_person(carrel, **{role.value: place.id})
        mine = await person.principal(place.id)
        code = await refused(carrel.app.members.change(mine, person.id, role=Role.OWNER))
        assert code == ("above_your_role" if role is Role.ADMIN else "role_lacks_permission")


async def test_a_right_that_was_taken_meanwhile_is_not_used_any_more(carrel: Stand, tenant: TenantMaker) -> None:
    """A principal as it was when the request began, and a row that says otherwise now."""
    place = await tenant()
    first, second = await a_person(carrel, owner=place.id), await a_person(carrel, owner=place.id)
    late = await second.principal(place.id)
    await carrel.app.members.change(await first.principal(place.id), second.id, role=Role.EDITOR)
    assert await refused(carrel.app.members.change(late, second.id, role=Role.OWNER)) == "role_lacks_permission"
    await carrel.app.members.remove(await first.principal(place.id), second.id)
    assert await refused(carrel.app.members.remove(late, first.id)) == "tenant_inactive"


async def test_a_limited_key_and_a_stranger_see_no_members(carrel: Stand, tenant: TenantMaker) -> None:
    place, other = await tenant(), await tenant()
    member, stranger = await a_person(carrel, viewer=place.id), await a_person(carrel, owner=other.id)
    wish = KeyWish("limited", frozenset(Scope), sources=frozenset({(await place.source()).id}))
    limited = await carrel.app.principals.authenticate((await carrel.app.keys.create(place.console, wish)).clear)
    assert await refused(carrel.app.members.listed(limited)) == "limited_key"
    theirs = await stranger.principal(other.id)
    assert await refused(carrel.app.members.get(theirs, member.id)) == "not_found"
    assert await refused(carrel.app.members.change(theirs, member.id, role=Role.OWNER)) == "not_found"
    assert await refused(carrel.app.members.remove(theirs, member.id)) == "not_found"
    assert [one.user for one in (await carrel.app.members.listed(theirs)).items] == [stranger.id]


# The last owner


@pytest.mark.parametrize("deed", STEPPING_DOWN.values(), ids=STEPPING_DOWN)
async def test_the_last_owner_stays(carrel: Stand, tenant: TenantMaker, deed: Deed) -> None:
    place = await tenant()
    last = await a_person(carrel, owner=place.id)
    gone = await a_person(carrel, owner=place.id)
    await carrel.app.members.change(await last.principal(place.id), gone.id, status=MemberStatus.SUSPENDED)
    for who in (await last.principal(place.id), console(place.id)):
        assert await refused(deed(carrel, who, last)) == "last_owner"
    assert await owners(carrel, place) == 1


@pytest.mark.parametrize("crossed", [False, True], ids=["each steps down", "each strikes another"])
async def test_of_many_owners_who_step_down_at_once_one_remains(
    carrel: Stand, tenant: TenantMaker, *, crossed: bool
) -> None:
    place = await tenant()
    people = [await a_person(carrel, owner=place.id) for _ in range(12)]
    principals = [await person.principal(place.id) for person in people]
    targets = [*people[1:], people[0]] if crossed else people
    deeds = list(STEPPING_DOWN.values())
    outcomes = await asyncio.gather(
        *(deeds[n % 3](carrel, who, person) for n, (who, person) in enumerate(zip(principals, targets, strict=True))),
        return_exceptions=True,
    )
    assert await owners(carrel, place) >= 1
    assert all(isinstance(one, (Conflict, Denied, Unauthenticated)) for one in outcomes if isinstance(one, Exception))
    assert crossed or await owners(carrel, place) == 1


# Ownership


async def test_ownership_is_handed_over_by_an_owner_and_nobody_else(carrel: Stand, tenant: TenantMaker) -> None:
    place = await tenant()
    owner, heir = await a_person(carrel, owner=place.id), await a_person(carrel, editor=place.id)
    admin = await (await a_person(carrel, admin=place.id)).principal(place.id)
    assert await refused(carrel.app.members.hand_over(admin, heir.id)) == "role_lacks_permission"
    assert await refused(carrel.app.members.hand_over(await place.principal(), heir.id)) == "person_required"

    mine = await owner.principal(place.id)
    assert (await carrel.app.members.hand_over(mine, heir.id)).role is Role.OWNER
    assert (await carrel.app.members.get(place.console, owner.id)).role is Role.ADMIN
    assert await refused(carrel.app.members.hand_over(mine, heir.id)) == "role_lacks_permission"


async def test_ownership_is_not_handed_to_whom_it_cannot_reach(carrel: Stand, tenant: TenantMaker) -> None:
    place = await tenant()
    owner, idle = await a_person(carrel, owner=place.id), await a_person(carrel, editor=place.id)
    mine = await owner.principal(place.id)
    await carrel.app.members.change(mine, idle.id, status=MemberStatus.SUSPENDED)
    assert await refused(carrel.app.members.hand_over(mine, idle.id)) == "member_suspended"
    assert await refused(carrel.app.members.hand_over(mine, owner.id)) == "already_owner"
    assert await refused(carrel.app.members.hand_over(mine, (await a_person(carrel)).id)) == "not_found"
    assert await owners(carrel, place) == 1


# Leaving


async def chatted(carrel: Stand, who: Principal, message: str) -> None:
    allowed = await carrel.app.asking.allow(who, ChatWish(message))
    assert [event async for event in carrel.app.asking.chat(allowed) if isinstance(event, Done)]


async def put_privately(carrel: Stand, who: Principal, text: str) -> SourceId:
    source = await carrel.app.sources.create(who, NewSource("diary", owner=who.user))
    dock = await carrel.app.uploads.dock(who, source.id)
    delivery = await carrel.app.uploads.deliver(dock, "diary.md", pieces(text.encode()), declared=None)
    assert (await carrel.app.uploads.settled(dock, delivery, seconds=30)).status == "ready"
    return source.id


async def left_behind(carrel: Stand, place: SomeTenant, person: Person) -> dict[str, int]:
    """What the database still holds of a person's own, behind every wall."""
    async with connected(carrel.endpoint.superuser_url) as superuser:
        owned = {
            table: await superuser.fetchval(
                f"select count(*) from {table} where tenant_id = $1 and owner_id = $2", place.id, person.id
            )
            for table in PRIVATE
        }
        owned["sources"] = await superuser.fetchval(
            "select count(*) from sources where tenant_id = $1 and owner_id = $2 and deleted_at is null",
            place.id,
            person.id,
        )
    return {table: count for table, count in owned.items() if count}


async def settled(carrel: Stand, place: SomeTenant) -> None:
    async with connected(carrel.endpoint.superuser_url) as superuser, asyncio.timeout(120):
        while await superuser.fetchval(_JOBS, place.id):  # noqa: ASYNC110 - the database has no event for it
            await asyncio.sleep(0.02)


async def test_who_is_removed_is_out_at_once_and_takes_only_their_own_along(carrel: Stand, tenant: TenantMaker) -> None:
    place, elsewhere = await tenant(), await tenant()
    shared = await place.source("shared")
    await place.put(shared.id, "boats.md", "# Boats\n\nBoats float on water.")
    leaving, staying = await a_person(carrel, editor=place.id), await a_person(carrel, editor=place.id)
    await leaving.joins(elsewhere.id, Role.EDITOR)
    for person in (leaving, staying):
        who = await person.principal(place.id)
        await put_privately(carrel, who, "# Secret\n\nThe treasure lies under the pier.")
        await chatted(carrel, who, "Do boats float?")
    await put_privately(carrel, await leaving.principal(elsewhere.id), "# Elsewhere\n\nNothing of that.")
    key = await a_key_of(carrel, leaving, place)

    await carrel.app.members.remove(place.console, leaving.id)
    for credential in (leaving.token(place.id), key):
        assert await refused(carrel.app.principals.authenticate(credential)) in {"tenant_inactive", "revoked_key"}
    assert (await leaving.principal(elsewhere.id)).role is Role.EDITOR
    await settled(carrel, place)

    assert await left_behind(carrel, place, leaving) == {}
    assert (await left_behind(carrel, elsewhere, leaving)).keys() >= {"chunks", "sources"}
    assert (await left_behind(carrel, place, staying)).keys() == {*PRIVATE, "sources"}
    found = await carrel.app.asking.search(await staying.principal(place.id), SearchWish("Boats float on water"))
    assert any("Boats float" in hit.text for hit in found.hits)


async def a_key_of(carrel: Stand, person: Person, place: SomeTenant) -> str:
    await person_becomes(carrel, person, place, Role.ADMIN)
    return (await carrel.app.keys.create(await person.principal(place.id), KeyWish("mine", frozenset(Scope)))).clear


async def person_becomes(carrel: Stand, person: Person, place: SomeTenant, role: Role) -> None:
    await carrel.app.members.change(place.console, person.id, role=role)


async def test_who_comes_back_finds_neither_old_keys_nor_old_secrets_and_keeps_the_new(
    carrel: Stand, tenant: TenantMaker
) -> None:
    place = await tenant()
    person = await a_person(carrel, editor=place.id)
    key = await a_key_of(carrel, person, place)
    old = await put_privately(carrel, await person.principal(place.id), "# Old\n\nAn old secret.")
    await carrel.app.members.remove(place.console, person.id)
    await person.joins(place.id, Role.EDITOR)
    assert await refused(carrel.app.principals.authenticate(key)) == "revoked_key"
    who = await person.principal(place.id)
    await settled(carrel, place)
    with pytest.raises(NotFound):
        await carrel.app.sources.get(who, old)
    await put_privately(carrel, who, "# New\n\nA new secret.")
    assert await left_behind(carrel, place, person) == {"chunks": 1, "document_versions": 1, "sources": 1}


async def test_what_is_suspended_comes_back_whole(carrel: Stand, tenant: TenantMaker) -> None:
    place = await tenant()
    person = await a_person(carrel, editor=place.id)
    source = await put_privately(carrel, await person.principal(place.id), "# Mine\n\nStill mine.")
    await carrel.app.members.change(place.console, person.id, status=MemberStatus.SUSPENDED)
    assert await refused(carrel.app.principals.authenticate(person.token(place.id))) == "tenant_inactive"
    await carrel.app.members.change(place.console, person.id, status=MemberStatus.ACTIVE)
    assert (await carrel.app.sources.get(await person.principal(place.id), source)).id == source


async def test_the_log_tells_who_changed_whom(carrel: Stand, tenant: TenantMaker) -> None:
    place = await tenant()
    owner, other = await a_person(carrel, owner=place.id), await a_person(carrel, viewer=place.id)
    mine = await owner.principal(place.id)
    await carrel.app.members.change(mine, other.id, role=Role.EDITOR)
    await carrel.app.members.hand_over(mine, other.id)
    await carrel.app.members.remove(await other.principal(place.id), owner.id)
    async with carrel.database.transaction(enter(place.console, Permission.AUDIT)) as tx:
        rows = await tx.rows(_EVENTS)
    assert [(row["action"], row["actor_id"], row["object_id"]) for row in rows] == [
        ("member.changed", owner.id, other.id),
        ("ownership.given", owner.id, other.id),
        ("member.removed", other.id, owner.id),
    ]
