"""Files of a vector store, one by one or in batches: documents of a source in OpenAI's words."""

from collections.abc import Collection, Iterable
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, Response

from carrel.api.idempotency import IdempotencyKey
from carrel.api.openai.store_shapes import (
    STATES,
    BatchView,
    Chunking,
    FileContent,
    NewBatch,
    NewStoreFile,
    State,
    StoreFileChange,
    StoreFileDeleted,
    StoreFileList,
    StoreFilesQuery,
    StoreFileView,
    TextPart,
    state_of,
)
from carrel.api.security import GuardedRoute, MayIngest, MayRead, MaySearch
from carrel.api.state import App
from carrel.domain.access import Principal
from carrel.domain.errors import Invalid
from carrel.domain.files import Batch
from carrel.domain.ids import BatchId, SourceId
from carrel.domain.library import ChunkRules, Document, DocumentStatus
from carrel.library.documents import Strip
from carrel.wiring import Application

router = APIRouter(prefix="/openai/v1/vector_stores/{vector_store_id}", tags=["openai"], route_class=GuardedRoute)

_SOON: Final = "200"  # milliseconds after which another look makes sense: most documents take less


@router.post("/files", responses={409: {}})
async def openai_attach_file(  # noqa: PLR0917 - FastAPI calls it by name
    principal: MayIngest, app: App, vector_store_id: UUID, wish: NewStoreFile, once: IdempotencyKey
) -> StoreFileView:
    """Make a document of a file. 404 when the store or the file is not there."""
    rules = await _rules(principal, app, vector_store_id, [wish.chunking_strategy] if wish.chunking_strategy else [])

    def shown(document: Document) -> StoreFileView:
        return StoreFileView.of(document, rules)

    memo = once.memo(wish, 200, shown)
    document = await app.attaching.attach(principal, SourceId(vector_store_id), wish.wish(), memo=memo)
    return StoreFileView.of(document, rules)


@router.get("/files")
async def openai_list_store_files(
    principal: MayRead, app: App, vector_store_id: UUID, query: Annotated[StoreFilesQuery, Query()]
) -> StoreFileList:
    """The documents of a vector store, newest first, however they came into it."""
    strip = Strip(SourceId(vector_store_id), _statuses(query.filter))
    rules = await _rules(principal, app, vector_store_id)
    found = await app.documents.walk(principal, strip, query.step())
    data = [StoreFileView.of(document, rules) for document in found.items]
    return StoreFileList.page(data, has_more=found.has_more)


@router.get("/files/{file_id}")
async def openai_get_store_file(  # noqa: PLR0917 - FastAPI calls it by name
    principal: MayRead, app: App, vector_store_id: UUID, file_id: UUID, response: Response
) -> StoreFileView:
    """One document of a vector store, and where its work is."""
    rules = await _rules(principal, app, vector_store_id)
    view = StoreFileView.of(await app.documents.in_source(principal, SourceId(vector_store_id), file_id), rules)
    _ask_again(response, view.status)
    return view


@router.post("/files/{file_id}")
async def openai_describe_store_file(  # noqa: PLR0917 - FastAPI calls it by name
    principal: MayIngest, app: App, vector_store_id: UUID, file_id: UUID, change: StoreFileChange
) -> StoreFileView:
    """Replace a document's attributes."""
    rules = await _rules(principal, app, vector_store_id)
    document = await app.documents.in_source(principal, SourceId(vector_store_id), file_id)
    described = await app.documents.describe(principal, document.id, change.attributes or {})
    return StoreFileView.of(described, rules)


@router.delete("/files/{file_id}")
async def openai_detach_file(principal: MayIngest, app: App, vector_store_id: UUID, file_id: UUID) -> StoreFileDeleted:
    """Forget a document; the file that it was made of stays."""
    document = await app.documents.in_source(principal, SourceId(vector_store_id), file_id)
    await app.forgetting.document(principal, document.id)
    return StoreFileDeleted(id=str(file_id))


