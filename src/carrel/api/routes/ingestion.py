"""Ingestion as it goes on: how far each document is, live."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, Final, assert_never

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from carrel.api.limits import counted
from carrel.api.problems import Problem
from carrel.api.schemas.progress import DocumentEvent, SummaryEvent, WatchQuery
from carrel.api.security import GuardedRoute, MayRead, still_admitted
from carrel.api.state import App
from carrel.api.streaming import EventStream, described, ending_well, frame
from carrel.domain.ids import SourceId
from carrel.library.progress import Counts, Progress, Told, Watch

router = APIRouter(prefix="/v1/ingestion", tags=["ingestion"], route_class=GuardedRoute)

_EVENT: Final = {
    "oneOf": [described("document", DocumentEvent), described("summary", SummaryEvent), described("error", Problem)]
}
_EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The events `document`, `summary` and `error`, until somebody leaves",
        "content": {"text/event-stream": {"schema": _EVENT}},
    },
    404: {},
}


@router.get("/events", response_class=StreamingResponse, responses=_EVENTS)
async def watch_ingestion(
    request: Request, principal: MayRead, app: App, query: Annotated[WatchQuery, Query()]
) -> StreamingResponse:
    """How far documents are, as server-sent events: what is unfinished, how many there are, and then what changes.

    A new connection begins with what is unfinished then; it is not taken up where another one ended. 404 when the
    source is not there.
    """
    leaving = getattr(request.state, "leaving", None) or asyncio.Event()
    source = None if query.source_id is None else SourceId(query.source_id)
    watch = Watch(source, until_settled=query.until is not None, leaving=leaving)
    events = app.watching.follow(partial(still_admitted, request), watch)
    return await EventStream.begin(counted(app.gate, principal, events), write=_frames)


def _frames(first: Told, events: AsyncGenerator[Told]) -> AsyncGenerator[bytes]:
    return ending_well(_told(first, events), lambda problem: frame("error", problem))


async def _told(first: Told, events: AsyncGenerator[Told]) -> AsyncGenerator[bytes]:
    yield _framed(first)
    async with aclosing(events):
        async for event in events:
            yield _framed(event)


def _framed(told: Told) -> bytes:
    match told:
        case Progress():
            return frame("document", DocumentEvent.of(told))
        case Counts():
            return frame("summary", SummaryEvent.of(told))
        case _:
            assert_never(told)
