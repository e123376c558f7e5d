"""Documents over the wire, and what became of files that were sent."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import BaseModel, Field

from carrel.api.schemas.types import Asked, Attributes, Flag, Identifier, Identifiers, Listing, Name, Paging
from carrel.domain.failures import way_out
from carrel.domain.ids import BotId, DocumentId, SourceId
from carrel.domain.library import (
    AttributeValue,
    Content,
    ContentFault,
    Document,
    DocumentStatus,
    Failure,
    Outcome,
    Stage,
    VersionRecord,
)
from carrel.ingest.retry import Redrive
from carrel.ingest.upload import Delivery
from carrel.library.documents import Shelf


class DocumentsQuery(Paging):
    source_id: Identifier | None = None
    bot_id: Identifier | None = None
    status: DocumentStatus | None = None
    code: Annotated[Name | None, Field(description="Only what failed with this code.")] = None

    def shelf(self) -> Shelf:
        return Shelf(
            source=None if self.source_id is None else SourceId(self.source_id),
            bot=None if self.bot_id is None else BotId(self.bot_id),
            status=self.status,
            code=self.code,
        )


class WaitQuery(Asked):
    wait: Annotated[bool, Field(description="Answer when the document is ready or failed, after 60 s at most.")] = False


class Description(Asked):
    attributes: Annotated[Attributes, Field(description="They replace what the document had; filters can name them.")]


class DeletionWish(Asked):
    document_ids: Identifiers

    def wanted(self) -> list[DocumentId]:
        return [DocumentId(one) for one in self.document_ids]


class Deleted(BaseModel):
    deleted: int


class RedriveWish(Asked):
    source_id: Identifier | None = None
    code: Annotated[Name | None, Field(description="Only what failed with this code.")] = None
    document_ids: Annotated[Identifiers | None, Field(description="Only these.")] = None
    force: Annotated[Flag, Field(description="Also what is in quarantine.")] = False

    def wish(self) -> Redrive:
        return Redrive(
            documents=None if self.document_ids is None else [DocumentId(one) for one in self.document_ids],
            source=None if self.source_id is None else SourceId(self.source_id),
            code=self.code,
            force=self.force,
        )


class RetryWish(Asked):
    force: Annotated[Flag, Field(description="Also if it is in quarantine.")] = False


class Redriven(BaseModel):
    redriven: Annotated[int, Field(description="How many documents went back to the queue.")]


class FailureView(BaseModel):
    code: str
    detail: str
    stage: Stage
    retryable: bool
    way_out: Annotated[str, Field(description="What to do about it, in one sentence.")]

    @classmethod
    def of(cls, failure: Failure) -> "FailureView":
        return cls(
            code=failure.code,
            detail=failure.detail,
            stage=failure.stage,
            retryable=failure.retryable,
            way_out=way_out(failure),
        )


class ContentProblem(BaseModel):
    code: str
    detail: str


class ContentView(BaseModel):
    """The bytes that a download gives, as they were found when they were last read again. The text stays searchable."""

    error: Annotated[ContentProblem | None, Field(description="What is wrong with them, if anything is known to be.")]
    checked_at: datetime | None

    @classmethod
    def of(cls, content: Content) -> "ContentView":
        error = None if content.fault is None else _FAULTS[content.fault]
        return cls(error=error, checked_at=content.checked_at)


_FAULTS: Final = {
    ContentFault.MISSING: ContentProblem(
        code="content_missing", detail="The uploaded bytes are gone: upload the file again."
    ),
    ContentFault.DAMAGED: ContentProblem(
        code="content_damaged", detail="The uploaded bytes are not what they were: upload the file again."
    ),
    ContentFault.UNREADABLE: ContentProblem(
        code="content_unreadable", detail="The uploaded bytes cannot be read: upload the file again."
    ),
}


class DocumentView(BaseModel):
    id: UUID
    source_id: UUID
    key: str
    title: str
    status: Annotated[DocumentStatus, Field(description="The newest version's; the live one stays searchable.")]
    stage: Stage | None
    percent: Annotated[int, Field(description="How far the work on the newest version is, from 0 to 100.")]
    version: UUID
    live_version: UUID | None
    media_type: str
    size: int
    chunks: int
    attempts: int
    error: FailureView | None
    attributes: dict[str, AttributeValue]
    same_as: UUID | None
    content: ContentView
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, document: Document) -> "DocumentView":
        return cls(
            id=document.id,
            source_id=document.source,
            key=document.key,
            title=document.title,
            status=document.status,
            stage=document.stage,
            percent=document.percent,
            version=document.version,
            live_version=document.live_version,
            media_type=document.media_type,
            size=document.size,
            chunks=document.chunks,
            attempts=document.attempts,
            error=None if document.error is None else FailureView.of(document.error),
            attributes=dict(document.attributes),
            same_as=document.same_as,
            content=ContentView.of(document.content),
            created_at=document.created_at,
            updated_at=document.updated_at,
        )


class DocumentList(Listing[DocumentView]):
    pass


class VersionView(BaseModel):
    """It was read from `live_from` to `live_until`; never, where the first is null."""

    id: UUID
    number: Annotated[int, Field(description="1 for the document's first.")]
    fingerprint: Annotated[str, Field(description="SHA-256 of its bytes, in hexadecimal.")]
    media_type: str
    size: int
    chunks: Annotated[int, Field(description="0 for a version that was never ready.")]
    brought_by: Annotated[UUID | None, Field(description="The person who brought it, if one did.")]
    created_at: datetime
    live_from: datetime | None
    live_until: datetime | None

    @classmethod
    def of(cls, record: VersionRecord) -> "VersionView":
        return cls(
            id=record.id,
            number=record.number,
            fingerprint=record.fingerprint,
            media_type=record.media_type,
            size=record.size,
            chunks=record.chunks,
            brought_by=record.brought_by,
            created_at=record.created_at,
            live_from=record.live_from,
            live_until=record.live_until,
        )


class VersionList(Listing[VersionView]):
    pass


class Rejection(BaseModel):
    code: str
    detail: str


class UploadResult(BaseModel):
    """What became of one file. `same_as` is another document of the source with the same bytes."""

    key: str
    outcome: Outcome
    document_id: UUID | None
    same_as: UUID | None
    problem: Rejection | None

    @classmethod
    def of(cls, delivery: Delivery) -> "UploadResult":
        problem = delivery.problem
        return cls(
            key=delivery.key,
            outcome=delivery.outcome,
            document_id=delivery.document,
            same_as=delivery.same_as,
            problem=None if problem is None else Rejection(code=problem.code, detail=problem.detail),
        )


class UploadResults(BaseModel):
    """One for each file, in the order in which they were sent."""

    results: list[UploadResult]

    @classmethod
    def of(cls, deliveries: list[Delivery]) -> "UploadResults":
        return cls(results=[UploadResult.of(delivery) for delivery in deliveries])


class PutResult(BaseModel):
    outcome: Outcome
    document_id: UUID
    same_as: UUID | None
    document: DocumentView
