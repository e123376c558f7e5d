"""The proof of a token: signed by a key that its issuer publishes, for us, and now. Nothing in it chooses how.

OpenID Connect Core 1.0, JSON Web Token Best Current Practices (RFC 8725).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt

from carrel.adapters.oidc.keys import KeyRing
from carrel.domain.errors import Unauthenticated
from carrel.domain.logins import Login

_LONGEST: Final = 8192
_HEADERS: Final = frozenset({"alg", "typ", "kid", "x5t", "x5t#S256"})  # a thumbprint names a key and brings none
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_REQUIRED: Final = ("iss", "sub", "iat", "exp")
_LEEWAY: Final = timedelta(seconds=30)
_LONGEST_SUBJECT: Final = 255
_LONGEST_GROUP: Final = 256
_LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Trust:
    """What is expected of an issuer's tokens. `client` is for Amazon Cognito, whose access tokens name no audience."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    groups_claims: tuple[str, ...] = ("cognito:groups", "groups")
    email_claim: str = "email"
    client: str | None = None


class OidcIssuer:
    def __init__(self, trust: Trust, keys: KeyRing) -> None:
        self._trust = trust
        self._keys = keys

    @property
    def name(self) -> str:
        return self._trust.issuer

    async def prove(self, token: str) -> Login:
        """Raises Unauthenticated `expired_token` or `invalid_token`, Unavailable `issuer_unavailable`."""
        kid, algorithm = self._named(token)
        key = await self._keys.key(kid, algorithm)
        if key is None:
            raise _invalid()
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self._trust.issuer,
                leeway=_LEEWAY,
                options={"require": list(_REQUIRED), "verify_aud": False},
            )
            self._demand_audience(claims)
            return self._login(claims)
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated("This token has expired: get a new one.", code="expired_token") from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise _invalid() from error

    def _named(self, token: str) -> tuple[str, str]:
        """Which key and algorithm the token names; a header that would bring a key of its own is none."""
        if len(token) > _LONGEST:
            raise _invalid()
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise _invalid() from error
        kid, algorithm, kind = header.get("kid"), header.get("alg"), header.get("typ", "JWT")
        if not header.keys() <= _HEADERS or not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise _invalid()
        if not isinstance(kid, str) or not isinstance(algorithm, str) or algorithm not in self._trust.algorithms:
            raise _invalid()
        return kid, algorithm

    def _demand_audience(self, claims: Mapping[str, Any]) -> None:
        """Ours stands in `aud`, to the letter. Without `aud`: an access token of Cognito for the client that is set."""
        trust, audience = self._trust, claims.get("aud")
        if audience is None and trust.client is not None:
            if (claims.get("client_id"), claims.get("token_use")) == (trust.client, "access"):
                return
            raise _invalid()
        if audience != trust.audience and not (isinstance(audience, list) and trust.audience in audience):
            raise _invalid()

    def _login(self, claims: Mapping[str, Any]) -> Login:
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT or not _is_plain(subject):
            raise _invalid()
        email = self._email(claims)
        return Login(
            issuer=self._trust.issuer,
            subject=subject,
            name=_name(email, claims.get("name"), subject),
            email=email,
            groups=frozenset(self._groups(claims)),
            issued_at=datetime.fromtimestamp(claims["iat"], UTC),
            expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        )

    def _email(self, claims: Mapping[str, Any]) -> str | None:
        """An address that the issuer says it has verified; some write the word as a string."""
        email, verified = claims.get(self._trust.email_claim), claims.get("email_verified")
        if not (verified is True or verified == "true") or not isinstance(email, str) or "@" not in email:
            return None
        return email.strip().lower() if _is_plain(email) else None

    def _groups(self, claims: Mapping[str, Any]) -> Iterator[str]:
        for name in self._trust.groups_claims:
            said = claims.get(name)
            for group in said if isinstance(said, list) else [said]:
                if isinstance(group, str) and 0 < len(group) <= _LONGEST_GROUP and _is_plain(group):
                    yield group


def _name(*candidates: object) -> str:
    """The first that people can read."""
    found = (one for one in candidates if isinstance(one, str) and one.strip() and _is_plain(one))
    return next(found)[:_LONGEST_NAME]


def _is_plain(text: str) -> bool:
    """Nothing that the database or a terminal would stumble over."""
    return text.isprintable()


def _invalid() -> Unauthenticated:
    return Unauthenticated("This token does not prove who you are.", code="invalid_token")
