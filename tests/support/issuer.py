"""An OpenID Connect issuer on loopback: it signs, rotates its keys, lies as it is told, and can be down."""

import hmac
import json
import threading
import uuid
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from carrel.adapters.oidc import KeyRing, OidcIssuer, Trust
from carrel.adapters.web import Allowed, OutboundWeb, Rules

AUDIENCE = "carrel-console"
DISCOVERY = "/.well-known/openid-configuration"
ALGORITHMS = ("RS256", "ES256", "EdDSA")

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@cache
def an_rsa_key(number: int, bits: int = 2048) -> rsa.RSAPrivateKey:
    """The same for the same number: making one takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@dataclass
class Clock:
    """Seconds, which pass when the test says so."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class LoopbackIssuer:
    """`keys` are published by their id; `instead` answers a path with something else; `held` makes all wait."""

    port: int = 0
    keys: dict[str, PrivateKey] = field(default_factory=lambda: {"first": an_rsa_key(1)})
    instead: dict[str, Answer] = field(default_factory=dict)
    discovery: dict[str, Any] = field(default_factory=dict)
    more_keys: list[Any] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    held: threading.Event | None = None
    waiting: threading.Event = field(default_factory=threading.Event)
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def down(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, path: str) -> Answer:
        self.asked[path] += 1
        if self.held is not None:
            self.waiting.set()
            self.held.wait(30)
        if path in self.instead:
            return self.instead[path]
        documents: dict[str, Any] = {
            DISCOVERY: {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.discovery},
            "/keys": {"keys": [*(published(key, kid) for kid, key in self.keys.items()), *self.more_keys]},
        }
        if path not in documents:
            return Answer(404)
        return Answer(200, json.dumps(documents[path]).encode(), {"Content-Type": "application/json"})

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Good ones; None takes a claim away."""
        now = datetime.now(UTC)
        good = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": f"somebody-{uuid.uuid4()}",
            "iat": now,
            "exp": now + timedelta(minutes=5),
        }
        return {name: value for name, value in {**good, **changed}.items() if value is not None}

    def token(
        self, kid: str = "first", *, key: PrivateKey | None = None, algorithm: str = "RS256", **changed: Any
    ) -> str:
        headers = changed.pop("headers", {})
        return jwt.encode(
            self.claims(**changed), key or self.keys[kid], algorithm=algorithm, headers={"kid": kid, **headers}
        )

    def person(self, subject: str, *groups: str, **changed: Any) -> str:
        """A token of somebody with these groups."""
        return self.token(**{"sub": subject, "cognito:groups": list(groups), **changed})


@contextmanager
def an_issuer(**how: Any) -> Iterator[LoopbackIssuer]:
    issuer = LoopbackIssuer(**how)
    issuer.up()
    try:
        yield issuer
    finally:
        if issuer.held is not None:
            issuer.held.set()
        issuer.down()


def trusting(
    issuer: LoopbackIssuer,
    *,
    clock: Clock | None = None,
    allowed: str = "127.0.0.0/8",
    client: str | None = None,
    seconds: float = 5.0,
    algorithms: tuple[str, ...] = ALGORITHMS,
) -> OidcIssuer:
    """The product's own side of it, as an operator would set it."""
    rules = Rules(Allowed.read(allowed), frozenset({issuer.port}), connect=seconds, total=seconds)
    keys = KeyRing(OutboundWeb(rules), issuer.url, algorithms=algorithms, clock=clock or Clock())
    return OidcIssuer(Trust(issuer.url, AUDIENCE, algorithms, client=client), keys)


def published(key: PrivateKey, kid: str, **more: Any) -> dict[str, Any]:
    return {**_shown(key), "kid": kid, "use": "sig", **more}


def _shown(key: PrivateKey) -> dict[str, Any]:
    match key:
        case rsa.RSAPrivateKey():
            return dict(RSAAlgorithm.to_jwk(key.public_key(), as_dict=True))
        case ec.EllipticCurvePrivateKey():
            return dict(ECAlgorithm.to_jwk(key.public_key(), as_dict=True))
        case _:
            return dict(OKPAlgorithm.to_jwk(key.public_key(), as_dict=True))


def by_hand(header: dict[str, Any], claims: dict[str, Any], *, secret: bytes | None = None) -> str:
    """A token that no library would make; without a secret its signature is empty."""
    plain = {name: value.timestamp() if isinstance(value, datetime) else value for name, value in claims.items()}
    signed = ".".join(_base64(json.dumps(part).encode()) for part in (header, plain))
    return f"{signed}.{_base64(hmac.digest(secret, signed.encode(), sha256)) if secret else ''}"


def public_pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _base64(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _handler(issuer: LoopbackIssuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = issuer.answer(self.path)
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(answer.body)
            except OSError:  # the other side has had enough
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    return Handler
