"""An issuer's public keys: found by discovery, kept for some minutes, fetched again when a new one is named.

OpenID Connect Discovery 1.0 and JSON Web Key (RFC 7517). Only public keys that sign count; a secret in the set, a short
RSA key or a key for encryption is as if it were not there.
"""

import asyncio
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from carrel.domain.errors import Refusal, Unavailable
from carrel.ports.web import Web

log = structlog.get_logger(__name__)

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

_OF_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_OF_CURVE: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
ALGORITHMS: Final = (*_OF_RSA, *_OF_CURVE.values(), "EdDSA")
"""Asymmetric ones alone: with a shared secret, whoever checks tokens could make them."""

_JSON: Final = frozenset({"application/json", "application/jwk-set+json"})
_MOST: Final = 256 << 10  # bytes of either document
_MOST_KEYS: Final = 100
_RSA_BITS: Final = range(2048, 8193)
_FRESH: Final = 300.0
_USABLE: Final = 86_400.0
_GAP: Final = 10.0


@dataclass(frozen=True, slots=True)
class _Keys:
    """By key id and algorithm, and when they were fetched."""

    known: Mapping[tuple[str, str], PublicKey]
    at: float


class KeyRing:
    """Fetched at most once in `gap` seconds, whatever tokens name, and by one caller at a time.

    Keys are fresh for five minutes. While the issuer does not answer, known ones go on working, for a day at most.
    `clock` counts seconds.
    """

    def __init__(
        self, web: Web, issuer: str, *, algorithms: Collection[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._web = web
        self._issuer = issuer
        self._algorithms = frozenset(algorithms) & frozenset(ALGORITHMS)
        self._clock = clock
        self._keys = _Keys({}, float("-inf"))
        self._asked = float("-inf")
        self._answered = True
        self._turn = asyncio.Lock()

    async def key(self, kid: str, algorithm: str) -> PublicKey | None:
        """None when the issuer publishes no such key. Raises Unavailable `issuer_unavailable`: it cannot be known."""
        found = self._known(kid, algorithm)
        if found is not None and (self._age < _FRESH or self._turn.locked()):
            return found
        async with self._turn:
            found = self._known(kid, algorithm)
            if (found is None or self._age >= _FRESH) and self._clock() - self._asked >= _GAP:
                await self._refresh()
                found = self._known(kid, algorithm)
        if found is None and not self._answered:
            raise Unavailable("The issuer of this token does not answer.", code="issuer_unavailable")
        return found

    @property
    def _age(self) -> float:
        return self._clock() - self._keys.at

    def _known(self, kid: str, algorithm: str) -> PublicKey | None:
        return self._keys.known.get((kid, algorithm)) if self._age < _USABLE else None

    async def _refresh(self) -> None:
        """What cannot be fetched or read leaves the former keys as they are."""
        try:
            known = dict(self._read(await self._fetch()))
        except Refusal as refusal:
            self._answered = False
            log.warning("issuer.unavailable", issuer=self._issuer, code=refusal.code, detail=refusal.detail)
        else:
            self._answered = True
            self._keys = _Keys(known, self._clock())
        finally:
            self._asked = self._clock()

    async def _fetch(self) -> list[Any]:
        """The set's keys, whatever they are. Raises Refusal."""
        described = await self._document(self._issuer.rstrip("/") + "/.well-known/openid-configuration")
        if described.get("issuer") != self._issuer:
            raise Unavailable("What was discovered is another issuer's.", code="issuer_unavailable")
        address = described.get("jwks_uri")
        if not isinstance(address, str) or not address.startswith(("https://", _scheme(self._issuer))):
            raise Unavailable("The issuer names no address of its keys.", code="issuer_unavailable")
        keys = (await self._document(address)).get("keys")
        if not isinstance(keys, list) or len(keys) > _MOST_KEYS:
            raise Unavailable("The issuer's set of keys is none.", code="issuer_unavailable")
        return keys

    async def _document(self, address: str) -> dict[str, Any]:
        fetched = await self._web.get(address, most=_MOST, accepts=_JSON)
        try:
            document = json.loads(fetched.content)
        except (ValueError, RecursionError) as error:
            raise Unavailable("The issuer's answer is no JSON.", code="issuer_unavailable") from error
        if not isinstance(document, dict):
            raise Unavailable("The issuer's answer is no object.", code="issuer_unavailable")
        return document

    def _read(self, keys: list[Any]) -> Iterator[tuple[tuple[str, str], PublicKey]]:
        for described in keys:
            if not isinstance(described, dict) or not isinstance(described.get("kid"), str):
                continue
            if described.get("use", "sig") != "sig" or described.get("kty") not in ("RSA", "EC", "OKP"):
                continue
            key = _public_key(described)
            for algorithm in _fitting(key):
                if algorithm in self._algorithms and described.get("alg", algorithm) == algorithm and key is not None:
                    yield (described["kid"], algorithm), key


def _public_key(described: dict[str, Any]) -> PublicKey | None:
    """None for what is no public key of a kind that signs. A private key that somebody published is none either."""
    if "d" in described:
        return None
    try:
        key = jwt.PyJWK({name: value for name, value in described.items() if name != "alg"}).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return key if isinstance(key, RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey) else None


def _fitting(key: PublicKey | None) -> tuple[str, ...]:
    """The algorithms that the key may verify: an elliptic curve has one, a short or huge RSA key none."""
    match key:
        case RSAPublicKey():
            return _OF_RSA if key.key_size in _RSA_BITS else ()
        case EllipticCurvePublicKey():
            return (_OF_CURVE[key.curve.name],) if key.curve.name in _OF_CURVE else ()
        case Ed25519PublicKey():
            return ("EdDSA",)
        case _:
            return ()


def _scheme(issuer: str) -> str:
    """An issuer behind https has its keys there too."""
    return issuer.partition("//")[0] + "//"
