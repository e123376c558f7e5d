"""Serving over HTTP: uvicorn with its limits set."""

import asyncio
import resource
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from carrel.api.door import Door
from carrel.api.envelope import Envelope
from carrel.api.problems import answer, problem_of
from carrel.domain.errors import Unavailable

_MOST_HEAD: Final = 64 * 1024
_MOST_CONNECTIONS: Final = 2_000
_OTHER_FILES: Final = 500
_NO_LINGERING: Final = struct.pack("ii", 1, 0)
_KEEP_ALIVE: Final = 20
_FAREWELL: Final = 30
_LOOK: Final = 0.02
_LAST_CALL: Final = 50  # looks in which clients that keep their connections learn that this is the last answer
_LATECOMERS: Final = 15  # looks for the request of a connection that was taken at the very end
_SLOWEST: Final = 3  # times as long as so many looks take where nothing else is done


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: for a head to be complete, for the next byte of a body to come, for a client to take what it is sent.

    `connections` is how many there may be; whoever comes then is told to come back.
    """

    head: float = 10.0
    body: float = 30.0
    taking: float = 60.0
    connections: int = _MOST_CONNECTIONS


_PATIENCE: Final = Patience()


class BoundedProtocol(HttpToolsProtocol):
    """A request's line and headers end within 64 KB and some seconds, and its body goes on; or the connection ends.

    So it does when the client takes nothing of what it is sent: a stream that nobody reads would hold a place for ever.
    Between two requests uvicorn's keep-alive runs, but only until any byte comes: from then on the head is awaited.
    An answer's body does not wait until its head was acknowledged: not every event loop sees to that.
    """

    _head: int = 0
    _in_head: bool = True
    _heard: float = 0.0
    _head_timer: asyncio.TimerHandle | None = None
    _body_timer: asyncio.TimerHandle | None = None
    _taking_timer: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, patience: Patience, leaving: asyncio.Event, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._patience = patience
        self._leaving = leaving

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        if len(self.connections) > self._patience.connections:
            self.app = _CROWDED
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        self._stop_taking()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self._taking_timer = self.loop.call_later(self._patience.taking, self._cut)
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stop_taking()
        super().resume_writing()

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
        if self._leaving.is_set():
            self.cycle.keep_alive = False

    def answer_for_the_last_time(self) -> None:
        """The connection ends with the answer that is awaited; one that waits for a request may bring it still."""
        if not self.is_new and not self.cycle.response_complete:
            self.shutdown()

    @property
    def is_new(self) -> bool:
        """No request has come yet."""
        return self.cycle is None

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

    def _cut(self) -> None:
        """At once and for good: an orderly end would wait in the system, with all that was not taken, for minutes."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
        self.transport.abort()

    def _stop_taking(self) -> None:
        if self._taking_timer is not None:
            self._taking_timer.cancel()
            self._taking_timer = None


async def _crowded(scope: Scope, receive: Receive, send: Send) -> None:
    """Says so and ends the connection, whatever was asked."""
    refusal = Unavailable("The server has all the connections that it can serve.", code="too_many_connections")
    await answer(problem_of(refusal), scope["path"], {"Connection": "close"})(scope, receive, send)


_CROWDED: Final = Envelope(_crowded)


class _Server(uvicorn.Server):
    """Stops when `stop` is set, and sets it when a signal comes, so that others can stop with it.

    No request that was sent is lost in the end: for a second, or a little more, every answer asks the client to end its
    connection, and only then is nobody let in any more. Uvicorn alone would cut idle connections at once, and the next
    request of each with them.
    """

    def __init__(
        self, config: uvicorn.Config, *, stop: asyncio.Event, leaving: asyncio.Event, ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._stop = stop
        self._leaving = leaving
        self._ready = ready
        self._doors: list[Door] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])
        protocol = partial(
            cast("type[BoundedProtocol]", self.config.http_protocol_class),
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        self.lifespan.state["leaving"] = self._leaving
        self._doors = [Door(listener, protocol) for listener in sockets or ()]
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._stop.is_set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._leaving.set()
        for connection in self._connections():
            connection.answer_for_the_last_time()
        await self._while(lambda: bool(self._connections()), looks=_LAST_CALL)
        for door in (*self._doors, *(sockets or ())):
            door.close()
        await self._while(self._somebody_is_new, looks=_LATECOMERS)
        await super().shutdown(sockets)

    def _somebody_is_new(self) -> bool:
        return any(door.is_passed for door in self._doors) or any(one.is_new for one in self._connections())

    async def _while(self, busy: Callable[[], bool], *, looks: int) -> None:
        """As many looks, also on a busy machine: while it gives us no time we have not listened either.

        Not without end, nor when a second signal asked for a quick one.
        """
        now = asyncio.get_running_loop().time
        end = now() + looks * _LOOK * _SLOWEST
        for _ in range(looks):
            if self.force_exit or not busy() or now() > end:
                break
            await asyncio.sleep(_LOOK)

    def _connections(self) -> set[BoundedProtocol]:
        return cast("set[BoundedProtocol]", self.server_state.connections)

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
    app: ASGIApp,
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
    _demand_files(patience.connections)
    leaving = asyncio.Event()
    config = _config(app, patience, leaving)
    await _Server(config, stop=stop or asyncio.Event(), leaving=leaving, ready=ready).serve(sockets=[listener])


def _demand_files(connections: int) -> None:
    """Each connection is an open file, and the database, the index and the bytes of documents need some as well."""
    wanted = connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted and soft != resource.RLIM_INFINITY:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _config(app: ASGIApp, patience: Patience, leaving: asyncio.Event) -> uvicorn.Config:
    protocol = partial(BoundedProtocol, patience=patience, leaving=leaving)
    options: dict[str, Any] = {"http": protocol, "ws": "none", "lifespan": "on", "log_config": None}
    return uvicorn.Config(
        app,
        **options,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_FAREWELL,
    )
