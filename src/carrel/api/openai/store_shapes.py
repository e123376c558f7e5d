"""Vector stores and their files over the wire: sources and documents in OpenAI's words."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from carrel.api.complaints import wrong
from carrel.api.openai.lists import Identified, Listed, Steps, seconds
from carrel.api.schemas.types import Asked, Identifier, Name, Scalar, Text, whole
from carrel.domain.files import Attachment, Batch, Part
from carrel.domain.ids import FileId
from carrel.domain.library import AttributeValue, ChunkRules, Document, DocumentStatus, Failure, Source
from carrel.ingest.attach import MOST_FILES

Trouble = Literal["server_error", "unsupported_file", "invalid_file"]
State = Literal["in_progress", "completed", "cancelled", "failed"]

STATES: Final[Mapping[DocumentStatus, State]] = {
    DocumentStatus.PENDING: "in_progress",
    DocumentStatus.PROCESSING: "in_progress",
    DocumentStatus.READY: "completed",
    DocumentStatus.FAILED: "failed",
}
_MOST_PAIRS: Final = 16
_UNSUPPORTED: Final = frozenset({"unsupported_type", "type_mismatch"})


def _unless_blank(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _no_expiry(value: Any) -> Any:
    if value is not None:
        raise wrong("unsupported_parameter", "Nothing expires here by itself: delete it when it is time.")
    return value


Metadata = Annotated[
    dict[Annotated[Text, Field(min_length=1, max_length=64)], Annotated[Text, Field(max_length=512)]],
    Field(max_length=_MOST_PAIRS),
]
FileAttributes = Annotated[
    dict[Annotated[Text, Field(min_length=1, max_length=64)], Scalar], Field(max_length=_MOST_PAIRS)
]
NoExpiry = Annotated[dict[str, Any] | None, AfterValidator(_no_expiry), Field(description="Not supported.")]
StoreName = Annotated[
    Name | None, BeforeValidator(_unless_blank), Field(description="A name of its own; absent: one is made up.")
]


class StaticLengths(Asked):
    """In tokens of the embedder."""

    max_chunk_size_tokens: Annotated[int, Field(ge=100, le=2048), BeforeValidator(whole)]
    chunk_overlap_tokens: Annotated[int, Field(ge=0, le=1024, description="At most half."), BeforeValidator(whole)]


class Chunking(Asked):
    """`auto`, or `static` with lengths. A vector store has one way of cutting for all its files."""

    type: Literal["auto", "static"]
    static: StaticLengths | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Chunking":
        if (self.type == "static") != (self.static is not None):
            raise wrong("invalid", "`static` goes with its lengths, and `auto` without.")
        if self.static and self.static.chunk_overlap_tokens > self.static.max_chunk_size_tokens // 2:
            raise wrong("out_of_range", "The overlap is at most half of the size.")
        return self

    def rules(self) -> ChunkRules | None:
        """None: as it is."""
        if self.static is None:
            return None
        return ChunkRules(self.static.max_chunk_size_tokens, self.static.chunk_overlap_tokens)


FileIds = Annotated[list[Identifier], Field(max_length=MOST_FILES)]


class NewVectorStore(Asked):
    name: StoreName = None
    description: Annotated[Text | None, Field(max_length=2000, description="Not kept.")] = None
    file_ids: FileIds | None = None
    metadata: Metadata | None = None
    chunking_strategy: Chunking | None = None
    expires_after: NoExpiry = None


class VectorStoreChange(Asked):
    """What is absent or null stays as it is."""

    name: Name | None = None
    metadata: Metadata | None = None
    expires_after: NoExpiry = None


class FileCounts(BaseModel):
    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    total: int = 0

    @classmethod
    def of(cls, counted: Mapping[DocumentStatus, int]) -> "FileCounts":
        by_state: dict[str, int] = {}
        for status, state in STATES.items():
            by_state[state] = by_state.get(state, 0) + counted.get(status, 0)
        return cls(**by_state, total=sum(by_state.values()))


class VectorStoreView(Identified):
    object: Literal["vector_store"] = "vector_store"
    created_at: int
    name: str
    usage_bytes: int
    file_counts: FileCounts
    status: Literal["in_progress", "completed"]
    expires_after: None = None
    expires_at: None = None
    last_active_at: None = None
    metadata: dict[str, str]

    @classmethod
    def of(cls, source: Source, size: int = 0) -> "VectorStoreView":
        counts = FileCounts.of(source.documents)
        return cls(
            id=str(source.id),
            created_at=seconds(source.created_at),
            name=source.name,
            usage_bytes=size,
            file_counts=counts,
            status="in_progress" if counts.in_progress else "completed",
            metadata=dict(source.metadata),
        )


class VectorStoreList(Listed[VectorStoreView]):
    pass


class VectorStoreDeleted(Identified):
    object: Literal["vector_store.deleted"] = "vector_store.deleted"
    deleted: Literal[True] = True


class NewStoreFile(Asked):
    file_id: Identifier
    attributes: FileAttributes | None = None
    chunking_strategy: Chunking | None = None

    def wish(self) -> Attachment:
        return Attachment(FileId(self.file_id), self.attributes)


class NewBatch(Asked):
    """`file_ids`, or `files` of which each has its own attributes."""

    file_ids: FileIds | None = None
    files: Annotated[list[NewStoreFile] | None, Field(max_length=MOST_FILES)] = None
    attributes: FileAttributes | None = None
    chunking_strategy: Chunking | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "NewBatch":
        if bool(self.file_ids) == bool(self.files):
            raise wrong("invalid", "Give file_ids or files: one of them, and at least one file.")
        return self

    def wishes(self) -> list[Attachment]:
        """A file that is named twice is attached once."""
        named = [file.wish() for file in self.files or ()]
        named += [Attachment(FileId(file), self.attributes) for file in self.file_ids or ()]
        return list({wish.file: wish for wish in named}.values())

    def strategies(self) -> list[Chunking]:
        each = [self.chunking_strategy, *(file.chunking_strategy for file in self.files or ())]
        return [one for one in each if one is not None]


class StoreFileChange(Asked):
    attributes: Annotated[FileAttributes | None, Field(description="They replace what the file had; null: none.")]


class StoreFilesQuery(Steps):
    filter: Annotated[State | None, Field(description="Only files in this state.")] = None


class StoreFileError(BaseModel):
    """`code` is one of OpenAI's; `reason` is Carrel's own, as on every failed document."""

    code: Trouble
    message: str
    reason: str


class StaticChunking(BaseModel):
    max_chunk_size_tokens: int
    chunk_overlap_tokens: int


class ChunkingView(BaseModel):
    type: Literal["static"] = "static"
    static: StaticChunking


class StoreFileView(Identified):
    """A document. Its id is that of the file that it was made of; what came by another way has its own."""

    object: Literal["vector_store.file"] = "vector_store.file"
    created_at: int
    vector_store_id: str
    status: State
    last_error: StoreFileError | None
    usage_bytes: int
    attributes: dict[str, AttributeValue]
    chunking_strategy: ChunkingView
    filename: str | None
    document_id: UUID | None

    @classmethod
    def of(cls, document: Document, rules: ChunkRules) -> "StoreFileView":
        return cls(
            id=str(document.file or document.id),
            created_at=seconds(document.created_at),
            vector_store_id=str(document.source),
            status=STATES[document.status],
            last_error=None if document.error is None else _error(document.error),
            usage_bytes=document.size,
            attributes=dict(document.attributes),
            chunking_strategy=_chunking(rules),
            filename=document.key,
            document_id=document.id,
        )

    @classmethod
    def rejected(cls, part: Part, batch: Batch, rules: ChunkRules) -> "StoreFileView":
        """A file of a batch that became no document."""
        code, detail = part.code or "invalid", part.detail or ""
        return cls(
            id=str(part.file),
            created_at=seconds(batch.created_at),
            vector_store_id=str(batch.source),
            status="failed",
            last_error=_named(code, detail, retryable=code == "quota_exceeded"),
            usage_bytes=0,
            attributes={},
            chunking_strategy=_chunking(rules),
            filename=None,
            document_id=None,
        )


class StoreFileList(Listed[StoreFileView]):
    pass


class StoreFileDeleted(Identified):
    object: Literal["vector_store.file.deleted"] = "vector_store.file.deleted"
    deleted: Literal[True] = True


class TextPart(BaseModel):
    type: Literal["text"] = "text"
    text: str


class FileContent(BaseModel):
    """The chunks' texts in order; neighbours overlap."""

    object: Literal["vector_store.file_content.page"] = "vector_store.file_content.page"
    file_id: str
    filename: str
    attributes: dict[str, AttributeValue]
    data: list[TextPart]
    has_more: Literal[False] = False
    next_page: None = None


