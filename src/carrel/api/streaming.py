"""Answers as server-sent events: `evidence`, then `delta` after `delta`, then `done`, or `error` with a problem."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from types import MappingProxyType
from typing import Any, Final, Generic, Self, TypeVar, assert_never, cast

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

_SILENCE: Final = 15.0
UNBUFFERED: Final = MappingProxyType({"X-Accel-Buffering": "no", "Cache-Control": "no-store"})

Item = TypeVar("Item")
Write = Callable[[Item, AsyncGenerator[Item]], AsyncGenerator[bytes]]

quoted: Final = json.JSONEncoder(ensure_ascii=False).encode


class EvidenceEvent(BaseModel):
    evidence: list[HitView]


class DeltaEvent(BaseModel):
    text: str


def described(name: str, kind: type[BaseModel]) -> dict[str, Any]:
    content = {"$ref": f"#/components/schemas/{kind.__name__}"}
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": content}
    return {"type": "object", "required": ["event", "data"], "properties": {"event": {"const": name}, "data": data}}


# For the description of the surface: the schema of one event.
EVENT: Final = MappingProxyType(
    {
        "oneOf": [
            described("evidence", EvidenceEvent),
            described("delta", DeltaEvent),
            described("done", ChatAnswer),
            described("error", Problem),
        ]
    }
)


class EventStream(StreamingResponse, Generic[Item]):
    """The first event is there before the response begins, so what refuses at once keeps its own status.

    A comment comes after each `silence`, in seconds: proxies close what says nothing. `write` makes frames of events;
    without it they are those of an answer.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        first: Item,
        events: AsyncGenerator[Item],
        *,
        silence: float = _SILENCE,
        write: Write[Item] | None = None,
    ) -> None:
        self._events = events
        self._frames = (write or cast("Write[Item]", _frames))(first, events)
        super().__init__(self._frames, headers=UNBUFFERED)
        self._silence = silence

    @classmethod
    async def begin(cls, events: AsyncGenerator[Item], *, write: Write[Item] | None = None) -> Self:
        """Raises what the first event raises."""
        return cls(await anext(events), events, write=write)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A client that leaves reads no more of the events; whether the work goes on is theirs to decide."""
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
        frame("evidence", EvidenceEvent(evidence=answer.evidence)),
        frame("delta", DeltaEvent(text=answer.answer)),
        frame("done", answer),
    )
    headers = {**UNBUFFERED, "Idempotency-Replayed": "true"}
    return Response(b"".join(frames), headers=headers, media_type=EventStream.media_type)


class _Line:
    """One sender at a time, and a comment in each silence."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._free = asyncio.Lock()
        self._clock = asyncio.get_running_loop().time
        self._spoke = self._clock()
        self._ended = False

    async def send(self, message: Message) -> None:
        async with self._free:
            await self._send(message)
            self._ended = not message.get("more_body", True)
            self._spoke = self._clock()

    async def ping(self, silence: float) -> None:
        """Sleeps through what is said meanwhile: nobody need wake it for each word."""
        while not self._ended:
            left = self._spoke + silence - self._clock()
            if left > 0:
                await asyncio.sleep(left)
            else:
                await self._comment()

    async def _comment(self) -> None:
        async with self._free:
            if not self._ended:
                await self._send({"type": "http.response.body", "body": b": ping\n\n", "more_body": True})
                self._spoke = self._clock()


def _frames(first: Event, events: AsyncGenerator[Event]) -> AsyncGenerator[bytes]:
    return ending_well(_told(first, events), _failed)


async def _told(first: Event, events: AsyncGenerator[Event]) -> AsyncGenerator[bytes]:
    yield _event(first)
    async with aclosing(events):
        async for event in events:
            yield _event(event)


async def ending_well(frames: AsyncGenerator[bytes], failed: Callable[[Problem], bytes]) -> AsyncGenerator[bytes]:
    """The status is sent already, so what goes wrong is told as the last event: nobody above could tell it."""
    try:
        async with aclosing(frames):
            async for frame in frames:
                yield frame
    except Refusal as refusal:
        yield failed(problem_of(refusal))
    except Exception:  # a stream that just stopped would look like a whole answer
        log.exception("http.failed")
        yield failed(internal())


def _event(event: Event) -> bytes:
    match event:
        case Evidence(passages):
            return frame("evidence", EvidenceEvent(evidence=[HitView.of(passage) for passage in passages]))
        case Delta(text):  # there are thousands a second
            return b'event: delta\ndata: {"text":%b}\n\n' % quoted(text).encode()
        case Done(remembered):
            return frame("done", ChatAnswer.of(remembered))
        case _:
            assert_never(event)


def _failed(problem: Problem) -> bytes:
    return frame("error", problem)


def frame(name: str, data: BaseModel) -> bytes:
    """JSON in one line: it holds no line break, so one `data:` is enough."""
    return f"event: {name}\ndata: {data.model_dump_json()}\n\n".encode()
