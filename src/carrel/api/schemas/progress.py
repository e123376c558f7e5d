"""How far ingestion is, over the wire."""

from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, Field

from carrel.api.schemas.documents import FailureView
from carrel.api.schemas.types import Asked, Identifier
from carrel.domain.library import DocumentStatus, Stage
from carrel.library.progress import Counts, Progress


class Until(StrEnum):
    """When the stream ends by itself."""

    SETTLED = "settled"


class WatchQuery(Asked):
    source_id: Annotated[Identifier | None, Field(description="Only the documents of this source.")] = None
    until: Annotated[Until | None, Field(description="`settled`: end when nothing is pending or processing.")] = None


class DocumentEvent(BaseModel):
    document_id: UUID
    source_id: UUID
    key: str
    status: DocumentStatus
    stage: Stage | None
    percent: int
    error: FailureView | None

    @classmethod
    def of(cls, progress: Progress) -> Self:
        return cls(
            document_id=progress.document,
            source_id=progress.source,
            key=progress.key,
            status=progress.status,
            stage=progress.stage,
            percent=progress.percent,
            error=None if progress.error is None else FailureView.of(progress.error),
        )


class SummaryEvent(BaseModel):
    pending: int
    processing: int
    ready: int
    failed: int

    @classmethod
    def of(cls, counts: Counts) -> Self:
        return cls(**{status.value: amount for status, amount in counts.amounts.items()})
