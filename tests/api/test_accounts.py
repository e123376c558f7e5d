"""Accounts over HTTP: from registering to signing in, out and in again, and everything that may go wrong."""

import asyncio
import uuid
from collections import Counter
from typing import Any

import httpx2
import pytest

from api.signing import PASSWORD, Newcomer, NewcomerMaker, an_address
from carrel.domain.access import console, for_accounts
from carrel.domain.ids import TenantId, UserId
from carrel.domain.rights import Role
from carrel.store import accounts
from carrel.store.transaction import Statement
from carrel.tenancy.tokens import AccessTokens
from support.people import a_person
from support.post import Mailbox
from support.stand import SECRETS, Stand
from support.tenants import a_tenant
from unit.test_tokens import FORGED, claims, signed

WRONG = "another long word"


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def newcomer(carrel: Stand, client: httpx2.AsyncClient, mailbox: Mailbox) -> NewcomerMaker:
    return lambda: Newcomer(carrel, client, mailbox, an_address())


@pytest.fixture
async def ada(newcomer: NewcomerMaker) -> Newcomer:
    """Registered, verified and signed in."""
    return await newcomer().is_in()


def wide(text: str) -> str:
    """In the full-width forms, as some keyboards write."""
    return "".join(chr(ord(character) + 0xFEE0) for character in text)


async def touch(carrel: Stand, sql: str, **values: Any) -> int:
    async with carrel.database.transaction(for_accounts()) as tx:
        return await tx.run(Statement(sql), **values)


async def told(carrel: Stand, tenant: str) -> list[str]:
    """What the tenant's audit log says."""
    async with carrel.database.transaction(for_accounts(tenant=TenantId(uuid.UUID(tenant)))) as tx:
        rows = await tx.rows(
            Statement("select action from audit_events where tenant_id = :tenant order by created_at, id")
        )
    return [row["action"] for row in rows]


def code_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


# Registering


async def test_from_registering_to_signing_in(carrel: Stand, newcomer: NewcomerMaker) -> None:
    ada = newcomer()
    answer = await ada.registers("Acme Works")
    assert (answer.status_code, answer.json()) == (202, {"status": "pending"})
    assert (await ada.signs_in()).json()["code"] == "invalid_credentials"

    verified = await ada.verifies(await ada.reads())
    assert verified.status_code == 200
    assert verified.json()["password_needed"] is False

    signed_in = await ada.signs_in()
    assert signed_in.status_code == 200
    assert signed_in.json() | {"access_token": "", "refresh_token": ""} == {
        "access_token": "",
        "token_type": "bearer",
        "expires_in": 600,
        "refresh_token": "",
        "tenant_id": verified.json()["tenant_id"],
    }
    me = await ada.me()
    assert (me["user"]["email"], me["user"]["name"], me["role"]) == (ada.email, "Ada", "owner")
    (membership,) = me["memberships"]
    assert membership["name"] == "Acme Works"
    assert membership["slug"].startswith("acme-works-")
    assert (await ada.calls("POST", "/v1/sources", json={"name": "Docs"})).status_code == 201
    assert (await told(carrel, membership["tenant_id"]))[:2] == ["tenant.registered", "session.begun"]


async def test_an_address_has_one_form(newcomer: NewcomerMaker) -> None:
    ada = newcomer()
    plain, ada.email = ada.email, f"  {ada.email.upper()} "
    assert (await ada.registers()).status_code == 202
    shouted, ada.email = ada.email, plain
    assert (await ada.verifies(await ada.reads())).status_code == 200
    ada.email = shouted
    assert (await ada.signs_in()).status_code == 200


async def test_an_address_with_an_account_is_told_so_by_letter_only(ada: Newcomer, newcomer: NewcomerMaker) -> None:
    unknown = newcomer()
    ada.waits()
    known_answer, unknown_answer = await ada.registers("Other"), await unknown.registers("Other")
    assert known_answer.status_code == unknown_answer.status_code == 202
    assert known_answer.content == unknown_answer.content
    with pytest.raises(AssertionError, match="There is an account with it already"):
        await ada.reads()
    assert [one["name"] for one in (await ada.me())["memberships"]] == ["Acme"]


