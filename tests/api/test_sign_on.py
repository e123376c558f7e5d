"""Logins of another issuer at the HTTP door: bearer tokens, group grants, the choice of a tenant, several at once."""

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from api.callers import Caller, CallerMaker
from carrel.api.app import create_app
from carrel.wiring import assemble
from support.issuer import LoopbackIssuer, an_issuer, an_rsa_key, by_hand, public_pem, trusting
from support.stand import Stand


@pytest.fixture(scope="module")
def issuer() -> Iterator[LoopbackIssuer]:
    with an_issuer() as standing:
        yield standing


@pytest.fixture(scope="module")
async def trusted(carrel: Stand, issuer: LoopbackIssuer) -> AsyncIterator[httpx2.AsyncClient]:
    """Before a door that trusts the issuer."""
    base = replace(carrel.parts.base, issuer=trusting(issuer))
    app = create_app(lambda: nullcontext(assemble(replace(carrel.parts, base=base))))
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://carrel.test") as client,
    ):
        yield client


class Signer:
    """Makes callers of people who come from the issuer, and lets the operator say what their groups give."""

    def __init__(self, client: httpx2.AsyncClient, issuer: LoopbackIssuer, operator: str) -> None:
        self.client, self.issuer, self.operator = client, issuer, Caller(client, operator)

    def person(self, subject: str, *groups: str, **claims: Any) -> Caller:
        return Caller(self.client, self.issuer.person(subject, *groups, **claims))

    async def grant(self, group: str, tenant: Caller, role: str) -> dict[str, Any]:
        assert tenant.tenant is not None
        body = {"group": group, "tenant_id": str(tenant.tenant.id), "role": role}
        return await self.operator.made("/v1/group-grants", body)


@pytest.fixture
def sign(trusted: httpx2.AsyncClient, issuer: LoopbackIssuer, operator: str) -> Signer:
    return Signer(trusted, issuer, operator)


def a_group() -> str:
    return f"group {uuid.uuid4()}"


async def test_a_token_of_the_issuer_is_a_bearer_token(sign: Signer, a_caller: CallerMaker) -> None:
    place, group, subject = await a_caller(), a_group(), str(uuid.uuid4())
    made = await sign.grant(group, place, "editor")
    assert (made["issuer"], made["group"], made["role"]) == (sign.issuer.url, group, "editor")
    person = sign.person(subject, group)
    assert (await person("GET", "/v1/sources")).status_code == 200
    source = await person.source()
    assert (await person("POST", "/v1/keys", json={"name": "k", "scopes": ["search"]})).status_code == 403
    assert (await person("POST", "/v1/search", json={"query": "x", "source_ids": [source]})).status_code == 200
    assert (await sign.operator("DELETE", f"/v1/group-grants/{made['id']}")).status_code == 204
    gone = await person("GET", "/v1/sources")
    assert (gone.status_code, gone.json()["code"]) == (403, "no_membership")


@pytest.mark.parametrize("path", ["/v1/sources", "/v1/me"])
async def test_a_stranger_at_first_sight_is_refused_in_words(sign: Signer, path: str) -> None:
    answer = await sign.person(str(uuid.uuid4()), a_group())("GET", path)
    assert (answer.status_code, answer.json()["code"]) == (403, "no_membership")


async def test_a_token_of_many_groups_passes_the_door(sign: Signer, a_caller: CallerMaker) -> None:
    place, group = await a_caller(), a_group()
    await sign.grant(group, place, "viewer")
    many = sign.person(str(uuid.uuid4()), group, *(f"group-{number:04}" for number in range(380)))
    assert many.key is not None
    assert len(many.key) > 6_000
    assert (await many("GET", "/v1/sources")).status_code == 200
    huge = sign.person(str(uuid.uuid4()), group, "x" * 7_000)
    assert (await huge("GET", "/v1/sources")).status_code == 401


