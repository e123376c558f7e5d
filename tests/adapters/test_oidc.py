"""Tokens of another issuer, against one on loopback that rotates its keys, lies and is down."""

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from carrel.domain.errors import Refusal, Unauthenticated, Unavailable
from support.issuer import (
    AUDIENCE,
    DISCOVERY,
    Answer,
    Clock,
    LoopbackIssuer,
    an_issuer,
    an_rsa_key,
    by_hand,
    public_pem,
    published,
    trusting,
)

NOW = datetime.now(UTC)
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def issuer() -> Iterator[LoopbackIssuer]:
    with an_issuer() as standing:
        yield standing


async def refusal(trusted: Any, token: str) -> str:
    with pytest.raises(Refusal) as refused:
        await trusted.prove(token)
    return refused.value.code


# What is taken


async def test_a_token_says_who_came_and_with_which_groups(issuer: LoopbackIssuer) -> None:
    groups: dict[str, Any] = {"groups": ["staff"], "cognito:groups": ["admins", 7, "", "bad\n"]}
    token = issuer.token(sub="ada", email="Ada@Example.org", email_verified=True, **groups)
    login = await trusting(issuer).prove(token)
    assert (login.issuer, login.subject, login.email) == (issuer.url, "ada", "ada@example.org")
    assert login.groups == {"admins", "staff"}
    assert login.issued_at < login.expires_at


@pytest.mark.parametrize("verified", [None, False, "false", "yes", 1])
async def test_an_address_that_the_issuer_has_not_verified_is_none(issuer: LoopbackIssuer, verified: object) -> None:
    token = issuer.token(sub="ada", email="ada@example.org", email_verified=verified)
    login = await trusting(issuer).prove(token)
    assert (login.email, login.name) == (None, "ada")


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(ec.generate_private_key(ec.SECP256R1()), "ES256"), (ed25519.Ed25519PrivateKey.generate(), "EdDSA")],
    ids=["ES256", "EdDSA"],
)
async def test_keys_of_other_kinds_sign_as_well(issuer: LoopbackIssuer, key: Any, algorithm: str) -> None:
    issuer.keys["other"] = key
    assert (await trusting(issuer).prove(issuer.token("other", algorithm=algorithm, sub="ada"))).subject == "ada"


@pytest.mark.parametrize("audience", [AUDIENCE, ["account", AUDIENCE]])
async def test_our_audience_may_stand_among_others(issuer: LoopbackIssuer, audience: object) -> None:
    await trusting(issuer).prove(issuer.token(aud=audience))


async def test_cognitos_access_tokens_count_for_the_client_that_is_set_only(issuer: LoopbackIssuer) -> None:
    token = issuer.token(aud=None, client_id="client", token_use="access")
    await trusting(issuer, client="client").prove(token)
    assert await refusal(trusting(issuer), token) == "invalid_token"
    assert await refusal(trusting(issuer, client="other"), token) == "invalid_token"
    good: dict[str, Any] = {"aud": None, "client_id": "client", "token_use": "access"}
    for changed in ({"token_use": "id"}, {"client_id": "other"}, {"client_id": ["client"]}, {"aud": "other"}):
        other = issuer.token(**{**good, **changed})
        assert await refusal(trusting(issuer, client="client"), other) == "invalid_token"


# Forgeries


FORGED: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "the issuer with a slash": {"iss_slash": True},
    "another audience": {"aud": "other"},
    "an audience that begins alike": {"aud": AUDIENCE + "2"},
    "audiences without ours": {"aud": ["one", "two"]},
    "no audience": {"aud": None},
    "no issuer": {"iss": None},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a long subject": {"sub": "x" * 256},
    "a subject that no terminal should see": {"sub": "a\x1b[2J"},
    "no end": {"exp": None},
    "no beginning": {"iat": None},
    "made in the future": {"iat": NOW + timedelta(days=1)},
    "not valid yet": {"nbf": NOW + timedelta(days=1)},
    "a word as its end": {"exp": "tomorrow"},
    "a number as its subject": {"sub": 7},
    "a strange type": {"headers": {"typ": "logout+jwt"}},
    "a critical header": {"headers": {"crit": ["exp"]}},
    "an address of keys": {"headers": {"jku": "https://evil.example/keys"}},
    "a certificate's address": {"headers": {"x5u": "https://evil.example/cert"}},
    "a certificate": {"headers": {"x5c": ["MIIB"]}},
    "a key of its own": {"headers": {"jwk": published(an_rsa_key(2), "first")}},
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
async def test_a_token_that_is_not_right_in_all_is_none(issuer: LoopbackIssuer, change: dict[str, Any]) -> None:
    said = dict(change)
    if said.pop("iss_slash", False):
        said["iss"] = issuer.url + "/"
    try:
        token = issuer.token(**said)
    except TypeError:  # the library makes no token whose issuer or subject is no string
        token = by_hand({"alg": "RS256", "kid": "first"}, issuer.claims(**said), secret=b"x")
    assert await refusal(trusting(issuer), token) == "invalid_token"


