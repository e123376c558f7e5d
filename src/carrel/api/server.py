"""Serving over HTTP: uvicorn with its limits set."""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MOST_HEAD: Final = 64 * 1024
_MOST_CONNECTIONS: Final = 2_000
_KEEP_ALIVE: Final = 20
_FAREWELL: Final = 30


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: for a head to be complete, and for the next byte of a body to come."""

    head: float = 10.0
    body: float = 30.0


_PATIENCE: Final = Patience()


class BoundedProtocol(HttpToolsProtocol):
    """A request's line and headers end within 64 KB and some seconds, and its body goes on; or the connection ends.

    Between two requests uvicorn's keep-alive runs, but only until any byte comes: from then on the head is awaited.
    """

    _head: int = 0
    _in_head: bool = True
    _heard: float = 0.0
    _head_timer: asyncio.TimerHandle | None = None
    _body_timer: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, patience: Patience, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._patience = patience

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head_timer is None and self.cycle.response_complete:
            self._await_head()
        if self._in_head:  # a piece that ends a body may begin the next head: it is not counted
            self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head > _MOST_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        self._in_head, self._head = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timers()
        self._heard = self.loop.time()
        self._await_body(self._patience.body)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._heard = self.loop.time()
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
        super().on_message_complete()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self._patience.head, self.transport.close)

    def _await_body(self, seconds: float) -> None:
        self._body_timer = self.loop.call_later(seconds, self._look_at_body)

    def _look_at_body(self) -> None:
        """Nothing can come while we do not read, or have not told the client to go on."""
        if self.flow.read_paused or self.cycle.waiting_for_100_continue:
            self._await_body(self._patience.body)
        elif (left := self._heard + self._patience.body - self.loop.time()) > 0:
            self._await_body(left)
        else:
            self.transport.close()

    def _stop_timers(self) -> None:
        for timer in (self._head_timer, self._body_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._body_timer = None


class _Server(uvicorn.Server):
    """Stops when `stop` is set, and sets it when a signal comes, so that others can stop with it."""

    def __init__(self, config: uvicorn.Config, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._stop = stop
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._stop.is_set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._stop.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike uvicorn's own it does not raise the signal again at the end: whoever called has to close things."""
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)


async def serve(
    app: FastAPI,
    listener: socket.socket,
    *,
    stop: asyncio.Event | None = None,
    ready: Callable[[], None] = lambda: None,
    patience: Patience = _PATIENCE,
) -> None:
    """Until `stop` is set, by somebody or by SIGINT or SIGTERM; requests that run then have 30 s to end.

    `ready` is called once requests are answered. Open the application before, and give `create_app` a context that is
    open already: then what goes wrong at the start is raised to you. Run it on uvloop, in the main thread.
    """
    await _Server(_config(app, patience), stop or asyncio.Event(), ready).serve(sockets=[listener])


def _config(app: FastAPI, patience: Patience) -> uvicorn.Config:
    protocol = partial(BoundedProtocol, patience=patience)
    options: dict[str, Any] = {"http": protocol, "ws": "none", "lifespan": "on", "log_config": None}
    return uvicorn.Config(
        app,
        **options,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_FAREWELL,
    )
