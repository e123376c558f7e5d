"""What a tenant keeps: sources, bots and documents."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from carrel.domain.ids import (
    BotId,
    CredentialId,
    DocumentId,
    FileId,
    GenerationId,
    SourceId,
    TenantId,
    UserId,
    VersionId,
)

AttributeValue = str | int | float | bool
Attributes = Mapping[str, AttributeValue]


class Visibility(StrEnum):
    TENANT = "tenant"
    PRIVATE = "private"


class Duplicates(StrEnum):
    """What a source does with equal bytes under another key."""

    ALLOW = "allow"
    REJECT = "reject"


class SourceKind(StrEnum):
    UPLOAD = "upload"


class DocumentStatus(StrEnum):
    """pending -> processing -> ready | failed; failed -> pending by retry."""

    PENDING = "pending"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"


class Stage(StrEnum):
    """Where the work on a version is."""

    QUEUED = "queued"
    PARSE = "parse"
    CHUNK = "chunk"
    EMBED = "embed"
    INDEX = "index"
    COMMIT = "commit"


class Outcome(StrEnum):
    """What an upload did."""

    CREATED = "created"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class TenantStatus(StrEnum):
    """active <-> suspended; either -> deleting, from which there is no way back."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class Tenant:
    id: TenantId
    slug: str
    name: str
    status: str
    isolation: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ChunkRules:
    """Lengths in tokens of the embedder. Raises nothing itself: doors and the store check the ranges."""

    size: int = 240
    overlap: int = 32

    def within(self, most: int) -> "ChunkRules":
        """The same rules for an embedder that takes `most` tokens."""
        size = min(self.size, most)
        return ChunkRules(size, min(self.overlap, size // 2))


@dataclass(frozen=True, slots=True)
class Source:
    id: SourceId
    name: str
    kind: SourceKind
    visibility: Visibility
    duplicates: Duplicates
    chunk: ChunkRules
    owner: UserId | None
    documents: Mapping[DocumentStatus, int]
    created_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bot:
    id: BotId
    name: str
    instructions: str
    model: str | None
    retrieval: Mapping[str, AttributeValue]
    credential: CredentialId | None
    sources: frozenset[SourceId]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Failure:
    code: str
    detail: str
    stage: Stage
    retryable: bool


@dataclass(frozen=True, slots=True)
class Document:
    """A document as its reader sees it: `status` is the newest version's, `live_version` the one that is searched."""

    id: DocumentId
    source: SourceId
    key: str
    title: str
    status: DocumentStatus
    stage: Stage | None
    version: VersionId
    live_version: VersionId | None
    media_type: str
    size: int
    chunks: int
    attempts: int
    error: Failure | None
    attributes: Attributes
    same_as: DocumentId | None
    created_at: datetime
    updated_at: datetime
    file: FileId | None = None  # that it was made of, by being attached


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that are kept: where, how many, their SHA-256, and the first few, for judging their type."""

    key: str
    size: int
    sha256: bytes
    head: bytes


@dataclass(frozen=True, slots=True)
class Version:
    """One state of a document's bytes, as the worker needs it."""

    id: VersionId
    document: DocumentId
    source: SourceId
    owner: UserId | None
    key: str
    blob_key: str
    media_type: str
    size: int
    fingerprint: bytes
    rules: ChunkRules


@dataclass(frozen=True, slots=True)
class Generation:
    """One way of making an index: which embedder, which analyzer. Entries of two generations never meet."""

    id: GenerationId
    embedder: str
    dimension: int
    analyzer: str
