"""Sources over the wire."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field

from carrel.api.schemas.refreshes import PlaceFields, PlaceView, RunView
from carrel.api.schemas.types import Asked, Identifier, Listing, Name, Paging, whole, whole_or_none
from carrel.domain.ids import UserId
from carrel.domain.library import ChunkRules, DocumentStatus, Duplicates, Source, SourceKind, Visibility
from carrel.domain.places import fields_of, place_of
from carrel.library.sources import NewSource as SourceWish
from carrel.library.sources import Refit


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
    place: Annotated[PlaceFields | None, Field(description="For a source that refreshes itself: which, and where.")] = (
        None
    )
    schedule: Annotated[
        int | None,
        Field(description="Seconds from the end of one run to the next: 60 or more."),
        BeforeValidator(whole_or_none),
    ] = None

    def wish(self, owner: UserId | None) -> SourceWish:
        """Raises Invalid, naming the field."""
        return SourceWish(
            place=place_of(self.kind, None if self.place is None else self.place.model_dump()),
            schedule=self.schedule,
            name=self.name,
            kind=self.kind,
            duplicates=self.duplicates,
            chunk=ChunkRules(self.chunk.size, self.chunk.overlap),
            owner=owner if self.visibility is Visibility.PRIVATE else None,
        )


class SourceChange(Asked):
    """What is absent or null stays as it is, but the schedule: without one, nothing is refreshed until it is asked for.

    A place is replaced as a whole; its kind stays.
    """

    name: Name | None = None
    duplicates: Duplicates | None = None
    place: PlaceFields | None = None
    schedule: Annotated[int | None, BeforeValidator(whole_or_none)] = None

    def refit(self) -> Refit | None:
        keeps_schedule = "schedule" not in self.model_fields_set
        if self.place is None and keeps_schedule:
            return None
        return Refit(None if self.place is None else self.place.model_dump(), self.schedule, keeps_schedule)


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
    place: Annotated[
        PlaceView | None,
        Field(description="Null for a source that documents are brought to, and for who may not change it."),
    ]
    schedule: int | None
    paused: bool
    last_run: RunView | None
    next_run_at: Annotated[datetime | None, Field(description="Null while it runs, or where nothing is planned.")]

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
            place=None if source.place is None else PlaceView(**fields_of(source.place)),
            schedule=source.schedule,
            paused=source.paused,
            last_run=None if source.last_run is None else RunView.of(source.last_run),
            next_run_at=source.next_run_at,
        )


class SourceList(Listing[SourceView]):
    pass
