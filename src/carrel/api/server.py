"""Serving over HTTP: uvicorn with its limits set."""

import asyncio
import errno
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from carrel.domain.errors import Unavailable

_MOST_HEAD: Final = 64 * 1024
_MOST_CONNECTIONS: Final = 2_000
_KEEP_ALIVE: Final = 20
_FAREWELL: Final = 30


class BoundedProtocol(HttpToolsProtocol):
    """A request's line and headers end within 64 KB, or the connection does."""

    _head: int = 0
    _in_head: bool = True

    def data_received(self, data: bytes) -> None:
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
        super().on_headers_complete()


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


def listen(host: str, port: int) -> socket.socket:
    """A port of 0 takes a free one. Raises Unavailable `port_in_use`, `cannot_listen`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        code = "port_in_use" if error.errno == errno.EADDRINUSE else "cannot_listen"
        raise Unavailable(f"Cannot listen on {host}:{port}: {error.strerror}.", code=code) from error


async def serve(
    app: FastAPI,
    listener: socket.socket,
    *,
    stop: asyncio.Event | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Until `stop` is set, by somebody or by SIGINT or SIGTERM; requests that run then have 30 s to end.

    `ready` is called once requests are answered. Open the application before, and give `create_app` a context that is
    open already: then what goes wrong at the start is raised to you. Run it on uvloop, in the main thread.
    """
    await _Server(_config(app), stop or asyncio.Event(), ready).serve(sockets=[listener])


def _config(app: FastAPI) -> uvicorn.Config:
    options: dict[str, Any] = {"http": BoundedProtocol, "ws": "none", "lifespan": "on", "log_config": None}
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
