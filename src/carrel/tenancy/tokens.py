"""Access tokens: JWTs of ten minutes that name a person, a session and mostly a tenant, and prove nothing else.

What the person may do stands in live rows, not in the token. One algorithm, one issuer, one audience, one type; every
claim is required. A token is read only when it is short enough to be one of ours.
"""

import hmac
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import jwt

from carrel.domain.errors import Unauthenticated
from carrel.domain.ids import SessionId, TenantId, UserId, new_id

LIFETIME: Final = timedelta(minutes=10)
ISSUER: Final = "carrel"

_ALGORITHM: Final = "HS256"
_TYPE: Final = "access"
_CLAIMS: Final = ("iss", "aud", "typ", "sub", "tid", "sid", "jti", "iat", "exp")
_HEADERS: Final = frozenset({"alg", "typ", "kid"})
_LONGEST: Final = 4096
_DOTS: Final = 2


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token of ours says. `tenant` is None for a person who has not chosen one."""

    user: UserId
    session: SessionId
    tenant: TenantId | None
    expires_at: datetime


class AccessTokens:
    """`master_key` is the deployment's: the signing key follows from it, and its id from the signing key."""

    def __init__(self, master_key: bytes) -> None:
        self._key = hmac.digest(master_key, b"access tokens, first key", sha256)
        self._kid = sha256(self._key).hexdigest()[:16]

    def mint(self, user: UserId, session: SessionId, tenant: TenantId | None) -> str:
        now = datetime.now(UTC)
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": ISSUER,
            "typ": _TYPE,
            "sub": str(user),
            "tid": "" if tenant is None else str(tenant),
            "sid": str(session),
            "jti": new_id().hex,
            "iat": now,
            "exp": now + LIFETIME,
        }
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM, headers={"kid": self._kid})

    def read(self, token: str) -> Claims:
        """Raises Unauthenticated: `expired_token` for one that was ours, `invalid_token` for everything else."""
        if len(token) > _LONGEST:
            raise _invalid()
        try:
            if not jwt.get_unverified_header(token).keys() <= _HEADERS:
                raise _invalid()
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[_ALGORITHM],
                audience=ISSUER,
                issuer=ISSUER,
                options={"require": list(_CLAIMS), "strict_aud": True},
            )
            return _claims(claims)
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated("This token has expired: refresh it.", code="expired_token") from error
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise _invalid() from error


def issuer_of(token: str) -> str | None:
    """Which issuer a token claims, before anything of it is proven; None when it is no token at all."""
    if len(token) > _LONGEST or token.count(".") != _DOTS:
        return None
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError):
        return None
    issuer = claims.get("iss")
    return issuer if isinstance(issuer, str) else None


def _claims(claims: dict[str, Any]) -> Claims:
    if claims["typ"] != _TYPE:
        raise _invalid()
    tenant = TenantId(_id(claims["tid"])) if claims["tid"] else None
    expires_at = datetime.fromtimestamp(claims["exp"], UTC)
    return Claims(UserId(_id(claims["sub"])), SessionId(_id(claims["sid"])), tenant, expires_at)


def _id(value: object) -> uuid.UUID:
    if not isinstance(value, str):
        raise TypeError("An id is a string.")
    return uuid.UUID(value)


def _invalid() -> Unauthenticated:
    return Unauthenticated("This token was not made here, or was changed.", code="invalid_token")
