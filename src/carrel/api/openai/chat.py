"""Chat completions: the same answers as of /v1/chat, whole or as they are written, in OpenAI's words."""

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Final, assert_never
from uuid import uuid4

from fastapi import APIRouter, Request, Response

from carrel.api import openai_error
from carrel.api.idempotency import IdempotencyKey, Once
from carrel.api.limits import counted, warn
from carrel.api.openai.chat_shapes import (
    ChunkChoice,
    ChunkDelta,
    Completion,
    CompletionChunk,
    CompletionRequest,
    CompletionUsage,
    Told,
    cited,
)
from carrel.api.openai.models import Chosen, chosen
from carrel.api.problems import Problem
from carrel.api.security import GuardedRoute, MayAsk, still_admitted
from carrel.api.state import App
from carrel.api.streaming import UNBUFFERED, EventStream, ending_well, quoted
from carrel.ask.answer import Delta
from carrel.ask.pipeline import Allowed, Done, Event, Evidence
from carrel.domain.access import Principal
from carrel.domain.answers import Remembered
from carrel.domain.errors import Invalid
from carrel.library.sources import Replayed
from carrel.wiring import Application

router = APIRouter(prefix="/openai/v1/chat", tags=["openai"], route_class=GuardedRoute)

_DONE: Final = b"data: [DONE]\n\n"
_TEXT: Final = "\x00"  # which no model's name holds
_STREAMED: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The answer; with `stream` its chunks as server-sent events, and `[DONE]` at the end",
        "content": {"text/event-stream": {"schema": {"$ref": "#/components/schemas/CompletionChunk"}}},
    }
}


@router.post("/completions", response_model=Completion, responses={**_STREAMED, 404: {}})
async def openai_complete(  # noqa: PLR0917 - FastAPI calls it by name
    request: Request, principal: MayAsk, app: App, wish: CompletionRequest, once: IdempotencyKey
) -> Completion | Response:
    """An answer with citations, an honest refusal with guidance, or the best passages when the model failed.

    `carrel.status` tells which: for the client each of them is a message that ends with `stop`.
    """
    asked = _Asked(request, wish, once, await chosen(principal, app, wish.model))
    events = asked.answered(principal, app)
    if wish.stream:
        turn = counted(app.gate, principal, events)
        return await _streamed(app.turns.begin(turn, check=partial(still_admitted, request)), asked)
    async with aclosing(events):
        (done,) = [event async for event in events if isinstance(event, Done)]
    return asked.completion(done.remembered)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request, and which bot it is for."""

    request: Request
    wish: CompletionRequest
    once: Once
    model: Chosen

    def completion(self, remembered: Remembered) -> Completion:
        return Completion.of(remembered, self.model.name)

    async def answered(self, principal: Principal, app: Application) -> AsyncGenerator[Event]:
        allowed = await self._allowed(principal, app)
        memo = self.once.memo(self.wish, 200, self.completion)
        async with aclosing(app.asking.chat(allowed, memo=memo)) as events:
            async for event in events:
                if isinstance(event, Evidence):
                    warn(self.request, event.warnings)
                yield event

    async def _allowed(self, principal: Principal, app: Application) -> Allowed:
        if self.wish.messages[-1].role != "user":
            raise Invalid("The last message is the question, by `user`.", code="invalid", field="messages")
        try:
            return await app.asking.allow(principal, self.wish.wish(self.model.bot))
        except Invalid as refusal:
            raise Invalid(refusal.detail, code=refusal.code, field="messages") from refusal


async def _streamed(events: AsyncGenerator[Event], asked: _Asked) -> Response:
    options = asked.wish.stream_options
    line = _Line(asked.model.name, tells_usage=options is not None and options.include_usage)
    try:
        return await EventStream.begin(events, write=line.frames)
    except Replayed as replayed:
        whole = Completion.model_validate(replayed.answer.body)
        headers = {**UNBUFFERED, "Idempotency-Replayed": "true"}
        return Response(b"".join(line.repeated(whole)), headers=headers, media_type=EventStream.media_type)


@dataclass(frozen=True)
class _Line:
    """The chunks of one answer, which have one id."""

    model: str
    tells_usage: bool
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4()}")
    created: int = field(default_factory=lambda: int(time.time()))

    @cached_property
    def _around(self) -> tuple[bytes, bytes]:
        """What stands before and behind the text of a piece: there are thousands a second, alike in all else."""
        before, _, behind = self._chunk(ChunkDelta(content=_TEXT)).rpartition(quoted(_TEXT).encode())
        return before, behind

    def frames(self, first: Event, events: AsyncGenerator[Event]) -> AsyncGenerator[bytes]:
        return ending_well(self._told(first, events), _failed)

    async def _told(self, first: Event, events: AsyncGenerator[Event]) -> AsyncGenerator[bytes]:
        for frame in self._event(first):
            yield frame
        async with aclosing(events):
            async for event in events:
                for frame in self._event(event):
                    yield frame

    def repeated(self, whole: Completion) -> Iterator[bytes]:
        """Of a request that was answered before: the whole answer in one piece."""
        message = whole.choices[0].message
        yield self._chunk(ChunkDelta(role="assistant", content=""))
        yield self._chunk(ChunkDelta(content=message.content))
        yield from self._end(ChunkDelta(annotations=message.annotations), whole.carrel, whole.usage)

    def _event(self, event: Event) -> Iterator[bytes]:
        match event:
            case Evidence():
                yield self._chunk(ChunkDelta(role="assistant", content=""))
            case Delta(text):
                before, behind = self._around
                yield before + quoted(text).encode() + behind
            case Done(remembered):
                answer = remembered.answer
                last = ChunkDelta(annotations=cited(answer))
                yield from self._end(last, Told.of(remembered), CompletionUsage.of(answer.usage))
            case _:
                assert_never(event)

    def _end(self, last: ChunkDelta, told: Told, usage: CompletionUsage) -> Iterator[bytes]:
        yield self._chunk(last, told)
        if self.tells_usage:
            yield _written(CompletionChunk(id=self.id, created=self.created, model=self.model, choices=[], usage=usage))
        yield _DONE

    def _chunk(self, delta: ChunkDelta, told: Told | None = None) -> bytes:
        choice = ChunkChoice(delta=delta, finish_reason="stop" if told else None)
        return _written(
            CompletionChunk(id=self.id, created=self.created, model=self.model, choices=[choice], carrel=told)
        )


def _failed(problem: Problem) -> bytes:
    return _frame(openai_error.view(problem.status, problem.code, problem.detail, None).model_dump_json())


def _written(chunk: CompletionChunk) -> bytes:
    """Without what the client would take for something because it is there."""
    unsaid: dict[str, Any] = {name: True for name in ("usage", "carrel") if getattr(chunk, name) is None}
    for choice in chunk.choices:
        silent = {name for name in ChunkDelta.model_fields if getattr(choice.delta, name) is None}
        unsaid["choices"] = {"__all__": {"delta": silent}}
    return _frame(chunk.model_dump_json(exclude=unsaid))


def _frame(json: str) -> bytes:
    """JSON in one line: it holds no line break, so one `data:` is enough."""
    return f"data: {json}\n\n".encode()
