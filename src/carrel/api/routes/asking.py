"""Search and chat."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from fastapi import APIRouter, Response

from carrel.api.idempotency import IdempotencyKey
from carrel.api.schemas.answers import ChatAnswer, ChatRequest, Hits, SearchRequest
from carrel.api.security import GuardedRoute, MayAsk, MaySearch
from carrel.api.state import App
from carrel.api.streaming import EVENT, EventStream, repeated
from carrel.ask.pipeline import Done, Event
from carrel.library.sources import Replayed

router = APIRouter(prefix="/v1", route_class=GuardedRoute)

_EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The answer; with `stream` the events `evidence`, `delta`, `done` and `error`",
        "content": {"text/event-stream": {"schema": dict(EVENT)}},
    }
}


@router.post("/search", tags=["search"], responses={404: {}})
async def search(principal: MaySearch, app: App, wish: SearchRequest) -> Hits:
    """The chunks that fit best. Search never refuses: what fits badly has a low confidence."""
    return Hits.of(await app.asking.search(principal, wish.wish()), explain=wish.explain)


@router.post("/chat", tags=["chat"], response_model=ChatAnswer, responses={**_EVENTS, 404: {}})
async def chat(principal: MayAsk, app: App, wish: ChatRequest, once: IdempotencyKey) -> ChatAnswer | Response:
    """An answer with citations, or an honest refusal with guidance; a repeated stream gives the answer in one piece."""
    allowed = await app.asking.allow(principal, wish.wish())
    events = app.asking.chat(allowed, memo=once.memo(wish, 200, ChatAnswer.of))
    if wish.stream:
        return await _streamed(events)
    async with aclosing(events):
        (done,) = [event async for event in events if isinstance(event, Done)]
    return ChatAnswer.of(done.remembered)


async def _streamed(events: AsyncGenerator[Event]) -> Response:
    try:
        return await EventStream.begin(events)
    except Replayed as replayed:
        return repeated(ChatAnswer.model_validate(replayed.answer.body))
