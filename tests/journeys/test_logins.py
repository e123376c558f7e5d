"""People who come with a token of another issuer: provisioned, placed by their groups, and gone with them."""

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from carrel.domain.access import Principal, PrincipalKind, can, console, enter, for_accounts
from carrel.domain.errors import Conflict, Denied, Invalid, NotFound, Refusal, Unauthenticated
from carrel.domain.ids import TenantId
from carrel.domain.rights import Permission, Role, Scope
from carrel.store import members
from carrel.store.groups import GroupGrant
from carrel.store.members import MemberStatus
from carrel.store.transaction import Statement
from carrel.tenancy.invitations import InvitationWish
from carrel.tenancy.keys import KeyWish
from carrel.wiring import Application, assemble
from conftest import TenantMaker
from support.issuer import LoopbackIssuer, an_issuer, trusting
from support.people import a_person
from support.raw import connected
from support.stand import Stand

_SUSPEND_USER = Statement("update users set status = 'suspended' where id = :user")
_HOLD_MEMBERS = "select pg_advisory_xact_lock(hashtextextended('members ' || $1::text, 0))"
_WAITING = """
    select 1 from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock' and query like '%''members ''%'
"""
_EVENTS = "select facts from audit_events where tenant_id = $1 and action = $2 order by created_at"


@dataclass(frozen=True)
class Desk:
    """An application that trusts an issuer, and a tenant in it."""

    app: Application
    carrel: Stand
    issuer: LoopbackIssuer
    tenant: TenantId

    async def grant(self, group: str, role: Role, tenant: TenantId | None = None) -> GroupGrant:
        return await self.app.groups.create(console(None), tenant or self.tenant, group=group, role=role)

    async def comes(self, subject: str, *groups: str, **claims: Any) -> Principal:
        return await self.app.principals.authenticate(self.issuer.person(subject, *groups, **claims))

    async def refused(self, subject: str, *groups: str, **claims: Any) -> str:
        with pytest.raises(Refusal) as refusal:
            await self.comes(subject, *groups, **claims)
        return refusal.value.code

    async def change(self, principal: Principal, **how: Any) -> None:
        """What an admin of the tenant does to a member."""
        assert principal.user is not None
        async with self.carrel.database.transaction(for_accounts(tenant=self.tenant)) as tx:
            member = await members.get(tx, principal.user)
            wanted = {"role": member.role, "status": member.status, **how}
            await members.change(tx, member, role=wanted["role"], status=wanted["status"])

    async def somebody_waits(self) -> None:
        """For the members of the tenant."""
        async with asyncio.timeout(60):
            while not await self.rows(_WAITING):  # noqa: ASYNC110 - it waits in the database
                await asyncio.sleep(0.01)

    async def rows(self, query: str, *values: object) -> list[Any]:
        async with connected(self.carrel.endpoint.superuser_url) as superuser:
            return list(await superuser.fetch(query, *values))


@pytest.fixture
def issuer() -> Iterator[LoopbackIssuer]:
    with an_issuer() as standing:
        yield standing


@pytest.fixture
async def desk(carrel: Stand, tenant: TenantMaker, issuer: LoopbackIssuer) -> Desk:
    base = replace(carrel.parts.base, issuer=trusting(issuer))
    return Desk(assemble(replace(carrel.parts, base=base)), carrel, issuer, (await tenant()).id)


def at(minutes: int) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=minutes)


# First sight


async def test_a_group_makes_a_member_at_first_sight(desk: Desk) -> None:
    await desk.grant("editors", Role.EDITOR)
    principal = await desk.comes("ada", "editors", "others")
    assert principal.kind is PrincipalKind.LOGIN
    assert (principal.tenant, principal.role) == (desk.tenant, Role.EDITOR)
    assert principal.user == principal.person != None  # noqa: E711 - one comparison says both
    assert can(principal, Permission.INGEST)
    assert not can(principal, Permission.MANAGE)
    assert (await desk.comes("ada", "editors")).user == principal.user
    assert (await desk.comes("bob", "editors")).user != principal.user
    (event, _) = await desk.rows(_EVENTS, desk.tenant, "member.by_groups")
    assert event["facts"] is not None


async def test_a_stranger_to_whom_groups_give_nothing_leaves_no_row(desk: Desk) -> None:
    assert await desk.refused("eve", "unknown") == "no_membership"
    assert await desk.refused("eve") == "no_membership"
    assert await desk.rows("select from identities where issuer = $1", desk.issuer.url) == []


