"""Search and chat."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from carrel.api.idempotency import IdempotencyKey, Once
from carrel.api.limits import counted, warn
from carrel.api.schemas.answers import ChatAnswer, ChatRequest, Hits, SearchRequest
from carrel.api.security import GuardedRoute, MayAsk, MaySearchAcross, principal_of, still_admitted
from carrel.api.state import App
from carrel.api.streaming import EVENT, EventStream, repeated
from carrel.ask.pipeline import Done, Event, Evidence
from carrel.library.sources import Replayed
from carrel.wiring import Application

router = APIRouter(prefix="/v1", route_class=GuardedRoute)

_EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The answer; with `stream` the events `evidence`, `delta`, `done` and `error`",
        "content": {"text/event-stream": {"schema": dict(EVENT)}},
    }
}


@router.post("/search", tags=["search"], responses={404: {}})
async def search(principal: MaySearchAcross, app: App, wish: SearchRequest) -> Hits:
    """The chunks that fit best. Search never refuses: what fits badly has a low confidence.

    A person who has not chosen a tenant names those to search in `tenants`.
    """
    return Hits.of(await app.across.search(principal, wish.wish()), explain=wish.explain)


@router.post("/chat", tags=["chat"], response_model=ChatAnswer, responses={**_EVENTS, 404: {}})
async def chat(  # noqa: PLR0917 - FastAPI calls it by name
    request: Request, principal: MayAsk, app: App, wish: ChatRequest, once: IdempotencyKey
) -> ChatAnswer | Response:
    """An answer with citations, an honest refusal with guidance, or the best passages when the model failed.

    A stream whose reader leaves is finished and kept in its chat; a repeated one gives the answer in one piece.
    """
    events = _answered(request, app, wish, once)
    if wish.stream:
        turn = counted(app.gate, principal, events)
        return await _streamed(app.turns.begin(turn, check=partial(still_admitted, request)))
    async with aclosing(events):
        (done,) = [event async for event in events if isinstance(event, Done)]
    return ChatAnswer.of(done.remembered)


async def _answered(request: Request, app: Application, wish: ChatRequest, once: Once) -> AsyncGenerator[Event]:
    allowed = await app.asking.allow(principal_of(request), wish.wish())
    async with aclosing(app.asking.chat(allowed, memo=once.memo(wish, 200, ChatAnswer.of))) as events:
        async for event in events:
            if isinstance(event, Evidence):
                warn(request, event.warnings)
            yield event


async def _streamed(events: AsyncGenerator[Event]) -> Response:
    try:
        return await EventStream.begin(events)
    except Replayed as replayed:
        return repeated(ChatAnswer.model_validate(replayed.answer.body))
