"""What a tenant keeps: sources, bots and documents."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never

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
from carrel.domain.origins import Place, Run

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
    """Where documents come from: somebody brings them (the first two), or the source fetches them itself."""

    UPLOAD = "upload"
    TEXT = "text"
    URL = "url"
    SITEMAP = "sitemap"
    S3 = "s3"
    FOLDER = "folder"


class DocumentStatus(StrEnum):
    """pending -> processing -> ready | failed; failed -> pending by retry."""

    PENDING = "pending"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"


class ContentFault(StrEnum):
    """What can be wrong with bytes that are kept."""

    MISSING = "content_missing"
    DAMAGED = "content_damaged"
    UNREADABLE = "content_unreadable"


class Stage(StrEnum):
    """Where the work on a version is."""

    QUEUED = "queued"
    PARSE = "parse"
    CHUNK = "chunk"
    EMBED = "embed"
    INDEX = "index"
    COMMIT = "commit"


_BEGINS: Final[Mapping[Stage, int]] = {
    Stage.QUEUED: 0,
    Stage.PARSE: 5,
    Stage.CHUNK: 15,
    Stage.EMBED: 20,
    Stage.INDEX: 85,
    Stage.COMMIT: 95,
}
_ENDS: Final[Mapping[Stage, int]] = dict(zip(_BEGINS, (*list(_BEGINS.values())[1:], 100), strict=True))


def reached(stage: Stage, share: float) -> int:
    """Percent of the work on a version: which stage it is in, and what share of that is done."""
    return _BEGINS[stage] + int((_ENDS[stage] - _BEGINS[stage]) * min(max(share, 0.0), 1.0))


def percent_of(status: DocumentStatus, progress: int) -> int:
    """What is shown: only work that has begun is somewhere between the beginning and the end."""
    match status:
        case DocumentStatus.PENDING:
            return 0
        case DocumentStatus.READY:
            return 100
        case DocumentStatus.PROCESSING | DocumentStatus.FAILED:
            return progress
        case _:
            assert_never(status)


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
    place: Place | None = None  # of a source that refreshes itself
    schedule: int | None = None  # seconds from the end of one run to the next
    paused: bool = False
    last_run: Run | None = None
    next_run_at: datetime | None = None


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
class Content:
    """A document's bytes, as they were found when they were last read again."""

    fault: ContentFault | None = None
    checked_at: datetime | None = None


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
    percent: int
    attributes: Attributes
    same_as: DocumentId | None
    created_at: datetime
    updated_at: datetime
    file: FileId | None = None  # that it was made of, by being attached
    content: Content = field(default_factory=Content)  # of the version that a download gives


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the newest version of a document is; `error` is why it failed, or why it is tried again."""

    document: DocumentId
    source: SourceId
    key: str
    status: DocumentStatus
    stage: Stage | None
    percent: int
    error: Failure | None


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
class VersionRecord:
    """What stays of a version when its text and bytes have gone: its number, its SHA-256 in hexadecimal, its times.

    It was read from `live_from` to `live_until`; never, where the first is None, and is still, where the second is.
    `brought_by` is the person who did, if one did.
    """

    id: VersionId
    number: int
    fingerprint: str
    media_type: str
    size: int
    chunks: int
    brought_by: UserId | None
    created_at: datetime
    live_from: datetime | None
    live_until: datetime | None


@dataclass(frozen=True, slots=True)
class Generation:
    """One way of making an index: which embedder, which analyzer. Entries of two generations never meet."""

    id: GenerationId
    embedder: str
    dimension: int
    analyzer: str
