"""Documents: looked at, described, handed out, forgotten, tried again."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from carrel.api.attachment import attachment
from carrel.api.schemas.documents import (
    Deleted,
    DeletionWish,
    Description,
    DocumentList,
    DocumentsQuery,
    DocumentView,
    Redriven,
    RedriveWish,
    RetryWish,
    VersionList,
    VersionView,
)
from carrel.api.schemas.types import Paging
from carrel.api.security import GuardedRoute, MayIngest, MayRead, MaySearch
from carrel.api.state import App
from carrel.domain.ids import DocumentId
from carrel.domain.keys import file_name
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


@router.get("/documents/{document_id}/versions")
async def list_versions(
    principal: MayRead, app: App, document_id: UUID, query: Annotated[Paging, Query()]
) -> VersionList:
    """Every version that the document has or had, newest first: metadata only, what it said is gone."""
    document = DocumentId(document_id)
    page = await app.documents.versions(principal, document, limit=query.limit, cursor=query.cursor)
    return VersionList(items=[VersionView.of(record) for record in page.items], next_cursor=page.next_cursor)


@router.get(
    "/documents/{document_id}/content",
    response_class=StreamingResponse,
    responses={200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def get_content(principal: MaySearch, app: App, document_id: UUID) -> StreamingResponse:
    """The original bytes of the live version, as an attachment."""
    download = await app.documents.download(principal, DocumentId(document_id))
    name = file_name(download.key)
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


@router.post("/documents/delete", responses={404: {}})
async def delete_documents(principal: MayIngest, app: App, wish: DeletionWish) -> Deleted:
    """Forget up to 1,000 documents, each invisible at once. 404 when one is not there: then none goes."""
    return Deleted(deleted=await app.forgetting.many(principal, wish.wanted()))


@router.post("/documents/{document_id}/retry", responses={409: {}})
async def retry_document(
    principal: MayIngest, app: App, document_id: UUID, wish: RetryWish | None = None
) -> DocumentView:
    """Try a failed document again. 409 `not_failed`; `quarantined` unless it is forced."""
    force = wish is not None and wish.force
    return DocumentView.of(await app.retries.one(principal, DocumentId(document_id), force=force))


@router.post("/ingestion/redrive", tags=["ingestion"], responses={404: {}})
async def redrive(principal: MayIngest, app: App, wish: RedriveWish | None = None) -> Redriven:
    """Try again what failed: all, one source's, for one code, or these documents. Quarantine only with `force`.

    404 when the source or one of the documents is not there.
    """
    return Redriven(redriven=await app.retries.many(principal, wish.wish() if wish else Redrive()))
