"""Bringing a document as JSON: a text under its key, with its title and attributes."""

from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from carrel.api.idempotency import IdempotencyKey
from carrel.api.limits import warn
from carrel.api.routes.uploads import PATIENCE, status_of
from carrel.api.schemas.documents import DocumentView, PutResult, WaitQuery
from carrel.api.schemas.texts import TextWish
from carrel.api.security import GuardedRoute, MayIngest
from carrel.api.state import App
from carrel.domain.ids import DocumentId, SourceId
from carrel.ingest.text import Brought, NewText
from carrel.library.sources import StoredAnswer

router = APIRouter(prefix="/v1/sources/{source_id}/texts", tags=["documents"], route_class=GuardedRoute)


@router.post(
    "",
    status_code=202,
    responses={
        200: {"model": PutResult, "description": "Replaced, unchanged, a duplicate, or failed (with `wait`)"},
        201: {"model": PutResult, "description": "Created and ready (with `wait`)"},
        409: {},
    },
)
async def put_text(  # noqa: PLR0913 - FastAPI calls it by name
    principal: MayIngest,
    app: App,
    source_id: UUID,
    wish: TextWish,
    *,
    request: Request,
    response: Response,
    query: Annotated[WaitQuery, Query()],
    once: IdempotencyKey,
) -> PutResult:
    """Bring a text under its key, as a document is put. 409 `source_refreshes`."""

    def status(brought: Brought) -> int:
        return status_of(brought.delivery.outcome, brought.document) if query.wait else 202

    def stored(brought: Brought) -> StoredAnswer:
        return StoredAnswer(status(brought), _result(brought).model_dump(mode="json"))

    new = NewText(wish.key, wish.text, wish.title, wish.attributes)
    async with app.uploads.docked(principal, SourceId(source_id), expects=new.size, key=wish.key) as dock:
        warn(request, dock.hold.warnings)
        memo = once.memo(wish, 202, _result)
        memo = None if memo is None else replace(memo, render=stored)
        brought = await app.texts.bring(dock, new, seconds=PATIENCE if query.wait else 0, memo=memo)
    response.status_code = status(brought)
    return _result(brought)


def _result(brought: Brought) -> PutResult:
    return PutResult(
        outcome=brought.delivery.outcome,
        document_id=DocumentId(brought.document.id),
        same_as=brought.delivery.same_as,
        document=DocumentView.of(brought.document),
    )