async def test_forgeries_are_401(sign: Signer) -> None:
    issuer = sign.issuer
    public, claims = public_pem(issuer.keys["first"]), issuer.claims()
    forged = {
        "none": by_hand({"alg": "none", "kid": "first"}, claims),
        "confusion": by_hand({"alg": "HS256", "kid": "first"}, claims, secret=public),
        "other key": issuer.token(key=an_rsa_key(2)),
        "audience": issuer.token(aud="other"),
        "issuer": issuer.token(iss="https://evil.example"),
        "ours": by_hand({"alg": "HS256"}, {**claims, "iss": "carrel"}, secret=public),
        "jku": issuer.token(headers={"jku": "https://evil.example/keys"}),
        "not yet": issuer.token(nbf=4_000_000_000),
    }
    for name, token in forged.items():
        answer = await Caller(sign.client, token)("GET", "/v1/sources")
        assert (name, answer.status_code, answer.json()["code"]) == (name, 401, "invalid_token")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    expired = await Caller(sign.client, issuer.token(exp=1_000_000_000, iat=999_999_999))("GET", "/v1/sources")
    assert (expired.status_code, expired.json()["code"]) == (401, "expired_token")


async def test_an_issuer_that_is_down_is_503_with_retry_after(carrel: Stand, a_caller: CallerMaker) -> None:
    with an_issuer() as other:
        other.held = threading.Event()
        other.down()
        base = replace(carrel.parts.base, issuer=trusting(other))
        app = create_app(lambda: nullcontext(assemble(replace(carrel.parts, base=base))))
        transport = httpx2.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url="http://carrel.test") as client,
        ):
            answer = await Caller(client, other.person("ada"))("GET", "/v1/sources")
            assert (answer.status_code, answer.json()["code"]) == (503, "issuer_unavailable")
            assert int(answer.headers["Retry-After"]) > 0
            assert (await Caller(client, (await a_caller()).key)("GET", "/v1/sources")).status_code == 200


async def test_a_person_of_several_tenants_chooses_or_searches_several(sign: Signer, a_caller: CallerMaker) -> None:
    one, two, foreign = await a_caller(), await a_caller(), await a_caller()
    for caller, word in ((one, "amber"), (two, "birch"), (foreign, "coral")):
        await caller.put(await caller.source(), "boats.md", f"# Boats\n\nThe boats of {word} float on water.")
    group = a_group()
    for caller in (one, two):
        await sign.grant(group, caller, "viewer")
    person = sign.person(str(uuid.uuid4()), group)
    assert one.tenant is not None
    assert two.tenant is not None
    assert foreign.tenant is not None

    for method, path, body in (
        ("GET", "/v1/sources", None),
        ("POST", "/v1/search", {"query": "boats"}),
        ("POST", "/v1/chat", {"message": "boats?"}),
    ):
        answer = await person(method, path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, "tenant_ambiguous")

    wish = {"query": "Do boats float?", "tenants": [one.tenant.slug, str(two.tenant.id)]}
    found = (await person("POST", "/v1/search", json=wish)).json()
    assert {hit["tenant_id"] for hit in found["hits"]} == {str(one.tenant.id), str(two.tenant.id)}
    assert found["partial"] == []
    absent = await person("POST", "/v1/search", json={**wish, "tenants": [one.tenant.slug, str(uuid.uuid4())]})
    strange = await person("POST", "/v1/search", json={**wish, "tenants": [one.tenant.slug, foreign.tenant.slug]})
    assert (absent.status_code, strange.status_code) == (404, 404)
    assert absent.content == strange.content

    chosen = await person("POST", "/v1/auth/exchange", json={"tenant": two.tenant.slug})
    assert chosen.status_code == 200
    assert chosen.json()["token_type"] == "bearer"
    there = Caller(sign.client, chosen.json()["access_token"])
    assert len((await there("GET", "/v1/sources")).json()["items"]) == 1
    assert (await there("POST", "/v1/sources", json={"name": "x"})).status_code == 403
    assert (await there("POST", "/v1/search", json=wish)).status_code == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"tenants": ["x"] * 21}, "too_long"),
        ({"tenants": "x"}, "invalid"),
        ({"tenants": [""]}, "too_short"),
        ({"tenants": [7]}, "invalid_type"),
        ({"tenants": ["x\x00"]}, "invalid_text"),
    ],
)
async def test_bad_lists_of_tenants_are_422(
    sign: Signer, a_caller: CallerMaker, body: dict[str, Any], code: str
) -> None:
    group = a_group()
    for caller in (await a_caller(), await a_caller()):
        await sign.grant(group, caller, "viewer")
    answer = await sign.person(str(uuid.uuid4()), group)("POST", "/v1/search", json={"query": "x", **body})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == code


