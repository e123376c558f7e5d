"""Access tokens: what is not exactly one of ours is none."""

import json
import uuid
import warnings
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from carrel.domain.errors import Unauthenticated
from carrel.domain.ids import SessionId, TenantId, UserId
from carrel.tenancy.tokens import AccessTokens, issuer_of

TOKENS = AccessTokens(b"a master key of thirty-two bytes")
USER, SESSION, TENANT = UserId(uuid.uuid4()), SessionId(uuid.uuid4()), TenantId(uuid.uuid4())
NOW = datetime.now(UTC)


def claims(**changed: Any) -> dict[str, Any]:
    good: dict[str, Any] = {
        "iss": "carrel",
        "aud": "carrel",
        "typ": "access",
        "sub": str(USER),
        "tid": str(TENANT),
        "sid": str(SESSION),
        "jti": "one",
        "iat": NOW,
        "exp": NOW + timedelta(days=1),
    }
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def signed(
    content: dict[str, Any], *, key: bytes = TOKENS._present().current, algorithm: str = "HS256", **headers: Any
) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jwt.warnings.InsecureKeyLengthWarning)
        return jwt.encode(content, key, algorithm=algorithm, headers=headers)


def unsigned(header: dict[str, Any], content: object) -> str:
    parts = (json.dumps(part, default=str).encode() for part in (header, content))
    return ".".join([*(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), ""])


def test_what_was_minted_is_read() -> None:
    read = TOKENS.read(TOKENS.mint(USER, SESSION, TENANT))
    assert (read.user, read.session, read.tenant) == (USER, SESSION, TENANT)
    assert TOKENS.read(TOKENS.mint(USER, SESSION, None)).tenant is None
    assert TOKENS.read(signed(claims())).user == USER


def test_an_expired_token_says_so() -> None:
    with pytest.raises(Unauthenticated) as refusal:
        TOKENS.read(signed(claims(exp=NOW - timedelta(seconds=1))))
    assert refusal.value.code == "expired_token"


FORGED = {
    "no signature": unsigned({"alg": "none", "typ": "JWT"}, claims(iat=0, exp=9_999_999_999)),
    "another key": signed(claims(), key=b"another key of thirty-two bytes!"),
    "another deployment": AccessTokens(b"the master key of another place!").mint(USER, SESSION, TENANT),
    "another algorithm": signed(claims(), algorithm="HS384"),
    "from the future": signed(claims(iat=NOW + timedelta(hours=1))),
    "another issuer": signed(claims(iss="https://issuer.example")),
    "another audience": signed(claims(aud="another")),
    "a list of audiences": signed(claims(aud=["carrel", "another"])),
    "another type": signed(claims(typ="refresh")),
    "a key of its own": signed(claims(), jwk={"kty": "oct", "k": "AAAA"}),
    "the address of a key": signed(claims(), jku="https://attacker.example/keys"),
    "a certificate's address": signed(claims(), x5u="https://attacker.example/cert"),
    "a critical header": unsigned({"alg": "HS256", "crit": ["exp"], "exp": 1}, claims(iat=0, exp=9_999_999_999)),
    "a tenant that is no id": signed(claims(tid="../../etc/passwd")),
    "a subject that is no id": signed(claims(sub="root")),
    "a session that is no id": signed(claims(sid=["a", "b"])),
    "a time that is no number": signed(claims(exp="tomorrow")),
    "the end of all time": signed(claims(exp=10**30)),
    "too long": signed(claims(jti="a" * 8_000)),
    "no object": unsigned({"alg": "HS256"}, ["not", "claims"]),
    "nested": unsigned({"alg": "HS256"}, json.loads("[" * 500 + "]" * 500)),
    "nothing": "..",
    "not a token": "a.b.c",
    **{f"without {name}": signed(claims(**{name: None})) for name in claims()},
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED)
def test_a_forgery_is_refused(token: str) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        TOKENS.read(token)
    assert refusal.value.code == "invalid_token"
    issuer_of(token)


def test_the_issuer_is_only_what_a_token_claims() -> None:
    assert issuer_of(TOKENS.mint(USER, SESSION, TENANT)) == "carrel"
    assert issuer_of(signed(claims(iss="https://issuer.example"))) == "https://issuer.example"
    assert issuer_of("ck_one_two_three") is None
    assert issuer_of("a.b.c") is None