class BatchView(Identified):
    object: Literal["vector_store.files_batch"] = "vector_store.files_batch"
    created_at: int
    vector_store_id: str
    status: State
    file_counts: FileCounts

    @classmethod
    def of(cls, batch: Batch) -> "BatchView":
        states = [state_of(part, batch) for part in batch.parts]
        counts = FileCounts(total=len(states), **{state: states.count(state) for state in set(states)})
        return cls(
            id=str(batch.id),
            created_at=seconds(batch.created_at),
            vector_store_id=str(batch.source),
            status="in_progress" if counts.in_progress else "completed",
            file_counts=counts,
        )


def state_of(part: Part, batch: Batch) -> State:
    """A document that was forgotten since counts as cancelled."""
    if part.document is None:
        return "failed"
    document = batch.documents.get(part.document)
    return "cancelled" if document is None else STATES[document.status]


def _chunking(rules: ChunkRules) -> ChunkingView:
    return ChunkingView(static=StaticChunking(max_chunk_size_tokens=rules.size, chunk_overlap_tokens=rules.overlap))


def _error(failure: Failure) -> StoreFileError:
    return _named(failure.code, failure.detail, retryable=failure.retryable)


def _named(code: str, detail: str, *, retryable: bool) -> StoreFileError:
    kind: Trouble = "invalid_file"
    if retryable:
        kind = "server_error"
    elif code in _UNSUPPORTED:
        kind = "unsupported_file"
    return StoreFileError(code=kind, message=detail, reason=code)