@router.get("/files/{file_id}/content", responses={413: {}})
async def openai_get_store_file_content(
    principal: MaySearch, app: App, vector_store_id: UUID, file_id: UUID
) -> FileContent:
    """The text that was read from a document, chunk by chunk; none while no version is ready. At most 2 MB."""
    document, texts = await app.documents.texts(principal, SourceId(vector_store_id), file_id)
    return FileContent(
        file_id=str(document.file or document.id),
        filename=document.key,
        attributes=dict(document.attributes),
        data=[TextPart(text=text) for text in texts],
    )


@router.post("/file_batches", responses={409: {}})
async def openai_create_batch(  # noqa: PLR0917 - FastAPI calls it by name
    principal: MayIngest, app: App, vector_store_id: UUID, wish: NewBatch, once: IdempotencyKey
) -> BatchView:
    """Make documents of many files; one that cannot be a document counts as failed, and the others are taken."""
    await _rules(principal, app, vector_store_id, wish.strategies())
    memo = once.memo(wish, 200, BatchView.of)
    return BatchView.of(await app.attaching.attach_all(principal, SourceId(vector_store_id), wish.wishes(), memo=memo))


@router.get("/file_batches/{batch_id}")
async def openai_get_batch(  # noqa: PLR0917 - FastAPI calls it by name
    principal: MayRead, app: App, vector_store_id: UUID, batch_id: UUID, response: Response
) -> BatchView:
    """How far a batch is."""
    view = BatchView.of(await app.files.batch(principal, SourceId(vector_store_id), BatchId(batch_id)))
    _ask_again(response, view.status)
    return view


@router.get("/file_batches/{batch_id}/files")
async def openai_list_batch_files(  # noqa: PLR0917 - FastAPI calls it by name
    principal: MayRead, app: App, vector_store_id: UUID, batch_id: UUID, query: Annotated[StoreFilesQuery, Query()]
) -> StoreFileList:
    """The files of a batch, in the order in which they were named; `order=desc` turns it round."""
    rules = await _rules(principal, app, vector_store_id)
    batch = await app.files.batch(principal, SourceId(vector_store_id), BatchId(batch_id))
    found = [view for view in _views(batch, rules) if query.filter in {None, view.status}]
    return _cut(found, query)


async def _rules(principal: Principal, app: Application, store: UUID, wanted: Iterable[Chunking] = ()) -> ChunkRules:
    """How the store cuts all its files. Raises Invalid for a file that shall be cut in another way, NotFound."""
    source = await app.sources.get(principal, SourceId(store))
    if any(one.rules() not in {None, source.chunk} for one in wanted):
        raise Invalid(
            "All files of a vector store are cut alike: give the lengths when you make the store.",
            code="unsupported_parameter",
            field="chunking_strategy",
        )
    return source.chunk


def _statuses(state: State | None) -> Collection[DocumentStatus] | None:
    return None if state is None else [status for status, named in STATES.items() if named == state]


def _ask_again(response: Response, state: State) -> None:
    if state == "in_progress":
        response.headers["openai-poll-after-ms"] = _SOON


def _views(batch: Batch, rules: ChunkRules) -> Iterable[StoreFileView]:
    for part in batch.parts:
        document = batch.documents.get(part.document) if part.document else None
        if document is not None:
            yield StoreFileView.of(document, rules)
        elif state_of(part, batch) == "failed":
            yield StoreFileView.rejected(part, batch, rules)


def _cut(views: list[StoreFileView], query: StoreFilesQuery) -> StoreFileList:
    """Raises Invalid `invalid_cursor`."""
    step = query.step()
    line = views[::-1] if step.goes_down else views
    if step.start is not None:
        ids = [view.id for view in line]
        if str(step.start) not in ids:
            field = "before" if step.back else "after"
            raise Invalid("This is the id of nothing in this list.", code="invalid_cursor", field=field)
        line = line[ids.index(str(step.start)) + 1 :]
    data = line[: step.limit][::-1] if step.back else line[: step.limit]
    return StoreFileList.page(data, has_more=len(line) > step.limit)
