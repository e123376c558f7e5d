"""The archive of a tenant: a plain tar of open files, as it is written and as each of its lines must be.

JSON lines for what is rows, `blobs/<version or file id>` for original bytes, and `manifest.json` last: an archive that
was cut short has none. docs/tenants.md describes the files.
"""

from datetime import datetime
from tarfile import GNU_FORMAT, TarInfo
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from carrel.domain.chats import Rating
from carrel.domain.errors import Invalid
from carrel.domain.keys import place_key
from carrel.domain.library import Duplicates, SourceKind, Visibility
from carrel.domain.places import place_of
from carrel.domain.rights import Role
from carrel.domain.webhooks import MOST_WEBHOOKS, Occasion

FORMAT: Final = "carrel-tenant"
VERSION: Final = 3
READABLE: Final = (1, 2, 3)  # 1 had no titles, no end users of messages and no feedback, 2 no history of documents
MANIFEST: Final = "manifest.json"
FILES: Final = (
    "tenant.json",
    "settings.json",
    "members.jsonl",
    "sources.jsonl",
    "bots.jsonl",
    "documents.jsonl",
    "files.jsonl",
    "chunks.jsonl",
    "chats.jsonl",
    "messages.jsonl",
    "audit.jsonl",
)
SINCE_2: Final = frozenset({"files.jsonl"})
"""What an archive of the first version has not."""
LEFT_OUT: Final = (
    "passwords, sessions and one-time codes",
    "API keys and invitations",
    "provider credentials and the keys that encrypt them",
    "the secrets of webhooks, what stands behind the ? of their addresses, and what was told to them",
    "the runs of sources that refresh themselves, and what they remember of their places",
    "index entries, which are made anew",
)
BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _visible(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("a name is made of characters that can be seen")
    return text


Named = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_visible)]
Key = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(place_key)]
Short = Annotated[str, Field(max_length=512)]
Value = Annotated[str, Field(max_length=512)] | bool | Annotated[int, Field(ge=-(2**63), lt=2**63)] | float
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class TenantLine(_Line):
    id: UUID
    slug: str
    name: Named
    isolation: str
    created_at: datetime


class MemberLine(_Line):
    id: UUID
    email: Annotated[str, Field(max_length=320)]
    name: str
    role: Role
    status: Literal["active", "suspended"]
    created_at: datetime


class SourceLine(_Line):
    """`owner_id` is null for a source that the whole tenant may read; `bots` are those that read it."""

    id: UUID
    name: Named
    kind: SourceKind
    visibility: Visibility
    duplicates: Duplicates
    chunk_size: Annotated[int, Field(ge=1, le=100_000)]
    chunk_overlap: Annotated[int, Field(ge=0, le=100_000)]
    owner_id: UUID | None
    created_at: datetime
    bots: list[UUID]
    place: dict[str, Any] | None = None
    schedule: Annotated[int, Field(ge=60)] | None = None

    @model_validator(mode="after")
    def _has_its_place(self) -> Self:
        try:
            place_of(self.kind, self.place)
        except Invalid as refusal:
            raise ValueError(refusal.detail) from refusal
        return self


class BotLine(_Line):
    id: UUID
    name: Named
    instructions: Annotated[str, Field(max_length=100_000)]
    model: Short | None
    retrieval: dict[Short, Value]
    created_at: datetime


class VersionLine(_Line):
    id: UUID
    sha256: Digest
    size: Annotated[int, Field(ge=1)]
    media_type: Short
    state: Literal["pending", "processing", "ready", "failed"]
    chunks: int
    failure_code: Short | None
    created_at: datetime
    live: bool


class HistoryLine(_Line):
    """A version that there is or was; `brought_by` is a member."""

    id: UUID
    number: Annotated[int, Field(ge=1, le=10**9)]
    sha256: Digest
    media_type: Short
    size: Annotated[int, Field(ge=1)]
    chunks: Annotated[int, Field(ge=0, le=2**31 - 1)]
    brought_by: UUID | None
    created_at: datetime
    live_from: datetime | None
    live_until: datetime | None