async def test_twenty_first_sights_at_once_make_one_person(desk: Desk) -> None:
    await desk.grant("staff", Role.VIEWER)
    came = await asyncio.gather(*(desk.comes("ada", "staff") for _ in range(20)))
    assert len({principal.user for principal in came}) == 1
    assert len(await desk.rows("select from identities where issuer = $1", desk.issuer.url)) == 1
    assert len(await desk.rows(_EVENTS, desk.tenant, "member.by_groups")) == 1


async def test_a_local_account_with_the_same_address_is_not_linked(desk: Desk) -> None:
    local = await a_person(desk.carrel, owner=desk.tenant)
    await desk.grant("staff", Role.VIEWER)
    principal = await desk.comes("ada", "staff", email=local.email, email_verified=True)
    assert principal.user != local.id
    (row,) = await desk.rows(
        "select u.email, u.name, i.email as said from users u join identities i on i.user_id = u.id where u.id = $1",
        principal.user,
    )
    assert row["email"] == f"{principal.user}@login.invalid"
    assert (row["name"], row["said"]) == (local.email, local.email)


async def test_the_mightiest_role_that_the_groups_give_counts(desk: Desk) -> None:
    for group, role in (("a", Role.VIEWER), ("b", Role.ADMIN), ("c", Role.EDITOR)):
        await desk.grant(group, role)
    assert (await desk.comes("ada", "a", "c")).role is Role.EDITOR
    assert (await desk.comes("ada", "a", "b", "c")).role is Role.ADMIN
    assert (await desk.comes("ada", "a")).role is Role.VIEWER


async def test_the_same_subject_at_another_issuer_is_another_person(desk: Desk) -> None:
    await desk.grant("staff", Role.VIEWER)
    first = await desk.comes("ada", "staff")
    with an_issuer() as other:
        base = replace(desk.carrel.parts.base, issuer=trusting(other))
        elsewhere = replace(desk, app=assemble(replace(desk.carrel.parts, base=base)), issuer=other)
        assert await elsewhere.refused("ada", "staff") == "no_membership"
        await elsewhere.grant("staff", Role.VIEWER)
        assert (await elsewhere.comes("ada", "staff")).user != first.user
        with pytest.raises(Unauthenticated):
            await desk.app.principals.authenticate(other.person("ada", "staff"))


async def test_without_a_trusted_issuer_no_such_token_counts(desk: Desk) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        await desk.carrel.app.principals.authenticate(desk.issuer.person("ada", "staff"))
    assert refusal.value.code == "invalid_token"


# What the claim no longer says


async def test_members_lose_what_the_claim_no_longer_says(desk: Desk) -> None:
    await desk.grant("editors", Role.EDITOR)
    await desk.grant("staff", Role.VIEWER)
    principal = await desk.comes("ada", "editors", "staff")
    assert (await desk.comes("ada", "staff")).role is Role.VIEWER
    lost = await desk.comes("ada")
    assert (lost.user, dict(lost.roles), lost.tenant) == (principal.user, {}, None)
    with pytest.raises(Denied) as refusal:
        enter(lost, Permission.SEARCH)
    assert refusal.value.code == "no_membership"
    assert (await desk.comes("ada", "staff")).role is Role.VIEWER


async def test_an_older_token_gives_nothing_back(desk: Desk) -> None:
    await desk.grant("staff", Role.EDITOR)
    old = desk.issuer.person("ada", "staff", iat=at(4))
    assert (await desk.app.principals.authenticate(old)).role is Role.EDITOR
    assert (await desk.comes("ada", iat=at(2))).roles == {}
    assert (await desk.app.principals.authenticate(old)).roles == {}
    assert (await desk.comes("ada", "staff")).role is Role.EDITOR


async def test_a_key_rests_with_the_place_of_whoever_made_it(desk: Desk) -> None:
    await desk.grant("admins", Role.ADMIN)
    principal = await desk.comes("ada", "admins")
    key = (await desk.app.keys.create(principal, KeyWish("hers", frozenset({Scope.SEARCH})))).clear
    assert (await desk.app.principals.authenticate(key)).person == principal.user
    await desk.comes("ada")
    with pytest.raises(Unauthenticated):
        await desk.app.principals.authenticate(key)


