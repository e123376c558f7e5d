"""What a source that refreshes itself must know of the place that its documents come from."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

from carrel.domain.ids import CredentialId, DocumentId


@dataclass(frozen=True, slots=True)
class Site:
    """Pages from `urls` on: those alone for `depth` 0, else what they link to on the same host, so many steps away.

    With `sitemap` the addresses are sitemaps, and the pages are those that they name. `pages` at most are read.
    """

    urls: tuple[str, ...]
    sitemap: bool = False
    depth: int = 0
    pages: int = 1_000


@dataclass(frozen=True, slots=True)
class Bucket:
    """The objects of an S3 bucket below `prefix`. Without an endpoint it is Amazon's of the region.

    Endpoints are the operator's to allow. `credential` names a secret of the tenant; without one the bucket is public.
    `queue` is the SQS queue that hears of its objects.
    """

    bucket: str
    prefix: str = ""
    region: str = "us-east-1"
    endpoint: str | None = None
    credential: CredentialId | None = None
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class Folder:
    """The files below a folder of this machine, which the operator has opened for the tenant."""

    path: str


Place: TypeAlias = Site | Bucket | Folder


class RunState(StrEnum):
    """running -> done | partial (some things could not be had, or it was stopped) | failed (the place could not)."""

    RUNNING = "running"
    DONE = "done"
    PARTIAL = "partial"
    FAILED = "failed"


class ItemStatus(StrEnum):
    OK = "ok"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something could not be had: a stable code and a sentence."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Counts:
    """What a walk found, and what became of it."""

    found: int = 0
    created: int = 0
    replaced: int = 0
    unchanged: int = 0
    deleted: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One walk of a source's place from its beginning to its end, or as far as it came."""

    id: UUID
    state: RunState
    started_at: datetime
    ended_at: datetime | None
    counts: Counts = field(default_factory=Counts)
    problem: Reason | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A thing that was seen at a source's place. Its document is not there where its name cannot be a key."""

    key: str
    document: DocumentId | None
    failure: Reason | None
    changed_at: datetime