class DocumentLine(_Line):
    id: UUID
    source_id: UUID
    key: Key
    title: str
    attributes: Annotated[dict[Annotated[str, Field(min_length=1, max_length=512)], Value], Field(max_length=64)]
    same_as: UUID | None
    created_at: datetime
    updated_at: datetime
    versions: Annotated[list[VersionLine], Field(min_length=1, max_length=1_000)]
    history: Annotated[list[HistoryLine], Field(max_length=1_000)] = []

    @property
    def current(self) -> VersionLine:
        """The version that is searched, or the newest where none is."""
        return next((version for version in self.versions if version.live), self.versions[-1])


class FileLine(_Line):
    """`documents` are those that were made of it."""

    id: UUID
    owner_id: UUID
    name: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(place_key)]
    purpose: Short
    media_type: Annotated[str, Field(max_length=1_024)] | None
    size: Annotated[int, Field(ge=1)]
    sha256: Digest
    created_at: datetime
    documents: list[UUID]


class ChatLine(_Line):
    id: UUID
    owner_id: UUID
    bot_id: UUID | None
    end_user: Annotated[str, Field(min_length=1, max_length=512)] | None
    title: Short = ""
    created_at: datetime
    updated_at: datetime | None = None


class CitationLine(_Line):
    """`text_hash` finds the chunk again where ids are new; null where its text is gone.

    An `n` below 1 is no citation: the document is one that a refusal names in its guidance.
    """

    n: Annotated[int, Field(ge=-10_000, le=10_000)]
    document_id: UUID
    chunk_id: UUID
    text_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None


class FeedbackLine(_Line):
    rating: Rating
    reason: Annotated[str, Field(max_length=10_000)]
    bot_id: UUID | None
    created_at: datetime
    updated_at: datetime


class MessageLine(_Line):
    id: UUID
    chat_id: UUID
    question: Annotated[str, Field(max_length=100_000)]
    status: Literal["answered", "refused", "degraded", "removed"]
    answer: str
    guidance: Annotated[list[str], Field(max_length=1_000)] = []
    problem_code: Short | None = None
    problem_detail: str | None = None
    asked: Annotated[str, Field(max_length=100_000)] | None = None
    grounding: float | None = None
    unsupported: Annotated[list[str], Field(max_length=10_000)] = []
    feedback: FeedbackLine | None = None
    model: str
    input_tokens: Annotated[int, Field(ge=0, le=2**31 - 1)]
    output_tokens: Annotated[int, Field(ge=0, le=2**31 - 1)]
    created_at: datetime
    citations: Annotated[list[CitationLine], Field(max_length=1_000)]


class WebhookLine(_Line):
    id: UUID
    url: Annotated[str, Field(min_length=1, max_length=2_000)]
    events: Annotated[list[Occasion], Field(min_length=1, max_length=len(Occasion))]
    source_ids: list[UUID] | None
    description: Annotated[str, Field(max_length=500)]
    enabled: bool
    created_at: datetime


class SettingsLine(_Line):
    """What an import reads of the settings; the rest is for people."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    webhooks: Annotated[list[WebhookLine], Field(max_length=MOST_WEBHOOKS)] = []


class FileNote(_Line):
    bytes: int
    sha256: Digest
    lines: int


class BlobsNote(_Line):
    """`missing` are versions whose bytes were gone when it was their turn: deleted while the archive was written."""

    count: int
    bytes: int
    missing: list[UUID] = []


class Manifest(_Line):
    """`private` is `all` where every member's private sources and chats are in the archive, `own` where the asker's."""

    format: Literal["carrel-tenant"]
    version: int
    made_at: datetime
    private: Literal["all", "own"]
    files: dict[str, FileNote]
    blobs: BlobsNote
    left_out: list[str]


def header(name: str, size: int, *, moment: float) -> bytes:
    """What stands before a file of that many bytes."""
    info = TarInfo(name)
    info.size, info.mtime, info.mode = size, int(moment), 0o600
    return info.tobuf(GNU_FORMAT)


def padding(size: int) -> bytes:
    """What stands behind it, so that the next one begins at a block."""
    return bytes(-size % BLOCK)
