"""Sources over the wire."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field

from carrel.api.schemas.types import Asked, Identifier, Listing, Name, Paging, whole
from carrel.domain.ids import UserId
from carrel.domain.library import ChunkRules, DocumentStatus, Duplicates, Source, SourceKind, Visibility
from carrel.library.sources import NewSource as SourceWish


class ChunkLengths(Asked):
    """In tokens of the embedder."""

    size: Annotated[int, Field(ge=32, le=2048), BeforeValidator(whole)] = 240
    overlap: Annotated[int, Field(ge=0, le=1024, description="At most half of the size."), BeforeValidator(whole)] = 32


class NewSource(Asked):
    name: Name
    kind: SourceKind = SourceKind.UPLOAD
    visibility: Visibility = Visibility.TENANT
    duplicates: Annotated[Duplicates, Field(description="What to do with equal bytes under another key.")] = (
        Duplicates.ALLOW
    )
    chunk: ChunkLengths = ChunkLengths()

    def wish(self, owner: UserId | None) -> SourceWish:
        return SourceWish(
            name=self.name,
            kind=self.kind,
            duplicates=self.duplicates,
            chunk=ChunkRules(self.chunk.size, self.chunk.overlap),
            owner=owner if self.visibility is Visibility.PRIVATE else None,
        )


class SourceChange(Asked):
    """What is absent or null stays as it is."""

    name: Name | None = None
    duplicates: Duplicates | None = None


class SourcesQuery(Paging):
    bot_id: Annotated[Identifier | None, Field(description="Only the sources of this bot.")] = None


class DocumentCounts(BaseModel):
    pending: int
    processing: int
    ready: int
    failed: int


class ChunkView(BaseModel):
    size: int
    overlap: int


class SourceView(BaseModel):
    id: UUID
    name: str
    kind: SourceKind
    visibility: Visibility
    duplicates: Duplicates
    chunk: ChunkView
    documents: DocumentCounts
    created_at: datetime

    @classmethod
    def of(cls, source: Source) -> "SourceView":
        counts = {status.value: source.documents.get(status, 0) for status in DocumentStatus}
        return cls(
            id=source.id,
            name=source.name,
            kind=source.kind,
            visibility=source.visibility,
            duplicates=source.duplicates,
            chunk=ChunkView(size=source.chunk.size, overlap=source.chunk.overlap),
            documents=DocumentCounts(**counts),
            created_at=source.created_at,
        )


class SourceList(Listing[SourceView]):
    pass