async def test_nobody_gets_into_an_address_that_another_registered_first(
    carrel: Stand, newcomer: NewcomerMaker, mailbox: Mailbox
) -> None:
    """Whoever reads the mail cannot tell whose password it is that the code confirms: so it is nobody's."""
    victim = newcomer()
    thief = Newcomer(carrel, victim.client, mailbox, victim.email, password="the thief's own word")
    await thief.registers("Trap")
    victim.waits()
    await victim.registers("Mine")

    verified = await victim.verifies(await victim.reads())
    assert (verified.status_code, verified.json()["password_needed"]) == (200, True)
    assert (await thief.signs_in()).status_code == (await victim.signs_in()).status_code == 401

    victim.waits()
    await victim.post("password/forgot", {"email": victim.email})
    body = {"email": victim.email, "code": await victim.reads(), "password": victim.password}
    assert (await victim.post("password/reset", body)).status_code == 204
    assert (await thief.signs_in()).status_code == 401
    assert (await victim.signs_in()).status_code == 200
    assert (await victim.me())["memberships"][0]["name"] == "Mine"


async def test_a_registration_that_nobody_verifies_holds_nothing(carrel: Stand, newcomer: NewcomerMaker) -> None:
    first = newcomer()
    await first.registers("Sleepy")
    code = await first.reads()
    await touch(carrel, "update registrations set expires_at = now() where email = :email", email=first.email)
    assert code_of(await first.verifies(code)) == (422, "invalid_code")
    first.waits()
    await first.registers("Awake")
    assert (await first.verifies(await first.reads())).json()["password_needed"] is False
    assert (await first.signs_in()).status_code == 200
    assert (await first.me())["memberships"][0]["name"] == "Awake"


# Codes