async def test_a_revoked_grant_takes_the_places_that_came_by_it(desk: Desk) -> None:
    grant = await desk.grant("staff", Role.VIEWER)
    await desk.grant("editors", Role.EDITOR)
    viewer, editor = await desk.comes("ada", "staff"), await desk.comes("bob", "editors", "staff")
    await desk.app.groups.revoke(console(None), grant.id)
    left = await desk.rows("select user_id from memberships where tenant_id = $1", desk.tenant)
    assert [row["user_id"] for row in left] == [editor.user]
    assert (await desk.comes("ada", "staff")).roles == {}
    assert viewer.roles != {}
    (event,) = await desk.rows(_EVENTS, desk.tenant, "group.revoked")
    assert '"members": 1' in event["facts"]
    with pytest.raises(NotFound):
        await desk.app.groups.revoke(console(None), grant.id)


async def test_a_place_is_given_by_grants_as_they_are_at_its_commit(desk: Desk) -> None:
    """Whoever revokes one meanwhile sees no place yet that could be taken away, and a session could keep it."""
    await desk.grant("staff", Role.ADMIN)
    token = desk.issuer.person("ada", "staff")
    async with connected(desk.carrel.endpoint.superuser_url) as holding, holding.transaction():
        await holding.execute(_HOLD_MEMBERS, str(desk.tenant))
        coming = asyncio.create_task(desk.app.principals.authenticate(token))
        await desk.somebody_waits()
        await desk.rows("delete from group_grants where for_tenant = $1", desk.tenant)
    assert (await coming).roles == {}
    assert await desk.rows("select 1 from memberships where tenant_id = $1", desk.tenant) == []


async def test_what_somebody_without_the_place_has_sent_opens_nothing(desk: Desk) -> None:
    grant = await desk.grant("admins", Role.ADMIN)
    ada, bob = await desk.comes("ada", "admins"), await desk.comes("bob", "admins")
    for who in (ada, bob):
        await desk.app.invitations.create(who, InvitationWish(f"{uuid.uuid4().hex}@invited.example", Role.ADMIN))
    opened = "select count(*) from invitations where tenant_id = $1 and revoked_at is null"
    await desk.comes("ada")
    assert await desk.rows(opened, desk.tenant) == [(1,)]
    await desk.app.groups.revoke(console(None), grant.id)
    assert await desk.rows(opened, desk.tenant) == [(0,)]


# What groups do not touch


async def test_a_direct_membership_is_kept_and_not_changed(desk: Desk) -> None:
    await desk.grant("admins", Role.ADMIN)
    place, other = desk.tenant, await desk.carrel.app.tenants.create(console(None), "other", slug=uuid.uuid4().hex)
    await desk.grant("everywhere", Role.VIEWER, other.id)
    user = (await desk.comes("ada", "everywhere")).user
    assert user is not None
    async with desk.carrel.database.transaction(for_accounts(tenant=place)) as tx:
        await members.add(tx, user, Role.VIEWER)
    principal = await desk.comes("ada", "admins", "everywhere")
    assert principal.roles == {place: Role.VIEWER, other.id: Role.VIEWER}
    assert (await desk.comes("ada")).roles == {place: Role.VIEWER}


async def test_who_is_suspended_stays_so_whatever_the_groups_say(desk: Desk) -> None:
    await desk.grant("staff", Role.EDITOR)
    await desk.grant("admins", Role.ADMIN)
    principal = await desk.comes("ada", "staff")
    await desk.change(principal, status=MemberStatus.SUSPENDED)
    for groups in (("staff",), ("admins",), (), ("staff",)):
        assert (await desk.comes("ada", *groups)).roles == {}
    await desk.change(principal, status=MemberStatus.ACTIVE)
    assert (await desk.comes("ada", "staff")).role is Role.EDITOR


async def test_a_suspended_account_comes_in_nowhere(desk: Desk) -> None:
    await desk.grant("staff", Role.EDITOR)
    principal = await desk.comes("ada", "staff")
    async with desk.carrel.database.transaction(for_accounts()) as tx:
        await tx.run(_SUSPEND_USER, user=principal.user)
    assert await desk.refused("ada", "staff") == "account_suspended"
    assert await desk.refused("ada") == "account_suspended"


async def test_an_owner_is_not_what_groups_say(desk: Desk) -> None:
    await desk.grant("staff", Role.VIEWER)
    principal = await desk.comes("ada", "staff")
    await desk.change(principal, role=Role.OWNER)
    assert (await desk.comes("ada", "staff")).role is Role.OWNER
    assert (await desk.comes("ada")).role is Role.OWNER


async def test_a_tenant_that_is_not_active_takes_nobody_in(desk: Desk) -> None:
    await desk.grant("staff", Role.VIEWER)
    await desk.rows("update tenants set status = 'suspended' where id = $1", desk.tenant)
    assert await desk.refused("ada", "staff") == "no_membership"


