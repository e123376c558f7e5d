"""Bringing documents: many as multipart, or one under its key."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from carrel.api.arrivals import MOST_FILES, fingerprint, receive
from carrel.api.idempotency import IdempotencyKey
from carrel.api.limits import warn
from carrel.api.schemas.documents import DocumentView, PutResult, UploadResults, WaitQuery
from carrel.api.security import GuardedRoute, MayIngest
from carrel.api.state import App
from carrel.domain.errors import Invalid, TooLarge
from carrel.domain.ids import DocumentId, SourceId
from carrel.domain.library import Document, DocumentStatus, Outcome
from carrel.ingest.upload import MOST_BYTES, Delivery, Dock, Uploads

router = APIRouter(prefix="/v1/sources/{source_id}/documents", tags=["documents"], route_class=GuardedRoute)

PATIENCE: Final = 60.0
_FILES: Final = {
    "type": "object",
    "required": ["files"],
    "properties": {
        "files": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "minItems": 1,
            "maxItems": MOST_FILES,
            "description": "The file name is the key; each has at most 50 MB, all together 500 MB.",
        }
    },
}
_MULTIPART: Final = {
    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FILES}}},
}
_RAW: Final = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post("", status_code=202, openapi_extra=_MULTIPART, responses={409: {}, 413: {}, 415: {}, 422: {}})
async def upload_documents(  # noqa: PLR0917 - FastAPI calls it by name
    principal: MayIngest, app: App, source_id: UUID, request: Request, once: IdempotencyKey
) -> UploadResults:
    """Bring 1 to 100 files. A file that cannot be taken is `rejected` in its result; the others are taken.

    A request that is refused as a whole (413, 415, 422) takes none.
    """
    async with app.uploads.docked(principal, SourceId(source_id), expects=_expected(request)) as dock:
        warn(request, dock.hold.warnings)
        body = app.uploads.counted(dock, request.stream())
        arrivals = await receive(app.uploads, dock, body, request.headers.get("content-type"))
        memo = once.memo(fingerprint(arrivals), 202, UploadResults.of)
        return UploadResults.of(await app.uploads.commit_all(dock, arrivals, memo=memo))


@router.put(
    "/{key:path}",
    openapi_extra=_RAW,
    status_code=202,
    responses={
        200: {"model": PutResult, "description": "Replaced, unchanged, a duplicate, or failed (with `wait`)"},
        201: {"model": PutResult, "description": "Created and ready (with `wait`)"},
        409: {},
        413: {},
        415: {},
        422: {},
    },
)
async def put_document(
    principal: MayIngest,
    app: App,
    source_id: UUID,
    key: str,
    *,
    request: Request,
    response: Response,
    query: Annotated[WaitQuery, Query()],
) -> PutResult:
    """Bring one document under its key: raw bytes, with their Content-Type."""
    name = _readable(request, key)
    async with app.uploads.docked(principal, SourceId(source_id), expects=_expected(request), key=name) as dock:
        warn(request, dock.hold.warnings)
        delivery = await _taken(app.uploads, dock, name, request)
    document = await app.uploads.settled(dock, delivery, seconds=PATIENCE if query.wait else 0)
    response.status_code = status_of(delivery.outcome, document) if query.wait else 202
    return PutResult(
        outcome=delivery.outcome,
        document_id=DocumentId(document.id),
        same_as=delivery.same_as,
        document=DocumentView.of(document),
    )


async def _taken(uploads: Uploads, dock: Dock, key: str, request: Request) -> Delivery:
    try:
        body = uploads.counted(dock, request.stream())
        return await uploads.deliver(dock, key, body, declared=request.headers.get("content-type"))
    except TooLarge as error:
        raise TooLarge(f"A document has at most {MOST_BYTES:,} bytes.") from error


def _expected(request: Request) -> int | None:
    """What the sender says that it will send. The server itself holds it to that."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else None


def _readable(request: Request, key: str) -> str:
    """The key, unless the path's bytes were no UTF-8: servers put a mark in place of what they cannot read."""
    if "\ufffd" in key and b"%EF%BF%BD" not in request.scope.get("raw_path", b"").upper():
        raise Invalid("A key is UTF-8.", code="invalid_key", field="key")
    return key


def status_of(outcome: Outcome, document: Document) -> int:
    if document.status not in {DocumentStatus.READY, DocumentStatus.FAILED}:
        return 202
    return 201 if outcome is Outcome.CREATED and document.status is DocumentStatus.READY else 200
