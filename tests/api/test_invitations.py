"""Invitations over HTTP: a letter, a token in it, and who may join by it."""

import asyncio
import re
import uuid
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from api.callers import Caller, CallerMaker
from carrel.domain.access import for_accounts
from carrel.domain.ids import InvitationId
from carrel.domain.rights import Role
from carrel.store import accounts
from carrel.tenancy.invitations import token_of
from carrel.tenancy.mailroom import Mailroom
from carrel.wiring.mail import writers
from support.people import a_person
from support.post import Mailbox
from support.raw import connected
from support.stand import SECRETS, Stand
from support.tenants import SomeTenant

PASSWORD = "a long enough word"


@dataclass
class Post:
    carrel: Stand
    mailbox: Mailbox

    async def letters(self, address: str) -> list[str]:
        """Everything that was sent to an address, oldest first."""
        await Mailroom(self.carrel.database, self.mailbox, writers(self.carrel.parts.base)).work()
        return [letter.text for letter in self.mailbox.letters if letter.to == address]

    async def token(self, address: str) -> str:
        found = re.search(r"ci_\w+", (await self.letters(address))[-1])
        assert found
        return found[0]


@pytest.fixture
def post(carrel: Stand) -> Post:
    return Post(carrel, Mailbox())


@pytest.fixture
def address() -> str:
    return f"{uuid.uuid4().hex[:16]}@invited.example"


@pytest.fixture
def place(owner: Caller) -> SomeTenant:
    assert owner.tenant
    return owner.tenant


async def invited(caller: Caller, address: str, role: str = "editor", **more: Any) -> httpx2.Response:
    return await caller("POST", "/v1/invitations", json={"email": address, "role": role}, **more)


async def accepts(caller: Caller, token: str, **body: Any) -> httpx2.Response:
    return await caller("POST", "/v1/invitations/accept", json={"token": token, **body})


def code_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def roles(caller: Caller) -> dict[str, str]:
    answer = await caller("GET", "/v1/members")
    return {one["email"]: one["role"] for one in answer.json()["items"]}


async def signed_in(client: httpx2.AsyncClient, address: str) -> httpx2.Response:
    form = {"grant_type": "password", "username": address, "password": PASSWORD}
    return await client.post("/v1/auth/token", data=form)


# Joining


async def test_a_newcomer_joins_by_the_letter_and_signs_in_at_once(
    owner: Caller, nobody: Caller, post: Post, address: str
) -> None:
    made = await invited(owner, f"  {address.upper()} ")
    assert (made.status_code, made.json()["email"], made.json()["status"]) == (201, address, "open")
    (letter,) = await post.letters(address)
    assert "as editor" in letter

    joined = await accepts(nobody, await post.token(address), name="Grace", password=PASSWORD)
    assert joined.status_code == 200, joined.text
    assert joined.json()["role"] == "editor"
    assert (await roles(owner))[address] == "editor"
    tokens = await signed_in(owner.client, address)
    assert tokens.json()["tenant_id"] == joined.json()["tenant_id"]
    seen = await owner("GET", f"/v1/invitations/{made.json()['id']}")
    assert seen.json()["status"] == "accepted"


@pytest.mark.parametrize("way", ["by the password", "by the session"])
async def test_who_has_an_account_joins_with_it(
    carrel: Stand, owner: Caller, nobody: Caller, *, post: Post, way: str
) -> None:
    person = await a_person(carrel)
    async with carrel.database.transaction(for_accounts()) as tx:
        await accounts.set_password(tx, person.id, await carrel.parts.base.passwords.hash(PASSWORD))
    await invited(owner, person.email, "admin")
    token = await post.token(person.email)
    assert code_of(await accepts(nobody, token)) == (401, "sign_in_required")
    guess = await accepts(nobody, token, name="Mallory", password="another long word")
    assert code_of(guess) == (401, "invalid_credentials")
    if way == "by the password":
        joined = await accepts(nobody, token, password=PASSWORD)
    else:
        joined = await accepts(Caller(owner.client, person.token()), token)
    assert (joined.status_code, joined.json()["user_id"], joined.json()["role"]) == (200, str(person.id), "admin")
    assert (await roles(owner))[person.email] == "admin"