# Group grants


async def test_no_group_makes_an_owner_and_no_grant_is_made_twice(desk: Desk) -> None:
    with pytest.raises(Invalid):
        await desk.grant("owners", Role.OWNER)
    with pytest.raises(NotFound):
        await desk.grant("staff", Role.VIEWER, TenantId(uuid.uuid4()))
    await desk.grant("staff", Role.VIEWER)
    with pytest.raises(Conflict) as refusal:
        await desk.grant("staff", Role.ADMIN)
    assert refusal.value.code == "group_grant_exists"


async def test_only_operators_grant(desk: Desk) -> None:
    await desk.grant("admins", Role.ADMIN)
    admin = await desk.comes("ada", "admins")
    for who in (admin, replace(admin, roles={desk.tenant: Role.OWNER}), console(desk.tenant)):
        if who.is_operator:
            continue
        with pytest.raises(Denied):
            await desk.app.groups.create(who, desk.tenant, group="x", role=Role.VIEWER)
        with pytest.raises(Denied):
            await desk.app.groups.listed(who)


async def test_what_groups_give_goes_with_a_tenant_that_is_destroyed(desk: Desk) -> None:
    grant = await desk.grant("staff", Role.VIEWER)
    await desk.app.life.delete(console(None), desk.tenant)
    assert await desk.refused("ada", "staff") == "no_membership"
    async with asyncio.timeout(120):
        while (await desk.app.life.receipt(console(None), desk.tenant)).completed_at is None:  # noqa: ASYNC110 - a worker's row
            await asyncio.sleep(0.05)
    assert await desk.rows("select from group_grants where id = $1", grant.id) == []


# Several tenants


async def test_a_person_of_several_tenants_exchanges_the_login_for_one(desk: Desk) -> None:
    other = await desk.carrel.app.tenants.create(console(None), "other", slug=uuid.uuid4().hex)
    await desk.grant("staff", Role.VIEWER)
    await desk.grant("staff", Role.EDITOR, other.id)
    person = await desk.comes("ada", "staff")
    assert (person.tenant, person.roles) == (None, {desk.tenant: Role.VIEWER, other.id: Role.EDITOR})
    with pytest.raises(Conflict):
        enter(person, Permission.SEARCH)

    for name in (other.slug, str(other.id), str(other.id).upper(), other.slug):
        token, _ = await desk.app.exchange.exchange(person, name)
        chosen = await desk.app.principals.authenticate(token)
        assert (chosen.kind, chosen.tenant, chosen.role) == (PrincipalKind.SESSION, other.id, Role.EDITOR)
        assert chosen.user == person.user


async def test_a_session_goes_on_in_another_tenant_and_ends_with_the_place(desk: Desk) -> None:
    other = await desk.carrel.app.tenants.create(console(None), "other", slug=uuid.uuid4().hex)
    for tenant in (desk.tenant, other.id):
        await desk.grant("staff", Role.VIEWER, tenant)
    token, _ = await desk.app.exchange.exchange(await desk.comes("ada", "staff"), other.slug)
    chosen = await desk.app.principals.authenticate(token)
    again, _ = await desk.app.exchange.exchange(chosen, str(desk.tenant))
    assert (await desk.app.principals.authenticate(again)).credential == chosen.credential

    await desk.comes("ada")
    for ended in (token, again):
        with pytest.raises(Unauthenticated):
            await desk.app.principals.authenticate(ended)


async def test_a_session_from_a_login_ends_with_the_logins_token(desk: Desk) -> None:
    await desk.grant("staff", Role.VIEWER)
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=2)
    person = await desk.comes("ada", "staff", exp=ends)
    await desk.app.exchange.exchange(person, str(desk.tenant))
    (row,) = await desk.rows("select expires_at from sessions where user_id = $1", person.user)
    assert row["expires_at"] == ends


async def test_nobody_exchanges_for_a_tenant_without_a_role(desk: Desk, tenant: TenantMaker) -> None:
    await desk.grant("staff", Role.VIEWER)
    person, foreign = await desk.comes("ada", "staff"), await tenant()
    for name in (foreign.slug, str(foreign.id), str(uuid.uuid4()), "nothing", "' or 1=1 --"):
        with pytest.raises(NotFound):
            await desk.app.exchange.exchange(person, name)
    with pytest.raises(Denied):
        await desk.app.exchange.exchange(await foreign.principal(), foreign.slug)
