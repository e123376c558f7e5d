"""Vector stores: sources in OpenAI's words."""

from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Query

from carrel.api.idempotency import IdempotencyKey
from carrel.api.openai.lists import Steps
from carrel.api.openai.store_shapes import (
    NewVectorStore,
    VectorStoreChange,
    VectorStoreDeleted,
    VectorStoreList,
    VectorStoreView,
)
from carrel.api.security import GuardedRoute, MayCurate, MayRead
from carrel.api.state import App
from carrel.domain.access import Principal
from carrel.domain.files import Attachment
from carrel.domain.ids import FileId, SourceId
from carrel.domain.library import ChunkRules, Source
from carrel.library.sources import NewSource
from carrel.wiring import Application

router = APIRouter(prefix="/openai/v1/vector_stores", tags=["openai"], route_class=GuardedRoute)


@router.post("", responses={404: {}, 409: {}, 413: {}, 415: {}})
async def openai_create_vector_store(
    principal: MayCurate, app: App, wish: NewVectorStore, once: IdempotencyKey
) -> VectorStoreView:
    """Make a vector store: a source that the whole organisation reads. With `file_ids` it needs `ingest` too.

    409 `source_exists` when there is one of that name.
    """
    wanted = [FileId(file) for file in dict.fromkeys(wish.file_ids or ())]
    if wanted:
        await app.attaching.demand(principal, wanted)
    made = await app.sources.create(principal, _source(wish), memo=once.memo(wish, 200, VectorStoreView.of))
    if wanted:
        await app.attaching.attach_all(principal, made.id, [Attachment(file) for file in wanted])
    return await _looked_at(principal, app, made.id)


@router.get("")
async def openai_list_vector_stores(principal: MayRead, app: App, query: Annotated[Steps, Query()]) -> VectorStoreList:
    """The vector stores that the credential sees, newest first."""
    found = await app.sources.walk(principal, query.step())
    sizes = await app.sources.sizes(principal, [source.id for source in found.items])
    data = [VectorStoreView.of(source, sizes.get(source.id, 0)) for source in found.items]
    return VectorStoreList.page(data, has_more=found.has_more)


@router.get("/{vector_store_id}")
async def openai_get_vector_store(principal: MayRead, app: App, vector_store_id: UUID) -> VectorStoreView:
    """One vector store, with its files counted by state."""
    return await _looked_at(principal, app, SourceId(vector_store_id))


@router.post("/{vector_store_id}", responses={409: {}})
async def openai_change_vector_store(
    principal: MayCurate, app: App, vector_store_id: UUID, change: VectorStoreChange
) -> VectorStoreView:
    """Rename a vector store, or replace its metadata. 409 `source_exists`."""
    source = SourceId(vector_store_id)
    await app.sources.change(principal, source, name=change.name, metadata=change.metadata)
    return await _looked_at(principal, app, source)


@router.delete("/{vector_store_id}")
async def openai_delete_vector_store(principal: MayCurate, app: App, vector_store_id: UUID) -> VectorStoreDeleted:
    """Forget a vector store and every document in it; files stay."""
    await app.forgetting.source(principal, SourceId(vector_store_id))
    return VectorStoreDeleted(id=str(vector_store_id))


def _source(wish: NewVectorStore) -> NewSource:
    chunk = wish.chunking_strategy.rules() if wish.chunking_strategy else None
    return NewSource(
        name=wish.name or f"Vector store {uuid4().hex[:12]}",
        chunk=chunk or ChunkRules(),
        metadata=wish.metadata or {},
    )


async def _looked_at(principal: Principal, app: Application, source: SourceId) -> VectorStoreView:
    found: Source = await app.sources.get(principal, source)
    sizes = await app.sources.sizes(principal, [source])
    return VectorStoreView.of(found, sizes.get(source, 0))
