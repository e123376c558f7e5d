"""People and their rights, as every request finds them: in live rows."""

from dataclasses import replace

import pytest

from carrel.domain.access import can, enter, for_accounts
from carrel.domain.errors import Conflict, Denied, Unauthenticated
from carrel.domain.rights import Permission, Role, Scope
from carrel.store.transaction import Statement
from carrel.tenancy.keys import KeyWish
from conftest import TenantMaker
from support.people import a_person
from support.stand import Stand

_DOWNGRADE = Statement("update memberships set role = :role where tenant_id = :tenant and user_id = :user")
_SUSPEND = Statement("update memberships set status = 'suspended' where tenant_id = :tenant and user_id = :user")


async def test_a_person_is_what_the_membership_says(carrel: Stand, tenant: TenantMaker) -> None:
    one, other = await tenant(), await tenant()
    person = await a_person(carrel, editor=one.id, viewer=other.id)
    assert can(await person.principal(one.id), Permission.INGEST)
    assert not can(await person.principal(other.id), Permission.INGEST)
    with pytest.raises(Denied) as refusal:
        enter(await person.principal(other.id), Permission.INGEST)
    assert refusal.value.code == "role_lacks_permission"


async def test_a_person_of_several_tenants_chooses_one(carrel: Stand, tenant: TenantMaker) -> None:
    person = await a_person(carrel, editor=(await tenant()).id, viewer=(await tenant()).id)
    with pytest.raises(Conflict) as refusal:
        enter(await person.principal(), Permission.SEARCH)
    assert refusal.value.code == "tenant_ambiguous"


async def test_a_token_of_a_strange_tenant_is_none(carrel: Stand, tenant: TenantMaker) -> None:
    person, strange = await a_person(carrel, owner=(await tenant()).id), await tenant()
    with pytest.raises(Unauthenticated):
        await person.principal(strange.id)


async def test_a_key_does_no_more_than_its_maker_and_ends_with_the_maker(carrel: Stand, tenant: TenantMaker) -> None:
    place = await tenant()
    person = await a_person(carrel, admin=place.id)
    wish = KeyWish("of a person", frozenset(Scope))
    key = (await carrel.app.keys.create(await person.principal(place.id), wish)).clear
    principal = await carrel.app.principals.authenticate(key)
    assert (principal.user, principal.scopes) == (person.id, frozenset(Scope))

    async with carrel.database.transaction(for_accounts(tenant=place.id)) as tx:
        await tx.run(_DOWNGRADE, user=person.id, role=Role.VIEWER)
    assert (await carrel.app.principals.authenticate(key)).scopes == {Scope.SEARCH, Scope.ASK}

    async with carrel.database.transaction(for_accounts(tenant=place.id)) as tx:
        await tx.run(_SUSPEND, user=person.id)
    for credential in (key, person.token(place.id)):
        with pytest.raises(Unauthenticated) as refusal:
            await carrel.app.principals.authenticate(credential)
        assert refusal.value.code == "tenant_inactive"


@pytest.mark.parametrize(
    "change",
    [
        "update sessions set ended_at = now() where id = :session",
        "update sessions set expires_at = now() where id = :session",
        "update users set epoch = epoch + 1 where id = :user",
        "update users set status = 'suspended' where id = :user",
    ],
)
async def test_a_session_ends_with_itself_and_with_its_person(carrel: Stand, tenant: TenantMaker, change: str) -> None:
    place = await tenant()
    person = await a_person(carrel, owner=place.id)
    assert (await person.principal(place.id)).user == person.id
    async with carrel.database.transaction(for_accounts()) as tx:
        await tx.run(Statement(change), session=person.session, user=person.id)
    with pytest.raises(Unauthenticated) as refusal:
        await person.principal(place.id)
    assert refusal.value.code == "session_ended"


async def test_a_token_names_a_session_of_its_own_person(carrel: Stand, tenant: TenantMaker) -> None:
    place = await tenant()
    person, other = await a_person(carrel, owner=place.id), await a_person(carrel, owner=place.id)
    with pytest.raises(Unauthenticated):
        await replace(person, session=other.session).principal(place.id)


async def test_a_member_sees_the_names_of_fellows_and_of_nobody_else(carrel: Stand, tenant: TenantMaker) -> None:
    one, other = await tenant(), await tenant()
    fellow, stranger = await a_person(carrel, viewer=one.id), await a_person(carrel, viewer=other.id)
    grant = enter(await fellow.principal(one.id), Permission.METADATA)
    async with carrel.database.transaction(grant) as tx:
        seen = {row["id"] for row in await tx.rows(Statement("select id from users"))}
        assert await tx.rows(Statement("select user_id from passwords")) == []
        assert await tx.rows(Statement("select id from sessions")) == []
    assert fellow.id in seen
    assert stranger.id not in seen
