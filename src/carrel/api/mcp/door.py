"""The SDK behind the route. It is imported for the first request that comes: 20 MB and half a second of a processor.

Each request stands alone: nothing is kept between two, so any process of the deployment can answer the next one.
"""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

import structlog
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

log = structlog.get_logger(__name__)

_PAUSE: Final = 0.1  # seconds


class Engine(Protocol):
    """The SDK's session manager: `run` while the server lives, `handle_request` for each request."""

    def run(self) -> AbstractAsyncContextManager[None]: ...

    async def handle_request(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class McpDoor:
    """One for each application; `run` belongs beside it as long as it is open."""

    def __init__(self) -> None:
        self._making = asyncio.Lock()
        self._engine: Engine | None = None
        self._wanted = asyncio.Event()
        self._ready = asyncio.Event()

    async def run(self) -> None:
        """Until it is cancelled. What breaks the engine breaks off what that answers, and no more: it begins anew."""
        await self._wanted.wait()
        while True:
            assert self._engine is not None
            try:
                async with self._engine.run():
                    self._ready.set()
                    await asyncio.Event().wait()
            except Exception:  # the server would end with it
                log.exception("mcp.broke_off")
            self._ready.clear()
            await asyncio.sleep(_PAUSE)
            self._engine = await asyncio.to_thread(_make)

    async def passed(self, body: bytes) -> Response:
        """A response that lets the SDK answer the request, whose body has been read."""
        async with self._making:
            if self._engine is None:
                self._engine = await asyncio.to_thread(_make)
                self._wanted.set()
        await self._ready.wait()
        return _Passed(self._engine, body)


def _make() -> Engine:
    from carrel.api.mcp.server import engine

    return engine()


class _Passed(Response):
    def __init__(self, engine: Engine, body: bytes) -> None:
        super().__init__()
        self._engine = engine
        self._read = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._engine.handle_request(_as_json(scope), _again(self._read, receive), send)


def _as_json(scope: Scope) -> Scope:
    """What the body is was judged when it was read, and the SDK knows fewer ways to say it."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
    return {**scope, "headers": [*headers, (b"content-type", b"application/json")]}


def _again(body: bytes, receive: Receive) -> Receive:
    """The body as one message; after it whatever comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def received() -> Message:
        return waiting.pop() if waiting else await receive()

    return received