@pytest.mark.parametrize("body", [{}, {"tenant": ""}, {"tenant": 7}, {"tenant": "x", "user": "y"}, {"tenant": None}])
async def test_a_bad_choice_is_422(sign: Signer, a_caller: CallerMaker, body: dict[str, Any]) -> None:
    group = a_group()
    await sign.grant(group, await a_caller(), "viewer")
    answer = await sign.person(str(uuid.uuid4()), group)("POST", "/v1/auth/exchange", json=body)
    assert answer.status_code == 422


# Group grants


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"role": "owner"}, "invalid_choice"),
        ({"role": "king"}, "invalid_choice"),
        ({"group": ""}, "too_short"),
        ({"group": "x" * 257}, "too_long"),
        ({"group": "x\x00"}, "invalid_text"),
        ({"tenant_id": "nope"}, "invalid_id"),
        ({"issuer": "nowhere"}, None),
        ({"issuer": "https://x y"}, None),
        ({"id": str(uuid.uuid4())}, "unknown_field"),
    ],
)
async def test_a_bad_grant_is_422(
    sign: Signer, a_caller: CallerMaker, change: dict[str, Any], code: str | None
) -> None:
    place = await a_caller()
    assert place.tenant is not None
    body = {"group": a_group(), "tenant_id": str(place.tenant.id), "role": "viewer", **change}
    answer = await sign.operator("POST", "/v1/group-grants", json=body)
    assert answer.status_code == 422
    assert code is None or answer.json()["errors"][0]["code"] == code


async def test_a_grant_without_an_issuer_needs_one_that_is_set(an_operator: Caller, a_caller: CallerMaker) -> None:
    place = await a_caller()
    assert place.tenant is not None
    body = {"group": a_group(), "tenant_id": str(place.tenant.id), "role": "viewer"}
    answer = await an_operator("POST", "/v1/group-grants", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "issuer_required")


async def test_a_grant_repeated_under_its_idempotency_key_is_one(sign: Signer, a_caller: CallerMaker) -> None:
    place = await a_caller()
    assert place.tenant is not None
    body = {"group": a_group(), "tenant_id": str(place.tenant.id), "role": "viewer"}
    once = {"headers": {"Idempotency-Key": str(uuid.uuid4())}}
    answers = await asyncio.gather(*(sign.operator("POST", "/v1/group-grants", json=body, **once) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    other = await sign.operator("POST", "/v1/group-grants", json={**body, "role": "admin"}, **once)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    twice = await sign.operator("POST", "/v1/group-grants", json=body)
    assert (twice.status_code, twice.json()["code"]) == (409, "group_grant_exists")


async def test_grants_are_listed_newest_first_by_pages(sign: Signer, a_caller: CallerMaker) -> None:
    place = await a_caller()
    made = [(await sign.grant(a_group(), place, "viewer"))["id"] for _ in range(3)]
    first = (await sign.operator("GET", "/v1/group-grants?limit=2")).json()
    second = (await sign.operator("GET", f"/v1/group-grants?limit=2&cursor={first['next_cursor']}")).json()
    assert [item["id"] for item in [*first["items"], *second["items"]]][:3] == made[::-1]
