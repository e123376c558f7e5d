"""Access tokens: JWTs of ten minutes that name a person, a session and mostly a tenant, and prove nothing else.

What the person may do stands in live rows, not in the token. One algorithm, one issuer, one audience, one type; every
claim is required. A token is read only when it is short enough to be one of ours.
"""

import hmac
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import jwt

from carrel.domain.errors import Unauthenticated
from carrel.domain.ids import SessionId, TenantId, UserId, new_id
from carrel.domain.secret import MasterKeys

LIFETIME: Final = timedelta(minutes=10)
ISSUER: Final = "carrel"

_ALGORITHM: Final = "HS256"
_TYPE: Final = "access"
_CLAIMS: Final = ("iss", "aud", "typ", "sub", "tid", "sid", "jti", "iat", "exp")
_HEADERS: Final = frozenset({"alg", "typ", "kid"})
_LONGEST: Final = 4096
_LONGEST_OF_OTHERS: Final = 8192  # the groups of a large organisation stand in them
_DOTS: Final = 2


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token of ours says. `tenant` is None for a person who has not chosen one."""

    user: UserId
    session: SessionId
    tenant: TenantId | None
    expires_at: datetime


@dataclass(frozen=True, slots=True, repr=False)
class _SigningKeys:
    """What follows from the master keys: the key that signs now, and those by which a token may have been signed."""

    masters: MasterKeys
    kid: str
    keys: Mapping[str, bytes]

    @property
    def current(self) -> bytes:
        return self.keys[self.kid]


class AccessTokens:
    """`masters` is the deployment's master key, or gives the master keys as they are now.

    A signing key follows from each master key, and its id (`kid`) from the signing key. Tokens are signed by the
    current one; what a former one signed is good until it expires.
    """

    def __init__(self, masters: bytes | Callable[[], MasterKeys]) -> None:
        self._masters = _always(MasterKeys(masters)) if isinstance(masters, bytes) else masters
        self._signing = _signing_keys(self._masters())

    def mint(self, user: UserId, session: SessionId, tenant: TenantId | None) -> str:
        now, signing = datetime.now(UTC), self._present()
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
        return jwt.encode(claims, signing.current, algorithm=_ALGORITHM, headers={"kid": signing.kid})

    def read(self, token: str) -> Claims:
        """Raises Unauthenticated: `expired_token` for one that was ours, `invalid_token` for everything else."""
        if len(token) > _LONGEST:
            raise _invalid()
        try:
            claims = jwt.decode(
                token,
                self._key_for(jwt.get_unverified_header(token)),
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

    def _key_for(self, header: Mapping[str, Any]) -> bytes:
        """The key that the header names, of ours; without a name the current one. Raises Unauthenticated."""
        signing = self._present()
        key = signing.keys.get(header.get("kid", signing.kid))
        if key is None or not header.keys() <= _HEADERS:
            raise _invalid()
        return key

    def _present(self) -> _SigningKeys:
        masters = self._masters()
        if masters != self._signing.masters:
            self._signing = _signing_keys(masters)
        return self._signing


def _always(masters: MasterKeys) -> Callable[[], MasterKeys]:
    return lambda: masters


def _signing_keys(masters: MasterKeys) -> _SigningKeys:
    keys = [hmac.digest(master, b"access tokens, first key", sha256) for master in masters.every()]
    named = {sha256(key).hexdigest()[:16]: key for key in keys}
    return _SigningKeys(masters, next(iter(named)), named)


def issuer_of(token: str) -> str | None:
    """Which issuer a token claims, before anything of it is proven; None when it is no token at all."""
    if len(token) > _LONGEST_OF_OTHERS or token.count(".") != _DOTS:
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
