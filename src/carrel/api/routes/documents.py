"""Documents: looked at, described, handed out, forgotten, tried again."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from carrel.api.attachment import attachment
from carrel.api.schemas.documents import (
    Description,
    DocumentList,
    DocumentsQuery,
    DocumentView,
    Redriven,
    RedriveWish,
)
from carrel.api.security import GuardedRoute, MayIngest, MayRead, MaySearch
from carrel.api.state import App
from carrel.domain.ids import DocumentId
from carrel.ingest.retry import Redrive

router = APIRouter(prefix="/v1", tags=["documents"], route_class=GuardedRoute)


@router.get("/documents", responses={404: {}})
async def list_documents(principal: MayRead, app: App, query: Annotated[DocumentsQuery, Query()]) -> DocumentList:
    """Documents by source, bot and status, newest first. 404 when the source or the bot is not there."""
    page = await app.documents.listed(principal, query.shelf(), limit=query.limit, cursor=query.cursor)
    return DocumentList(items=[DocumentView.of(document) for document in page.items], next_cursor=page.next_cursor)


@router.get("/documents/{document_id}")
async def get_document(principal: MayRead, app: App, document_id: UUID) -> DocumentView:
    """One document, and where its newest version is."""
    return DocumentView.of(await app.documents.get(principal, DocumentId(document_id)))


@router.get(
    "/documents/{document_id}/content",
    response_class=StreamingResponse,
    responses={200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def get_content(principal: MaySearch, app: App, document_id: UUID) -> StreamingResponse:
    """The original bytes of the live version, as an attachment."""
    download = await app.documents.download(principal, DocumentId(document_id))
    name = download.key.rsplit("/", 1)[-1]
    return await attachment(download.content, name, download.media_type, size=download.size)


@router.patch("/documents/{document_id}")
async def describe_document(
    principal: MayIngest, app: App, document_id: UUID, description: Description
) -> DocumentView:
    """Replace a document's attributes."""
    document = await app.documents.describe(principal, DocumentId(document_id), description.attributes)
    return DocumentView.of(document)


@router.delete("/documents/{document_id}", status_code=204)
async def delete_document(principal: MayIngest, app: App, document_id: UUID) -> None:
    """Forget a document: invisible at once, then purged everywhere."""
    await app.forgetting.document(principal, DocumentId(document_id))


@router.post("/documents/{document_id}/retry", responses={409: {}})
async def retry_document(principal: MayIngest, app: App, document_id: UUID) -> DocumentView:
    """Try a failed document again. 409 `not_failed`."""
    return DocumentView.of(await app.retries.one(principal, DocumentId(document_id)))


@router.post("/ingestion/redrive", tags=["ingestion"], responses={404: {}})
async def redrive(principal: MayIngest, app: App, wish: RedriveWish | None = None) -> Redriven:
    """Try again what failed: in all sources or in one, for any reason or for one code."""
    return Redriven(redriven=await app.retries.many(principal, wish.wish() if wish else Redrive()))
