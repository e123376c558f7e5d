"""Documents over the wire, and what became of files that were sent."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from carrel.api.schemas.types import Asked, Attributes, Identifier, Listing, Name, Paging
from carrel.domain.ids import BotId, SourceId
from carrel.domain.library import AttributeValue, Document, DocumentStatus, Failure, Outcome, Stage
from carrel.ingest.retry import Redrive
from carrel.ingest.upload import Delivery
from carrel.library.documents import Shelf


class DocumentsQuery(Paging):
    source_id: Identifier | None = None
    bot_id: Identifier | None = None
    status: DocumentStatus | None = None

    def shelf(self) -> Shelf:
        return Shelf(
            source=None if self.source_id is None else SourceId(self.source_id),
            bot=None if self.bot_id is None else BotId(self.bot_id),
            status=self.status,
        )


class WaitQuery(Asked):
    wait: Annotated[bool, Field(description="Answer when the document is ready or failed, after 60 s at most.")] = False


class Description(Asked):
    attributes: Annotated[Attributes, Field(description="They replace what the document had; filters can name them.")]


class RedriveWish(Asked):
    source_id: Identifier | None = None
    code: Annotated[Name | None, Field(description="Only what failed with this code.")] = None

    def wish(self) -> Redrive:
        return Redrive(source=None if self.source_id is None else SourceId(self.source_id), code=self.code)


class Redriven(BaseModel):
    redriven: Annotated[int, Field(description="How many documents went back to the queue.")]


class FailureView(BaseModel):
    code: str
    detail: str
    stage: Stage
    retryable: bool

    @classmethod
    def of(cls, failure: Failure) -> "FailureView":
        return cls(code=failure.code, detail=failure.detail, stage=failure.stage, retryable=failure.retryable)


class DocumentView(BaseModel):
    id: UUID
    source_id: UUID
    key: str
    title: str
    status: Annotated[DocumentStatus, Field(description="The newest version's; the live one stays searchable.")]
    stage: Stage | None
    version: UUID
    live_version: UUID | None
    media_type: str
    size: int
    chunks: int
    attempts: int
    error: FailureView | None
    attributes: dict[str, AttributeValue]
    same_as: UUID | None
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
            version=document.version,
            live_version=document.live_version,
            media_type=document.media_type,
            size=document.size,
            chunks=document.chunks,
            attempts=document.attempts,
            error=None if document.error is None else FailureView.of(document.error),
            attributes=dict(document.attributes),
            same_as=document.same_as,
            created_at=document.created_at,
            updated_at=document.updated_at,
        )


class DocumentList(Listing[DocumentView]):
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
