"""Answers as server-sent events: `evidence`, then `delta` after `delta`, then `done`, or `error` with a problem."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from types import MappingProxyType
from typing import Any, Final, Self, assert_never

import structlog
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from carrel.api.problems import Problem, internal, problem_of
from carrel.api.schemas.answers import ChatAnswer, HitView
from carrel.ask.answer import Delta
from carrel.ask.pipeline import Done, Event, Evidence
from carrel.domain.errors import Refusal

log = structlog.get_logger(__name__)

Check = Callable[[], Awaitable[None]]

_SILENCE: Final = 15.0
_LOOK: Final = 4.0
_UNBUFFERED: Final = MappingProxyType({"X-Accel-Buffering": "no"})


class EvidenceEvent(BaseModel):
    evidence: list[HitView]


class DeltaEvent(BaseModel):
    text: str


def _described(name: str, kind: type[BaseModel]) -> dict[str, Any]:
    content = {"$ref": f"#/components/schemas/{kind.__name__}"}
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": content}
    return {"type": "object", "required": ["event", "data"], "properties": {"event": {"const": name}, "data": data}}


# For the description of the surface: the schema of one event.
EVENT: Final = MappingProxyType(
    {
        "oneOf": [
            _described("evidence", EvidenceEvent),
            _described("delta", DeltaEvent),
            _described("done", ChatAnswer),
            _described("error", Problem),
        ]
    }
)


class EventStream(StreamingResponse):
    """The first event is there before the response begins, so what refuses at once keeps its own status.

    A comment comes after each `silence`, in seconds: proxies close what says nothing. `check` is asked every `look`
    seconds; what it raises ends the stream, as its last event.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        first: Event,
        events: AsyncGenerator[Event],
        *,
        check: Check | None = None,
        silence: float = _SILENCE,
        look: float = _LOOK,
    ) -> None:
        self._events = events
        self._frames = _frames(first, _watched(events, check, look))
        super().__init__(self._frames, headers=_UNBUFFERED)
        self._silence = silence

    @classmethod
    async def begin(cls, events: AsyncGenerator[Event], *, check: Check | None = None, look: float = _LOOK) -> Self:
        """Raises what the first event raises."""
        return cls(await anext(events), events, check=check, look=look)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A client that leaves ends the work."""
        async with aclosing(self._events), aclosing(self._frames):
            await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        line = _Line(send)
        pinging = asyncio.create_task(line.ping(self._silence))
        try:
            await super().stream_response(line.send)
        finally:
            pinging.cancel()
            await asyncio.wait({pinging})


def repeated(answer: ChatAnswer) -> Response:
    """The events of a request that was answered before, the whole answer in one `delta`."""
    frames = (
        _frame("evidence", EvidenceEvent(evidence=answer.evidence)),
        _frame("delta", DeltaEvent(text=answer.answer)),
        _frame("done", answer),
    )
    headers = {**_UNBUFFERED, "Idempotency-Replayed": "true"}
    return Response(b"".join(frames), headers=headers, media_type=EventStream.media_type)


class _Line:
    """One sender at a time, and a comment in each silence."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._free = asyncio.Lock()
        self._spoke = asyncio.Event()
        self._ended = False

    async def send(self, message: Message) -> None:
        async with self._free:
            await self._send(message)
            self._ended = not message.get("more_body", True)
        self._spoke.set()

    async def ping(self, silence: float) -> None:
        while not self._ended:
            self._spoke.clear()
            try:
                await asyncio.wait_for(self._spoke.wait(), silence)
            except TimeoutError:
                await self._comment()

    async def _comment(self) -> None:
        async with self._free:
            if not self._ended:
                await self._send({"type": "http.response.body", "body": b": ping\n\n", "more_body": True})


async def _watched(events: AsyncGenerator[Event], check: Check | None, look: float) -> AsyncGenerator[Event]:
    """The events, until the check refuses: then nothing more of them. Raises what the check raises."""
    if check is None:
        async for event in events:
            yield event
        return
    async with _looking(check, look) as refused:
        while (following := await _next_unless(events, refused)) is not None:
            yield following


@asynccontextmanager
async def _looking(check: Check, look: float) -> AsyncIterator["asyncio.Task[None]"]:
    """A task that ends only by what the check raises."""

    async def keep_looking() -> None:
        while True:
            await asyncio.sleep(look)
            await check()

    task = asyncio.create_task(keep_looking())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _next_unless(events: AsyncGenerator[Event], refused: "asyncio.Task[None]") -> Event | None:
    """The next event, None at the end. Raises what ended the other task, and then waits for no event any more."""
    coming = asyncio.ensure_future(anext(events, None))
    try:
        await asyncio.wait({coming, refused}, return_when=asyncio.FIRST_COMPLETED)
        if refused.done():
            refused.result()
        return await coming
    finally:
        if not coming.done():
            coming.cancel()
            await asyncio.wait({coming})


async def _frames(first: Event, events: AsyncGenerator[Event]) -> AsyncGenerator[bytes]:
    """The status is sent already, so what goes wrong is told as the last event: nobody above could tell it."""
    yield _event(first)
    try:
        async with aclosing(events):
            async for event in events:
                yield _event(event)
    except Refusal as refusal:
        yield _failed(problem_of(refusal))
    except Exception:  # a stream that just stopped would look like a whole answer
        log.exception("http.failed")
        yield _failed(internal())


def _event(event: Event) -> bytes:
    match event:
        case Evidence(passages):
            return _frame("evidence", EvidenceEvent(evidence=[HitView.of(passage) for passage in passages]))
        case Delta(text):
            return _frame("delta", DeltaEvent(text=text))
        case Done(remembered):
            return _frame("done", ChatAnswer.of(remembered))
        case _:
            assert_never(event)


def _failed(problem: Problem) -> bytes:
    return _frame("error", problem)


def _frame(name: str, data: BaseModel) -> bytes:
    """JSON in one line: it holds no line break, so one `data:` is enough."""
    return f"event: {name}\ndata: {data.model_dump_json()}\n\n".encode()
