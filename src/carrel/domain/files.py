"""Files: bytes that were brought without a place yet, until they are attached to a source as a document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from carrel.domain.ids import BatchId, DocumentId, FileId, SourceId
from carrel.domain.library import AttributeValue, ContentFault, Document


@dataclass(frozen=True, slots=True)
class File:
    """Private to who brought it. `purpose` is the sender's word; `media_type` what it declared.

    `fault` is what was wrong with its bytes when they were last read again.
    """

    id: FileId
    name: str
    purpose: str
    media_type: str | None
    size: int
    sha256: bytes
    blob_key: str
    created_at: datetime
    fault: ContentFault | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that shall become a document; without attributes the document keeps those that it has."""

    file: FileId
    attributes: Mapping[str, AttributeValue] | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """What became of one file of a batch: a document, or the reason why not."""

    file: FileId
    document: DocumentId | None = None
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Files that were attached together; `documents` are those of its parts that are there now."""

    id: BatchId
    source: SourceId
    created_at: datetime
    parts: Sequence[Part]
    documents: Mapping[DocumentId, Document]