async def test_a_session_or_key_of_another_does_not_join(
    carrel: Stand, owner: Caller, post: Post, address: str
) -> None:
    await invited(owner, address)
    token = await post.token(address)
    another = await a_person(carrel)
    assert code_of(await accepts(Caller(owner.client, another.token()), token)) == (403, "invitation_of_another")
    assert code_of(await accepts(owner, token)) == (403, "person_required")
    assert code_of(await accepts(Caller(owner.client, "ck_nonsense"), token)) == (401, "malformed_key")
    assert address not in await roles(owner)


async def test_who_is_suspended_on_the_platform_does_not_join(
    carrel: Stand, owner: Caller, nobody: Caller, post: Post
) -> None:
    person = await a_person(carrel)
    await invited(owner, person.email)
    token = await post.token(person.email)
    async with carrel.database.transaction(for_accounts()) as tx:
        await accounts.set_password(tx, person.id, await carrel.parts.base.passwords.hash(PASSWORD))
        await accounts.set_status(tx, person.id, "suspended")
    assert code_of(await accepts(nobody, token, password=PASSWORD)) == (401, "invalid_credentials")
    assert code_of(await accepts(Caller(owner.client, person.token()), token)) == (401, "session_ended")


async def test_a_newcomer_needs_a_name_and_a_good_password(
    owner: Caller, nobody: Caller, post: Post, address: str
) -> None:
    await invited(owner, address)
    token = await post.token(address)
    for body, field in (
        ({}, "name"),
        ({"name": "Grace"}, "password"),
        ({"name": "G", "password": "short"}, "password"),
    ):
        answer = await accepts(nobody, token, **body)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert address not in await roles(owner)
    assert (await accepts(nobody, token, name="Grace", password=PASSWORD)).status_code == 200


async def test_what_stands_in_the_body_decides_neither_role_nor_tenant_nor_address(
    owner: Caller, nobody: Caller, post: Post, address: str
) -> None:
    await invited(owner, address, "viewer")
    token = await post.token(address)
    for name, value in {
        "role": "owner",
        "email": "a@b.example",
        "tenant_id": str(uuid.uuid4()),
        "user_id": "x",
    }.items():
        answer = await accepts(nobody, token, name="Grace", password=PASSWORD, **{name: value})
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "unknown_field")


# Once, the newest, in time


async def dead(nobody: Caller, token: str) -> bool:
    answer = await accepts(nobody, token, name="Grace", password=PASSWORD)
    assert code_of(answer) == (422, "invalid_invitation"), answer.text
    return True


async def test_an_invitation_is_used_once_also_by_ten_at_once(
    owner: Caller, nobody: Caller, post: Post, address: str
) -> None:
    await invited(owner, address)
    token = await post.token(address)
    answers = await asyncio.gather(*(accepts(nobody, token, name="Grace", password=PASSWORD) for _ in range(9)))
    assert [answer.status_code for answer in answers].count(200) == 1
    assert list((await roles(owner)).values()).count("editor") == 1


async def test_only_the_newest_counts_and_its_role(owner: Caller, nobody: Caller, post: Post, address: str) -> None:
    await invited(owner, address, "admin")
    first = await post.token(address)
    await invited(owner, address, "viewer")
    second = await post.token(address)
    assert first != second
    assert await dead(nobody, first)
    assert (await accepts(nobody, second, name="Grace", password=PASSWORD)).json()["role"] == "viewer"