async def test_an_expired_token_says_so(issuer: LoopbackIssuer) -> None:
    trusted = trusting(issuer)
    assert await refusal(trusted, issuer.token(exp=NOW - timedelta(minutes=2))) == "expired_token"
    await trusted.prove(issuer.token(exp=datetime.now(UTC) - timedelta(seconds=10)))  # clocks differ a little


async def test_no_algorithm_and_no_shared_secret_count(issuer: LoopbackIssuer) -> None:
    public, claims = public_pem(issuer.keys["first"]), issuer.claims()
    trusted = trusting(issuer)
    for token in (
        by_hand({"alg": "none", "kid": "first"}, claims),
        by_hand({"alg": "None", "kid": "first"}, claims),
        by_hand({"alg": "HS256", "kid": "first"}, claims, secret=public),
        by_hand({"alg": "RS256", "kid": "first"}, claims, secret=public),
        by_hand({"alg": "RS256", "kid": "first"}, claims),
        issuer.token(algorithm="RS512"),  # the right key, by an algorithm that is not pinned
        issuer.token(key=an_rsa_key(2)),  # another key under a known name
    ):
        assert await refusal(trusted, token) == "invalid_token"


@pytest.mark.parametrize("kid", [None, "", 7, ["first"], "../first", "first\x00", "' or 1=1 --", "x" * 2000])
async def test_a_key_id_names_a_published_key_or_nothing(issuer: LoopbackIssuer, kid: object) -> None:
    header = {"alg": "RS256"} if kid is None else {"alg": "RS256", "kid": kid}
    assert await refusal(trusting(issuer), by_hand(header, issuer.claims(), secret=b"x")) == "invalid_token"


async def test_a_token_of_many_groups_is_taken_and_a_huge_one_is_not(issuer: LoopbackIssuer) -> None:
    trusted = trusting(issuer)
    many = issuer.token(groups=[f"group-{number:04}" for number in range(400)])
    assert 6_000 < len(many) < 8_192
    assert len((await trusted.prove(many)).groups) == 400
    asked = issuer.asked.total()
    assert await refusal(trusted, issuer.token(groups=["x" * 8_192])) == "invalid_token"
    assert issuer.asked.total() == asked


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "a.b", "e30.e30.", "é.é.é", "[" * 5000])
async def test_rubbish_is_no_token(issuer: LoopbackIssuer, text: str) -> None:
    assert await refusal(trusting(issuer), text) == "invalid_token"
    assert issuer.asked.total() == 0


# Keys that do not count


OTHER, SHORT = an_rsa_key(2), an_rsa_key(3, 1024)


@pytest.mark.filterwarnings("ignore:The RSA key is 1024 bits")
@pytest.mark.parametrize(
    ("bad", "key"),
    [
        (published(SHORT, "bad"), SHORT),
        (published(OTHER, "bad", use="enc"), OTHER),
        (published(OTHER, "bad", alg="RS512"), OTHER),
        (published(OTHER, "bad", kty="oct"), OTHER),
        (published(OTHER, "bad", n="!"), OTHER),
        (published(OTHER, "bad", n=7), OTHER),
        (published(OTHER, "bad", kty=["RSA"]), OTHER),
        ({**published(OTHER, "bad"), "d": "AQAB"}, OTHER),
        ({"kty": "oct", "kid": "bad", "k": "c2VjcmV0"}, OTHER),
    ],
    ids=[
        "short",
        "for encryption",
        "another algorithm",
        "of no kind",
        "broken",
        "a number",
        "a list",
        "private",
        "shared",
    ],
)
async def test_a_key_that_cannot_prove_is_as_if_it_were_not_there(
    issuer: LoopbackIssuer, bad: dict[str, Any], key: Any
) -> None:
    issuer.more_keys = [bad, "rubbish", {"kid": 7}, {}]
    trusted = trusting(issuer)
    assert await refusal(trusted, issuer.token("bad", key=key)) == "invalid_token"
    await trusted.prove(issuer.token())


# Rotation, and how often the issuer is asked


async def test_keys_are_fetched_once_and_kept(issuer: LoopbackIssuer) -> None:
    clock = Clock()
    trusted = trusting(issuer, clock=clock)
    await asyncio.gather(*(trusted.prove(issuer.token()) for _ in range(20)))
    clock.now += 299
    await trusted.prove(issuer.token())
    assert issuer.asked == {DISCOVERY: 1, "/keys": 1}
    clock.now += 2
    await asyncio.gather(*(trusted.prove(issuer.token()) for _ in range(20)))
    assert issuer.asked == {DISCOVERY: 2, "/keys": 2}


async def test_rotation_is_followed_and_the_old_key_is_good_while_it_is_published(issuer: LoopbackIssuer) -> None:
    clock = Clock()
    trusted = trusting(issuer, clock=clock)
    old = issuer.token()
    await trusted.prove(old)
    issuer.keys["second"] = an_rsa_key(2)
    clock.now += 11
    await trusted.prove(issuer.token("second"))
    await trusted.prove(old)
    issuer.keys.pop("first")
    clock.now += 301
    assert await refusal(trusted, old) == "invalid_token"
    await trusted.prove(issuer.token("second"))


