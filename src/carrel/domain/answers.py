"""Questions, passages, evidence and answers."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from carrel.domain.ids import BotId, ChatId, ChunkId, DocumentId, MessageId, SourceId, TenantId, VersionId


@dataclass(frozen=True, slots=True)
class Wish:
    """What an asker would like to read: the sources of a bot, named sources, or (neither) all that it may."""

    bot: BotId | None = None
    sources: frozenset[SourceId] | None = None


Versions = frozenset[VersionId] | None
"""The versions that a search is limited to; None is no limit."""


class Hit(NamedTuple):
    """What an index returns: an id and a score, never text. A tuple: each search makes hundreds."""

    chunk: ChunkId
    score: float


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that was found, loaded under the scope. `score` ranks within one answer; `confidence` is 0 to 1."""

    chunk: ChunkId
    document: DocumentId
    version: VersionId
    source: SourceId
    tenant: TenantId
    title: str
    key: str
    heading_path: tuple[str, ...]
    page: int | None
    text: str
    ordinal: int
    twin_of: bytes
    score: float = 0.0
    confidence: float = 0.0
    dense: float | None = None
    lexical: float | None = None
    line: int | None = None


class AnswerStatus(StrEnum):
    ANSWERED = "answered"
    REFUSED = "refused"
    DEGRADED = "degraded"


@dataclass(frozen=True, slots=True)
class Citation:
    """`n` as it stands in the answer, and the passage that it names."""

    n: int
    passage: Passage
    excerpt: str


@dataclass(frozen=True, slots=True)
class Usage:
    input_tokens: int
    output_tokens: int
    model: str


@dataclass(frozen=True, slots=True)
class ModelProblem:
    """Why an answer is degraded: a stable code, and one sentence for a person."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Answer:
    """`asked` is the question as it was searched: rewritten to stand alone where it rested on what was said before.

    `unsupported` are sentences of the text that the evidence does not bear out; `grounding` (0 to 1) is how far it
    bears out the whole, None where nothing was written.
    """

    status: AnswerStatus
    text: str
    citations: tuple[Citation, ...]
    evidence: tuple[Passage, ...]
    guidance: tuple[str, ...]
    usage: Usage
    problem: ModelProblem | None = None
    asked: str | None = None
    grounding: float | None = None
    unsupported: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Remembered:
    """An answer, and where it was kept."""

    chat: ChatId
    message: MessageId
    answer: Answer