async def test_of_many_invitations_at_once_one_is_open(owner: Caller, address: str) -> None:
    answers = await asyncio.gather(*(invited(owner, address) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    listed = (await owner("GET", "/v1/invitations")).json()["items"]
    assert [one["status"] for one in listed if one["email"] == address].count("open") == 1


async def test_what_is_over_revoked_or_suspended_opens_nothing(
    carrel: Stand, owner: Caller, nobody: Caller, *, post: Post, place: SomeTenant, address: str
) -> None:
    made = (await invited(owner, address)).json()
    token = await post.token(address)
    async with connected(carrel.endpoint.superuser_url) as superuser:
        for sql in (
            "update tenants set status = 'suspended' where id = $1",
            "update tenants set status = 'active' where id = $1",
        ):
            await superuser.execute(sql, place.id)
            if "suspended" in sql:
                assert await dead(nobody, token)
        await superuser.execute("update invitations set expires_at = now() where tenant_id = $1", place.id)
        assert await dead(nobody, token)
        assert (await owner("GET", f"/v1/invitations/{made['id']}")).json()["status"] == "expired"
        assert (await owner("DELETE", f"/v1/invitations/{made['id']}")).status_code == 404
        await superuser.execute(
            "update invitations set expires_at = now() + interval '7 days' where tenant_id = $1", place.id
        )
    assert (await owner("DELETE", f"/v1/invitations/{made['id']}")).status_code == 204
    assert await dead(nobody, token)
    assert not await post.letters("nobody")


@pytest.mark.parametrize("forge", ["other", "flipped", "", "ci_", "ck_00", "long"])
async def test_a_token_that_was_not_sent_opens_nothing(
    owner: Caller, nobody: Caller, *, post: Post, address: str, forge: str
) -> None:
    made = (await invited(owner, address)).json()
    token = await post.token(address)
    forged = {
        "other": token_of(b"another pepper of thirty-two bytes", InvitationId(uuid.UUID(made["id"]))),
        "flipped": token[:-1] + ("0" if token[-1] != "0" else "1"),
        "long": token + "0",
    }.get(forge, forge)
    assert await dead(nobody, forged)
    assert token_of(SECRETS.pepper, InvitationId(uuid.UUID(made["id"]))) == token


async def test_a_letter_that_is_not_wanted_any_more_is_not_sent(owner: Caller, post: Post, address: str) -> None:
    made = (await invited(owner, address)).json()
    await owner("DELETE", f"/v1/invitations/{made['id']}")
    assert await post.letters(address) == []


async def test_guessing_is_stopped(nobody: Caller, owner: Caller, post: Post, address: str) -> None:
    """Ten tries at one token from one network, whatever was wrong with them."""
    await invited(owner, address)
    token = await post.token(address)
    answers = [(await accepts(nobody, token, name="G", password="short")).status_code for _ in range(12)]
    assert answers == [422] * 10 + [429] * 2


# Who may invite


async def test_nobody_invites_above_their_own_role(
    carrel: Stand, owner: Caller, place: SomeTenant, address: str
) -> None:
    admin = await a_person(carrel, admin=place.id)
    boss = await a_person(carrel, owner=place.id)
    by_admin, by_owner = (Caller(owner.client, one.token(place.id)) for one in (admin, boss))
    for caller in (by_admin, owner):
        assert code_of(await invited(caller, address, "owner")) == (403, "above_your_role")
        assert (await invited(caller, address, "admin")).status_code == 201
    made = await invited(by_owner, address, "owner")
    assert made.status_code == 201
    assert code_of(await by_admin("DELETE", f"/v1/invitations/{made.json()['id']}")) == (403, "above_your_role")


async def test_a_member_is_not_invited_again(carrel: Stand, owner: Caller, place: SomeTenant) -> None:
    member = await a_person(carrel, viewer=place.id)
    assert code_of(await invited(owner, member.email)) == (409, "already_member")


async def test_who_became_a_member_meanwhile_stays_what_they_are(
    carrel: Stand, owner: Caller, place: SomeTenant, post: Post
) -> None:
    person = await a_person(carrel)
    await invited(owner, person.email, "admin")
    token = await post.token(person.email)
    await person.joins(place.id, Role.VIEWER)
    assert (await accepts(Caller(owner.client, person.token()), token)).json()["role"] == "viewer"


@pytest.mark.parametrize("way", ["removed", "suspended"])
async def test_what_a_member_who_is_out_has_sent_opens_nothing(
    carrel: Stand, owner: Caller, nobody: Caller, place: SomeTenant, *, post: Post, address: str, way: str
) -> None:
    admin = await a_person(carrel, admin=place.id)
    await invited(Caller(owner.client, admin.token(place.id)), address, "admin")
    token = await post.token(address)
    if way == "removed":
        await owner("DELETE", f"/v1/members/{admin.id}")
    else:
        await owner("PATCH", f"/v1/members/{admin.id}", json={"status": "suspended"})
    assert await dead(nobody, token)


@pytest.mark.parametrize("way", ["handed over", "demoted", "by groups", "suspended on the platform"])
async def test_nobody_gives_by_an_old_letter_what_they_could_give_no_more(
    carrel: Stand, owner: Caller, nobody: Caller, place: SomeTenant, *, post: Post, address: str, way: str
) -> None:
    """Else an owner who leaves keeps a way back in."""
    former, heir = await a_person(carrel, owner=place.id), await a_person(carrel, owner=place.id)
    role = "owner" if way == "handed over" else "admin"
    await invited(Caller(owner.client, former.token(place.id)), address, role)
    token = await post.token(address)
    if way == "handed over":
        third = await a_person(carrel, editor=place.id)
        await carrel.app.members.hand_over(await former.principal(place.id), third.id)
    elif way == "demoted":
        await carrel.app.members.change(await heir.principal(place.id), former.id, role=Role.EDITOR)
    else:
        statement = {
            "by groups": "delete from memberships where user_id = $1",
            "suspended on the platform": "update users set status = 'suspended' where id = $1",
        }[way]
        async with connected(carrel.endpoint.superuser_url) as superuser:
            await superuser.execute(statement, former.id)
    assert await dead(nobody, token)


async def test_a_letter_of_whoever_may_still_send_it_opens(
    carrel: Stand, owner: Caller, nobody: Caller, place: SomeTenant, *, post: Post, address: str
) -> None:
    former, heir = await a_person(carrel, owner=place.id), await a_person(carrel, owner=place.id)
    await invited(Caller(owner.client, former.token(place.id)), address, "admin")
    await carrel.app.members.change(await heir.principal(place.id), former.id, role=Role.ADMIN)
    joined = await accepts(nobody, await post.token(address), name="Grace", password=PASSWORD)
    assert joined.json()["role"] == "admin"


async def test_the_token_is_in_the_letter_and_nowhere_else(
    carrel: Stand, owner: Caller, *, post: Post, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever invites could otherwise accept in another's name."""
    headers = {"Idempotency-Key": f"i-{uuid.uuid4()}"}
    made = await invited(owner, address, headers=headers)
    again = await invited(owner, address, headers=headers)
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (made.json(), "true")
    token = await post.token(address)
    assert len(await post.letters(address)) == 1
    secret = token.rpartition("_")[2]
    listed = await owner("GET", "/v1/invitations")
    async with connected(carrel.endpoint.superuser_url) as superuser:
        for table in ("invitations", "mails", "audit_events", "idempotency_keys"):
            assert secret not in str([dict(row) for row in await superuser.fetch(f"select * from {table}")])
    assert secret not in made.text + listed.text + caplog.text


NO_ADDRESSES: list[Any] = [
    "nobody", "@", "a@b", "a b@c.example", "a@b..example", ".a@b.example", "ä@b.example", "", "x" * 250 + "@b.example",
    "a@b.example,c@d.example", "a@b.example\nBcc: c@d.example", "<a@b.example>", ["a@b.example"], 5, None,
]  # fmt: skip


@pytest.mark.parametrize("bad", NO_ADDRESSES, ids=repr)
async def test_an_address_that_is_none_is_refused(owner: Caller, bad: Any) -> None:
    answer = await owner("POST", "/v1/invitations", json={"email": bad, "role": "viewer"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "email"


async def test_a_stranger_sees_and_revokes_no_invitation(a_caller: CallerMaker, owner: Caller, address: str) -> None:
    made = (await invited(owner, address)).json()
    stranger = await a_caller()
    assert (await stranger("GET", f"/v1/invitations/{made['id']}")).status_code == 404
    assert (await stranger("DELETE", f"/v1/invitations/{made['id']}")).status_code == 404
    assert (await stranger("GET", "/v1/invitations")).json()["items"] == []
    assert (await owner("GET", f"/v1/invitations/{made['id']}")).json()["status"] == "open"


async def test_a_tenant_floods_nobody_with_letters(owner: Caller, a_caller: CallerMaker, address: str) -> None:
    answers = [(await invited(owner, address)).status_code for _ in range(11)]
    assert answers == [201] * 10 + [429]
    assert (await invited(owner, f"other-{address}")).status_code == 201
    assert (await invited(await a_caller(), address)).status_code == 201


async def test_an_invitation_that_is_repeated_is_one_letter(owner: Caller, address: str) -> None:
    once = {"Idempotency-Key": f"key-{uuid.uuid4()}"}
    answers = [await invited(owner, address, headers=once) for _ in range(15)]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