async def test_a_code_is_good_once(newcomer: NewcomerMaker) -> None:
    ada = newcomer()
    await ada.registers()
    code = await ada.reads()
    answers = await asyncio.gather(*(ada.verifies(code) for _ in range(4)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 422: 3}
    assert code_of(await ada.verifies(code)) == (422, "invalid_code")


async def test_only_the_newest_code_is_good(newcomer: NewcomerMaker) -> None:
    ada = newcomer()
    await ada.registers()
    former = await ada.reads()
    ada.waits()
    assert (await ada.post("resend", {"email": ada.email})).status_code == 202
    newest = await ada.reads()
    assert newest != former
    assert code_of(await ada.verifies(former)) == (422, "invalid_code")
    assert (await ada.verifies(newest)).status_code == 200


@pytest.mark.parametrize("late", ["expires_at = now()", "attempts = 5", "used_at = now()"])
async def test_a_code_that_is_over_is_as_good_as_a_wrong_one(carrel: Stand, newcomer: NewcomerMaker, late: str) -> None:
    ada = newcomer()
    await ada.registers()
    code = await ada.reads()
    sql = f"update email_codes set {late} where user_id = (select user_id from registrations where email = :email)"
    if "expires" in late:
        sql = sql.replace("update email_codes set expires_at = now()", "delete from email_codes")
    assert await touch(carrel, sql, email=ada.email)
    over, wrong = await ada.verifies(code), await newcomer().verifies("123456")
    assert code_of(over) == (422, "invalid_code")
    assert over.content == wrong.content


async def test_a_code_for_one_thing_is_none_for_another(newcomer: NewcomerMaker, ada: Newcomer) -> None:
    ada.waits()
    await ada.post("password/forgot", {"email": ada.email})
    code = await ada.reads()
    assert code_of(await ada.verifies(code)) == (422, "invalid_code")
    other = newcomer()
    body = {"email": other.email, "code": code, "password": WRONG}
    assert code_of(await ada.post("password/reset", body)) == (422, "invalid_code")


# Signing in


async def test_whatever_is_wrong_gets_the_same_answer(ada: Newcomer, newcomer: NewcomerMaker) -> None:
    unknown = newcomer()
    wrong = Newcomer(ada.carrel, ada.client, ada.mailbox, ada.email, password=WRONG)
    odd = [Newcomer(ada.carrel, ada.client, ada.mailbox, email) for email in ("", "x", "a\x00b@c.example", "@" * 300)]
    answers = [await one.signs_in() for one in (wrong, unknown, *odd)]
    assert {code_of(answer) for answer in answers} == {(401, "invalid_credentials")}
    assert len({answer.content for answer in answers}) == 1


FORM = {"grant_type": "password", "username": "a@b.example", "password": PASSWORD}
BAD_FORMS: dict[str, tuple[dict[str, Any], tuple[int, str]]] = {
    "json": ({"json": FORM}, (415, "unsupported_type")),
    "no type": ({"content": b"grant_type=password"}, (415, "unsupported_type")),
    "a field twice": ({"form": b"grant_type=password&username=a&username=b&password=c"}, (422, "malformed_form")),
    "not utf-8": ({"form": b"grant_type=password&username=%ff&password=c"}, (422, "malformed_form")),
    "bytes": ({"form": b"\xff\xfe"}, (422, "malformed_form")),
    "no pairs": ({"form": b"grant_type"}, (422, "malformed_form")),
    "too many": ({"form": b"&".join(b"a%d=1" % n for n in range(99))}, (422, "malformed_form")),
    "too large": ({"form": b"grant_type=password&username=" + b"a" * 20_000}, (413, "too_large")),
    "nothing": ({"form": b""}, (422, "invalid")),
    "unknown field": ({"data": {**FORM, "role": "owner"}}, (422, "invalid")),
    "another grant": ({"data": {**FORM, "grant_type": "client_credentials"}}, (422, "invalid")),
    "no username": ({"data": {"grant_type": "password", "password": "x"}}, (422, "missing")),
    "no password": ({"data": {"grant_type": "password", "username": "x"}}, (422, "missing")),
    "no refresh token": ({"data": {"grant_type": "refresh_token"}}, (422, "missing")),
    "long password": ({"data": {**FORM, "password": "a" * 2000}}, (422, "invalid")),
    "long tenant": ({"data": {**FORM, "tenant": "a" * 65}}, (422, "invalid")),
}


@pytest.mark.parametrize(("sent", "refusal"), BAD_FORMS.values(), ids=BAD_FORMS)
async def test_a_bad_form_is_named(client: httpx2.AsyncClient, sent: dict[str, Any], refusal: tuple[int, str]) -> None:
    if "form" in sent:
        sent = {"content": sent["form"], "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
    assert code_of(await client.post("/v1/auth/token", **sent)) == refusal


async def test_what_oauth_clients_send_along_is_taken(ada: Newcomer) -> None:
    assert (await ada.signs_in(scope="", client_id="", client_secret="")).status_code == 200


async def test_a_person_of_several_organisations_chooses(carrel: Stand, ada: Newcomer) -> None:
    me = await ada.me()
    other, foreign = await a_tenant(carrel.app, "Other"), await a_tenant(carrel.app, "Foreign")
    async with carrel.database.transaction(for_accounts(tenant=other.id)) as tx:
        await accounts.join(tx, UserId(uuid.UUID(me["user"]["id"])), Role.VIEWER)

    assert (await ada.signs_in()).json()["tenant_id"] is None
    assert code_of(await ada.calls("GET", "/v1/sources")) == (409, "tenant_ambiguous")
    assert len((await ada.me())["memberships"]) == 2

    for name in (str(other.id), str(other.id).upper(), other.slug):
        assert (await ada.signs_in(tenant=name)).json()["tenant_id"] == str(other.id)
    assert (await ada.me())["role"] == "viewer"
    strange, absent = await ada.signs_in(tenant=foreign.slug), await ada.signs_in(tenant="nowhere-at-all")
    assert strange.status_code == absent.status_code == 404
    assert strange.content == absent.content

    back = await ada.refreshes(tenant=me["memberships"][0]["slug"])
    assert back.json()["tenant_id"] == me["memberships"][0]["tenant_id"]
    ada.tokens = back.json()
    assert (await ada.refreshes(tenant=foreign.slug)).status_code == 404
    stays = await ada.refreshes()
    assert stays.json()["tenant_id"] == me["memberships"][0]["tenant_id"]


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED)
async def test_a_forged_token_opens_no_door(client: httpx2.AsyncClient, token: str) -> None:
    answer = await client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_token_that_we_signed_opens_only_what_its_session_says(
    carrel: Stand, client: httpx2.AsyncClient
) -> None:
    """Signed with the deployment's own key, and still nobody's."""
    key = AccessTokens(SECRETS.master_key)._present().current
    person, place = await a_person(carrel), await a_tenant(carrel.app)
    mine = {"sub": str(person.id), "sid": str(person.session), "tid": ""}
    for changed, status in (
        ({}, 200),
        ({"sid": str(uuid.uuid4())}, 401),
        ({"sub": str(uuid.uuid4())}, 401),
        ({"tid": str(place.id)}, 401),
    ):
        token = signed(claims(**{**mine, **changed}), key=key)
        answer = await client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status, changed


# Refreshing


async def test_a_refresh_token_is_used_once_and_its_successor_goes_on(ada: Newcomer) -> None:
    assert ada.tokens
    seen = {ada.tokens["refresh_token"]}
    for _ in range(3):
        answer = await ada.refreshes()
        assert answer.status_code == 200
        ada.tokens = answer.json()
        seen.add(ada.tokens["refresh_token"])
        assert (await ada.calls("GET", "/v1/me")).status_code == 200
    assert len(seen) == 4


async def test_the_token_form_refreshes_too(ada: Newcomer) -> None:
    assert ada.tokens
    form = {"grant_type": "refresh_token", "refresh_token": ada.tokens["refresh_token"]}
    assert (await ada.client.post("/v1/auth/token", data=form)).status_code == 200


async def test_ten_windows_that_refresh_at_once_get_one_successor(carrel: Stand, ada: Newcomer) -> None:
    answers = await asyncio.gather(*(ada.refreshes() for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    living = """
        select count(*) from refresh_tokens r join sessions s on s.id = r.session_id join users u on u.id = s.user_id
        where u.email = :email and r.replaced_at is null
    """
    async with carrel.database.transaction(for_accounts()) as tx:
        assert await tx.value(Statement(living), email=ada.email) == 1


async def test_a_replayed_refresh_token_ends_the_whole_session(carrel: Stand, ada: Newcomer) -> None:
    assert ada.tokens
    stolen, tenant = ada.tokens["refresh_token"], ada.tokens["tenant_id"]
    ada.tokens = (await ada.refreshes()).json()
    await touch(
        carrel, "update refresh_tokens set replaced_at = now() - interval '11 seconds' where replaced_at is not null"
    )

    assert code_of(await ada.refreshes(stolen)) == (401, "reused_refresh_token")
    assert code_of(await ada.refreshes(stolen)) == (401, "session_ended")
    assert code_of(await ada.refreshes()) == (401, "session_ended")
    assert code_of(await ada.calls("GET", "/v1/me")) == (401, "session_ended")
    assert (await told(carrel, tenant)).count("session.revoked") == 1
    assert (await ada.signs_in()).status_code == 200


@pytest.mark.parametrize("bad", ["", "cr_", "cr_AAAA", "x" * 46, "cr_" + "A" * 43, "cr_" + "é" * 43, "A" * 43])
async def test_what_is_no_refresh_token_is_none(client: httpx2.AsyncClient, bad: str) -> None:
    answer = await client.post("/v1/auth/refresh", json={"refresh_token": bad})
    assert code_of(answer) == (401, "invalid_refresh_token")
    assert (await client.post("/v1/auth/logout", json={"refresh_token": bad})).status_code == 204


async def test_signing_out_ends_the_session_at_once(ada: Newcomer) -> None:
    assert ada.tokens
    for _ in range(2):
        assert (await ada.post("logout", {"refresh_token": ada.tokens["refresh_token"]})).status_code == 204
    assert code_of(await ada.calls("GET", "/v1/me")) == (401, "session_ended")
    assert code_of(await ada.refreshes()) == (401, "session_ended")


# Sessions


async def test_one_sees_and_ends_ones_own_sessions(ada: Newcomer, newcomer: NewcomerMaker) -> None:
    phone = Newcomer(ada.carrel, ada.client, ada.mailbox, ada.email)
    await phone.signs_in()
    stranger = await newcomer().is_in()

    listed = (await ada.calls("GET", "/v1/sessions?limit=1")).json()
    assert listed["items"][0]["current"] is False
    rest = (await ada.calls("GET", f"/v1/sessions?cursor={listed['next_cursor']}")).json()
    assert [one["current"] for one in rest["items"]] == [True]

    path = f"/v1/sessions/{listed['items'][0]['id']}"
    assert (await stranger.calls("DELETE", path)).status_code == 404
    assert (await phone.calls("GET", "/v1/me")).status_code == 200
    assert (await ada.calls("DELETE", path)).status_code == 204
    assert (await ada.calls("DELETE", path)).status_code == 404
    assert (await phone.calls("GET", "/v1/me")).status_code == 401
    assert (await ada.calls("GET", "/v1/me")).status_code == 200


async def test_all_other_sessions_end_together(ada: Newcomer) -> None:
    others = [Newcomer(ada.carrel, ada.client, ada.mailbox, ada.email) for _ in range(2)]
    for other in others:
        await other.signs_in()
    for _ in range(2):
        assert (await ada.calls("DELETE", "/v1/sessions")).status_code == 204
    assert [(await other.refreshes()).status_code for other in others] == [401, 401]
    assert len((await ada.calls("GET", "/v1/sessions")).json()["items"]) == 1


# Passwords


async def test_a_forgotten_password_is_replaced_by_a_code(carrel: Stand, ada: Newcomer) -> None:
    assert ada.tokens
    former, tenant = ada.password, ada.tokens["tenant_id"]
    ada.waits()
    assert (await ada.post("password/forgot", {"email": ada.email})).json() == {"status": "pending"}
    body = {"email": ada.email, "code": await ada.reads(), "password": WRONG}
    answer = await ada.post("password/reset", body)
    assert (answer.status_code, answer.content) == (204, b"")
    assert code_of(await ada.post("password/reset", body)) == (422, "invalid_code")

    assert code_of(await ada.calls("GET", "/v1/me")) == (401, "session_ended")
    assert code_of(await ada.refreshes()) == (401, "session_ended")
    assert (await ada.signs_in()).status_code == 401
    ada.password = WRONG
    assert (await ada.signs_in()).status_code == 200
    assert "password.reset" in await told(carrel, tenant)
    assert former != WRONG


async def test_changing_the_password_ends_every_other_session(carrel: Stand, ada: Newcomer) -> None:
    other = Newcomer(ada.carrel, ada.client, ada.mailbox, ada.email)
    await other.signs_in()

    async def change(current: str, new: str) -> httpx2.Response:
        return await ada.calls("POST", "/v1/me/password", json={"current": current, "new": new})

    assert code_of(await change(WRONG, WRONG)) == (422, "wrong_password")
    assert code_of(await change(PASSWORD, "password123")) == (422, "weak_password")
    assert code_of(await change(PASSWORD, ada.email)) == (422, "weak_password")
    assert (await change(PASSWORD, WRONG)).status_code == 204
    assert (await ada.calls("GET", "/v1/me")).status_code == 200
    assert (await ada.refreshes()).status_code == 200
    assert (await other.calls("GET", "/v1/me")).status_code == (await other.refreshes()).status_code == 401
    assert (await other.signs_in()).status_code == 401


@pytest.mark.parametrize(
    "weak",
    ["tiny word", "a" * 129, "1234567890", "PassWord123", "aaaaaaaaaaaa", wide("password123")],
    ids=["short", "long", "common", "shouted", "one letter", "wide"],
)
async def test_a_weak_password_is_refused(newcomer: NewcomerMaker, weak: str) -> None:
    ada = newcomer()
    answer = await ada.registers(password=weak)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "password"
    assert weak not in answer.text


async def test_a_password_may_be_composed_in_any_way(newcomer: NewcomerMaker) -> None:
    ada = newcomer()
    ada.password = "caf\u00e9 au lait, s'il vous plait"
    await ada.registers()
    await ada.verifies(await ada.reads())
    ada.password = "cafe\u0301 au lait, s'il vous plait"
    assert (await ada.signs_in()).status_code == 200


async def test_an_account_without_a_password_has_none_to_change(carrel: Stand, client: httpx2.AsyncClient) -> None:
    person = await a_person(carrel)
    headers = {"Authorization": f"Bearer {person.token()}"}
    body = {"current": PASSWORD, "new": WRONG}
    assert code_of(await client.post("/v1/me/password", headers=headers, json=body)) == (409, "no_password")


# Me


async def test_one_may_take_another_name_and_nothing_else(ada: Newcomer) -> None:
    assert (await ada.calls("PATCH", "/v1/me", json={"name": "  Ada L. "})).json()["user"]["name"] == "Ada L."
    assert (await ada.calls("PATCH", "/v1/me", json={})).json()["user"]["name"] == "Ada L."
    for bad in ("", "   ", "a\nb", "a" * 201, 5, ["x"]):
        assert (await ada.calls("PATCH", "/v1/me", json={"name": bad})).status_code == 422


SERVERS: dict[str, Any] = {
    "id": str(uuid.uuid4()), "user_id": str(uuid.uuid4()), "status": "active", "verified_at": "2026-01-01T00:00:00Z",
    "epoch": 7, "role": "owner", "tenant_id": str(uuid.uuid4()), "slug": "acme", "permissions": ["platform"],
    "hash": "x", "memberships": [], "is_admin": True,
}  # fmt: skip


@pytest.mark.parametrize("field", SERVERS)
async def test_what_the_server_decides_nobody_else_does(newcomer: NewcomerMaker, field: str) -> None:
    ada = newcomer()
    answer = await ada.registers(**{field: SERVERS[field]})
    assert answer.status_code == 422
    assert [(one["field"], one["code"]) for one in answer.json()["errors"]] == [(field, "unknown_field")]
    assert code_of(await ada.verifies("123456")) == (422, "invalid_code")


async def test_nor_in_an_account_that_is_there(ada: Newcomer) -> None:
    before = await ada.me()
    for field in ("email", "user", *SERVERS):
        answer = await ada.calls("PATCH", "/v1/me", json={"name": "New", field: SERVERS.get(field, "x")})
        assert answer.status_code == 422
    assert await ada.me() == before


# Suspension


async def test_who_is_suspended_is_out_everywhere_at_once(carrel: Stand, ada: Newcomer) -> None:
    assert ada.tokens
    tenant = ada.tokens["tenant_id"]
    made = await ada.calls("POST", "/v1/keys", json={"name": "k", "scopes": ["search"]})
    key = {"Authorization": f"Bearer {made.json()['key']}"}
    assert (await ada.client.get("/v1/sources", headers=key)).status_code == 200

    suspended = await carrel.app.entrance.accounts.suspend(console(None), ada.email.upper())
    assert suspended.status == "suspended"
    assert (await ada.calls("GET", "/v1/me")).status_code == 401
    assert (await ada.refreshes()).status_code == 401
    assert (await ada.client.get("/v1/sources", headers=key)).status_code == 401
    wrong = Newcomer(ada.carrel, ada.client, ada.mailbox, an_address())
    assert (await ada.signs_in()).content == (await wrong.signs_in()).content
    ada.waits()
    await ada.post("password/forgot", {"email": ada.email})
    letters = len(ada.mailbox.letters)
    await ada.reads()
    assert len(ada.mailbox.letters) == letters, "who is suspended gets no code"

    await carrel.app.entrance.accounts.resume(console(None), str(suspended.id))
    assert (await ada.calls("GET", "/v1/me")).status_code == 401
    assert (await ada.signs_in()).status_code == 200
    assert (await ada.client.get("/v1/sources", headers=key)).status_code == 200
    assert [act for act in await told(carrel, tenant) if act.startswith("user.")] == ["user.suspended", "user.resumed"]


# Bad input, everywhere

ROUTES = {
    "register": {"email": "a@b.example", "password": PASSWORD, "name": "A", "organisation": "B"},
    "resend": {"email": "a@b.example"},
    "verify": {"email": "a@b.example", "code": "123456"},
    "refresh": {"refresh_token": "x"},
    "logout": {"refresh_token": "x"},
    "password/forgot": {"email": "a@b.example"},
    "password/reset": {"email": "a@b.example", "code": "123456", "password": PASSWORD},
}
BAD_VALUES: dict[str, list[Any]] = {
    "email": ["", "x", "a@", "@b.example", "a@b@c.example", "a b@c.example", "a@b.example\r\nBcc: x@y.example",
              "a\x00@b.example", "a" * 250 + "@b.example", ["a@b.example"], {"$ne": ""}, 5, None, True],
    "code": ["12345", "1234567", "abcdef", "12 456", wide("123456"), 123456, ["123456"], None],
    "password": ["", 5, ["a"], None, {}],
    "name": ["", " ", "a\u202eb", 5, None],
    "organisation": ["", "\n", 5, None],
    "refresh_token": [5, None, ["x"], "x" * 257],
}  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
async def test_every_bad_value_is_named_and_not_repeated(client: httpx2.AsyncClient, route: str) -> None:
    good = ROUTES[route]
    for field in good:
        for bad in BAD_VALUES[field]:
            answer = await client.post(f"/v1/auth/{route}", json={**good, field: bad})
            assert answer.status_code == 422, (field, bad, answer.text)
            assert answer.json()["errors"][0]["field"] == field
        missing = {name: value for name, value in good.items() if name != field}
        assert (await client.post(f"/v1/auth/{route}", json=missing)).status_code == 422
    for broken in (b"{", b"[]", b'"x"', b"null", b""):
        answer = await client.post(f"/v1/auth/{route}", content=broken, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, broken
    assert (await client.post(f"/v1/auth/{route}", data={"a": "b"})).status_code == 415
    assert (await client.get(f"/v1/auth/{route}")).status_code == 405


async def test_a_key_is_nobody(carrel: Stand, client: httpx2.AsyncClient) -> None:
    key = await (await a_tenant(carrel.app)).key()
    for method, path in (("GET", "/v1/me"), ("GET", "/v1/sessions"), ("DELETE", "/v1/sessions")):
        answer = await client.request(method, path, headers={"Authorization": f"Bearer {key}"})
        assert code_of(answer) == (403, "person_required")


# Limits


async def test_who_tries_too_often_is_told_when_to_come_back(ada: Newcomer) -> None:
    """And writes in vain that the tries came from elsewhere: whoever connects is no proxy of ours."""
    form = {"grant_type": "password", "username": ada.email, "password": WRONG}
    answers = [
        await ada.client.post("/v1/auth/token", data=form, headers={"X-Forwarded-For": f"203.0.{number}.1"})
        for number in range(12)
    ]
    assert [answer.status_code for answer in answers][8:] == [401, 429, 429, 429]  # signing in was the first of ten
    assert code_of(answers[-1]) == (429, "rate_limited")
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 900


@pytest.mark.parametrize("route", ["register", "resend", "password/forgot"])
async def test_letters_are_asked_for_once_a_minute_by_whomever(newcomer: NewcomerMaker, route: str) -> None:
    """Known and unknown addresses are limited alike."""
    known, unknown = await newcomer().is_in(), newcomer()
    for person in (known, unknown):
        person.waits()
        body = {**ROUTES[route], "email": person.email}
        first, second = await person.post(route, body), await person.post(route, body)
        assert (first.status_code, *code_of(second)) == (202, 429, "rate_limited")
        assert 0 < int(second.headers["Retry-After"]) <= 60


async def test_two_hundred_guesses_at_the_door_leave_five_tries_at_most(carrel: Stand, newcomer: NewcomerMaker) -> None:
    ada = newcomer()
    await ada.registers()
    right = await ada.reads()
    wrong = [code for code in (f"{number:06}" for number in range(201)) if code != right][:200]
    answers = await asyncio.gather(*(ada.verifies(code) for code in wrong))
    assert {answer.status_code for answer in answers} <= {422, 429}
    ada.waits()
    tried = (
        "select max(attempts) from email_codes c join registrations r on r.user_id = c.user_id where r.email = :email"
    )
    async with carrel.database.transaction(for_accounts()) as tx:
        assert await tx.value(Statement(tried), email=ada.email) == 5
    assert code_of(await ada.verifies(right)) == (422, "invalid_code")
