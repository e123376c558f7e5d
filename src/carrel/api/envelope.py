"""Around every request: its id, the security headers, one line in the log, the last resort for mistakes of ours."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carrel.api.problems import answer, internal

log = structlog.get_logger(__name__)

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'; "
    "require-trusted-types-for 'script'"
)
HEADERS: Final = (
    ("Content-Security-Policy", POLICY),
    ("Strict-Transport-Security", "max-age=31536000"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ("Cache-Control", "no-store"),
)
_CLIENT_LEFT: Final = 499
_ADDED: Final = "carrel.headers"


@dataclass(slots=True)
class _Told:
    """What the sender was told so far, and what it is to be told besides."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)


class Envelope:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, told, started = uuid.uuid4().hex, _Told(), time.perf_counter()

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                told.status = message["status"]
                _stamp(message, request_id, told.headers)
            await send(message)

        scope[_ADDED] = told.headers
        routed = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._answer(routed, receive, _bodiless(stamped) if scope["method"] == "HEAD" else stamped, told)
            finally:
                _note(scope["method"], routed, told, time.perf_counter() - started)
                structlog.contextvars.unbind_contextvars("tenant", "credential")

    async def _answer(self, scope: Scope, receive: Receive, send: Send, told: _Told) -> None:
        """An exception ends here: as a problem if nothing was sent yet, else as a connection that breaks off."""
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            told.status = _CLIENT_LEFT
        except Exception:  # whatever it was, the caller gets a problem and the server stays up
            log.exception("http.failed")
            if not told.status:
                await answer(internal(), scope["path"])(scope, receive, send)


def _bodiless(send: Send) -> Send:
    """HEAD is answered as GET is, with the same headers and without the content."""

    async def shortened(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return shortened


def add_headers(scope: Scope, headers: Mapping[str, str]) -> None:
    """To whatever the request will be answered with, a refusal too."""
    scope[_ADDED].update(headers)


def _stamp(message: Message, request_id: str, added: Mapping[str, str]) -> None:
    headers = MutableHeaders(raw=message.setdefault("headers", []))
    headers.update(added)
    for name, value in HEADERS:
        headers.setdefault(name, value)
    headers["X-Request-Id"] = request_id


def _note(method: str, scope: Scope, told: _Told, seconds: float) -> None:
    """The route's pattern, never the path: a path can hold a document's name."""
    route: Any = scope.get("route")
    log.info(
        "http.request",
        method=method,
        route=getattr(route, "path_format", None),
        status=told.status or _CLIENT_LEFT,
        took_ms=round(seconds * 1000, 1),
    )