async def test_fifty_forged_key_ids_make_one_fetch(issuer: LoopbackIssuer) -> None:
    clock = Clock()
    trusted = trusting(issuer, clock=clock)
    await trusted.prove(issuer.token())
    clock.now += 11
    forged = [issuer.token(f"forged {number}", key=an_rsa_key(2)) for number in range(50)]
    codes = await asyncio.gather(*(refusal(trusted, token) for token in forged))
    assert set(codes) == {"invalid_token"}
    assert issuer.asked["/keys"] == 2
    await trusted.prove(issuer.token())


# An issuer that lies, or is down


def an_answer(body: object, **headers: str) -> Answer:
    return Answer(200, json.dumps(body).encode(), {**JSON, **headers})


LIES: dict[str, dict[str, Answer]] = {
    "no JSON": {DISCOVERY: Answer(200, b"{", JSON)},
    "deep JSON": {"/keys": Answer(200, b"[" * 100_000, JSON)},
    "no object": {DISCOVERY: an_answer([])},
    "not JSON by its type": {"/keys": Answer(200, b"{}", {"Content-Type": "text/html"})},
    "keys that are none": {"/keys": an_answer({"keys": {}})},
    "too many keys": {"/keys": an_answer({"keys": [{}] * 101})},
    "a huge set": {"/keys": an_answer({"keys": [], "x": "y" * (256 << 10)})},
    "not found": {DISCOVERY: Answer(404)},
    "an error": {"/keys": Answer(500)},
    "a redirect to another host": {"/keys": Answer(302, b"", {"Location": "http://127.0.0.2/keys"})},
    "a redirect of the discovery": {DISCOVERY: Answer(307, b"", {"Location": "/elsewhere"})},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_what_cannot_be_read_is_as_if_the_issuer_were_down(
    issuer: LoopbackIssuer, lie: dict[str, Answer]
) -> None:
    issuer.instead.update(lie)
    assert await refusal(trusting(issuer), issuer.token()) == "issuer_unavailable"


@pytest.mark.parametrize(
    "lie",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": 7},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "http://169.254.169.254/keys"},
        {"jwks_uri": "http://user:secret@127.0.0.1/keys"},
        {"jwks_uri": "http://[::1]:1/keys"},
    ],
    ids=str,
)
async def test_a_discovery_that_lies_is_not_believed(issuer: LoopbackIssuer, lie: dict[str, Any]) -> None:
    issuer.discovery = lie
    assert await refusal(trusting(issuer), issuer.token()) == "issuer_unavailable"
    assert issuer.asked["/keys"] == 0


async def test_an_issuer_at_a_private_address_is_asked_only_if_the_operator_allows_it(issuer: LoopbackIssuer) -> None:
    assert await refusal(trusting(issuer, allowed=""), issuer.token()) == "issuer_unavailable"
    assert issuer.asked.total() == 0


async def test_known_keys_go_on_working_while_the_issuer_is_down(issuer: LoopbackIssuer) -> None:
    clock = Clock()
    trusted = trusting(issuer, clock=clock)
    token = issuer.token()
    await trusted.prove(token)
    issuer.down()
    for seconds in (301, 11, 3_600):
        clock.now += seconds
        await trusted.prove(token)
    assert await refusal(trusted, issuer.token("new", key=an_rsa_key(2))) == "issuer_unavailable"
    clock.now += 86_400
    assert await refusal(trusted, token) == "issuer_unavailable"
    issuer.up()
    clock.now += 11
    await trusted.prove(token)


async def test_a_lie_does_not_take_known_keys_away(issuer: LoopbackIssuer) -> None:
    clock = Clock()
    trusted = trusting(issuer, clock=clock)
    await trusted.prove(issuer.token())
    issuer.discovery = {"issuer": "https://evil.example"}
    clock.now += 301
    await trusted.prove(issuer.token())


async def test_while_one_waits_for_a_slow_issuer_the_others_go_on(issuer: LoopbackIssuer) -> None:
    clock = Clock()
    trusted = trusting(issuer, clock=clock)
    token = issuer.token()
    await trusted.prove(token)
    issuer.held = threading.Event()
    clock.now += 301
    waiting = asyncio.create_task(trusted.prove(token))
    assert await asyncio.to_thread(issuer.waiting.wait, 10)
    await trusted.prove(token)
    assert not waiting.done()
    issuer.held.set()
    await waiting


async def test_an_issuer_that_does_not_answer_in_time_is_down(issuer: LoopbackIssuer) -> None:
    issuer.held = threading.Event()
    with pytest.raises(Unavailable):
        await trusting(issuer, seconds=0.2).prove(issuer.token())
    issuer.held.set()


async def test_a_library_that_takes_any_algorithm_would_be_noticed(issuer: LoopbackIssuer) -> None:
    """The pinned list is what refuses: with RS512 in it the same token is taken."""
    token = issuer.token(algorithm="RS512")
    await trusting(issuer, algorithms=("RS512",)).prove(token)
    with pytest.raises(Unauthenticated):
        await trusting(issuer, algorithms=("RS256", "HS256", "none")).prove(token)
    assert jwt.get_unverified_header(token)["alg"] == "RS512"
