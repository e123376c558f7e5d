"""The server: it understands a request in its wire, and answers in the manner of the model's script."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from support.model_server import anthropic, bedrock, ollama, openai
from support.model_server.http import Connection, Reply, Request
from support.model_server.record import Heard, Told
from support.model_server.scripts import BEFORE, Ending, Fault, Script, Signal, by_name
from support.model_server.voices import embedding, tokens
from support.model_server.wire import Count, Reason, Refused, Wire


@dataclass(frozen=True)
class Door:
    """One way in: how a request there is read, and how it is answered and refused."""

    wire: str
    read: Callable[[Request], Told]
    refused: Callable[[Fault], Refused]
    speaks: Callable[[Told], Wire] | None = None
    embedded: Callable[[Told, Sequence[Sequence[float]], Count], Any] | None = None


_DOORS: Final = {
    "/v1/chat/completions": Door("openai", openai.chat, openai.refused, openai.OpenAiWire),
    "/v1/embeddings": Door("openai", openai.texts, openai.refused, embedded=openai.embedded),
    "/v1/messages": Door("anthropic", anthropic.chat, anthropic.refused, anthropic.AnthropicWire),
    "/api/chat": Door("ollama", ollama.chat, ollama.refused, ollama.OllamaWire),
    "/api/embed": Door("ollama", ollama.texts, ollama.refused, embedded=ollama.embedded),
    "/converse": Door("bedrock", bedrock.chat, bedrock.refused, bedrock.BedrockWire),
    "/converse-stream": Door("bedrock", bedrock.chat, bedrock.refused, bedrock.BedrockWire),
    "/invoke": Door("bedrock", bedrock.texts, bedrock.refused, embedded=bedrock.embedded),
}


@dataclass
class ModelServer:
    """Everything here may be changed and read from any thread while it runs.

    `scripts` by the model's name. `keys` are good; None takes any. `first_token` in seconds and `rate` in
    tokens per second hold where a script says nothing; without a rate it speaks as fast as it is heard. With
    `remembers` false the requests are counted and not kept.
    """

    port: int = 0
    first_token: float = 0.0
    rate: float | None = None
    scripts: dict[str, Script] = field(default_factory=by_name)
    keys: frozenset[str] | None = None
    heard: list[Heard] = field(default_factory=list)
    remembers: bool = True
    count: Counter[str] = field(default_factory=Counter)
    _connections: set[Connection] = field(default_factory=set)
    _asked: Counter[str] = field(default_factory=Counter)
    _loop: asyncio.AbstractEventLoop = field(init=False)

    @property
    def url(self) -> str:
        """Of Ollama, Anthropic and Bedrock, whose clients add the whole path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai(self) -> str:
        return f"{self.url}/v1"

    @property
    def connections(self) -> int:
        """Open now; clients keep some for their next request."""
        return len(self._connections)

    @property
    def answering(self) -> int:
        """Requests that have no end yet."""
        return self.count["begun"] - self.count["ended"]

    async def start(self) -> asyncio.Server:
        """In this event loop."""
        self._loop = asyncio.get_running_loop()
        server = await self._loop.create_server(
            lambda: Connection(self._answer, self._connections), "127.0.0.1", self.port, backlog=512
        )
        self.port = server.sockets[0].getsockname()[1]
        return server

    def hang_up(self) -> None:
        """All connections, at once and from any thread: a provider that dies."""
        self._loop.call_soon_threadsafe(self._close_all)

    def _close_all(self) -> None:
        for connection in list(self._connections):
            connection.close()

    async def _answer(self, request: Request, reply: Reply) -> None:
        if request.method == "GET":
            await reply.whole(*self._shown(request.path))
            return
        door = _DOORS.get(request.path) or _DOORS.get("/" + request.path.rpartition("/")[2])
        if door is None:
            await reply.whole(404, b'{"error": {"message": "Unknown path."}}')
            return
        told = door.read(request)
        heard = Heard(door.wire, request.path, request.headers, request.body, told)
        self.count["begun"] += 1
        if self.remembers:
            self.heard.append(heard)
        try:
            await _Turn(self, door, heard, reply).take()
        except asyncio.CancelledError:
            heard.left = True
            raise
        finally:
            self.count.update(ended=1, input_tokens=heard.input_tokens, output_tokens=heard.output_tokens)
            heard.ended.set()

    def _shown(self, path: str) -> tuple[int, bytes]:
        names = [*self.scripts]
        pages = {
            "/v1/models": openai.models(names),
            "/api/tags": ollama.models(names),
            "/tally": {**self.count, "connections": self.connections, "answering": self.answering},
        }
        return (200, json.dumps(pages[path]).encode()) if path in pages else (404, b"{}")

    def script_for(self, told: Told) -> Script:
        """With the fault that this request meets, if any."""
        self._asked[told.model] += 1
        if self.keys is not None and told.key not in self.keys:
            return Script(fault=Fault.KEY)
        script = self.scripts.get(told.model, Script(fault=Fault.MODEL))
        if script.times is not None and self._asked[told.model] > script.times:
            return replace(script, fault=None)
        return script


class _Turn:
    """One request and what is said to it."""

    def __init__(self, server: ModelServer, door: Door, heard: Heard, reply: Reply) -> None:
        self._server = server
        self._door = door
        self._heard = heard
        self._reply = reply
        self._script = server.script_for(heard.told)
        self._first = server.first_token if self._script.first_token is None else self._script.first_token
        self._rate = self._script.rate or server.rate
        self._reason: Reason = "stop"

    async def take(self) -> None:
        script, told = self._script, self._heard.told
        await self._hold_at(BEFORE)
        if script.page is not None:
            await self._page()
        elif script.fault is not None:
            await self._refuse(script.fault)
        elif self._door.embedded is not None:
            await self._embed()
        elif self._door.speaks is not None:
            self._heard.input_tokens = tokens(told.everything)
            each = told.wants_usage_each or script.usage_each
            wire = self._door.speaks(replace(told, wants_usage_each=each))
            await (self._stream(wire) if told.stream else self._say_whole(wire))

    async def _page(self) -> None:
        page = self._script.page
        assert page is not None
        self._heard.status = page.status
        location = {"Location": page.location} if page.location else {}
        await self._reply.whole(page.status, page.content, page.media_type, **location)

    async def _refuse(self, fault: Fault) -> None:
        refused = self._door.refused(fault)
        self._heard.status = refused.status
        after = self._script.retry_after
        wait = {} if after is None else {"Retry-After": f"{after:g}"}
        await self._reply.whole(refused.status, json.dumps(refused.body).encode(), **refused.headers, **wait)

    async def _embed(self) -> None:
        told, heard = self._heard.told, self._heard
        assert self._door.embedded is not None
        heard.input_tokens = sum(tokens(text) for text in told.texts)
        vectors = [embedding(text, told.dimensions or 0) for text in told.texts]
        if self._script.spoils is not None:
            vectors = self._script.spoils(vectors)
        heard.status = 200
        body = self._door.embedded(told, vectors, Count(heard.input_tokens, 0))
        await self._reply.whole(200, json.dumps(body).encode())

    async def _say_whole(self, wire: Wire) -> None:
        async for _ in self._spoken():
            pass
        if self._script.ends is Ending.CUT:
            await self._reply.cut()
            return
        self._heard.status = 200
        body = wire.whole(self._heard.said, self._reason, self._count)
        await self._reply.whole(200, json.dumps(body).encode())

    async def _stream(self, wire: Wire) -> None:
        self._heard.status = 200
        await self._reply.begin(wire.media_type)
        await self._reply.chunk(wire.begin(self._count))
        async for piece in self._spoken():
            await self._reply.chunk(wire.piece(piece, self._count))
        await self._finish(wire)

    async def _finish(self, wire: Wire) -> None:
        match self._script.ends:
            case Ending.WHOLE:
                await self._reply.chunk(wire.end(self._reason, self._count))
            case Ending.FAULT:
                await self._reply.chunk(wire.fault(Fault.OVERLOADED))
            case Ending.GARBLED:
                await self._reply.chunk(wire.garbled())
            case Ending.UNFINISHED:
                pass
            case Ending.CUT:
                await self._reply.cut()
                return
        await self._reply.end()

    async def _spoken(self) -> AsyncIterator[str]:
        """Each token when it is due, until the text, the script or the request's bound ends it."""
        told, script, heard = self._heard.told, self._script, self._heard
        bound = script.after if script.ends is not Ending.WHOLE else None
        begun = time.monotonic() + self._first
        await asyncio.sleep(self._first)
        await self._hold_at(0)
        for number, piece in enumerate(script.says(told)):
            if number == bound:
                return
            if number == told.most_tokens:
                self._reason = "length"
                return
            due = begun + number / self._rate if self._rate else 0.0
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            heard.output_tokens, heard.said = number + 1, heard.said + piece
            yield piece
            await self._hold_at(number + 1)

    async def _hold_at(self, number: int) -> None:
        hold = self._script.hold
        if hold is not None and hold.after == number:
            hold.reached.set()
            await hold.release.wait()

    @property
    def _count(self) -> Count:
        return Count(self._heard.input_tokens, self._heard.output_tokens)


@asynccontextmanager
async def a_model_server(**how: Any) -> AsyncIterator[ModelServer]:
    """In a thread with an event loop of its own, so that a busy test does not make a provider slow."""
    server = ModelServer(**how)
    ready, stop = Signal(), Signal()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(server, ready, stop)), daemon=True)
    thread.start()
    await ready.wait()
    try:
        yield server
    finally:
        stop.set()
        await asyncio.to_thread(thread.join)


async def _serve(server: ModelServer, ready: Signal, stop: Signal) -> None:
    listening = await server.start()
    ready.set()
    await stop.wait()
    listening.close()
    server.hang_up()
