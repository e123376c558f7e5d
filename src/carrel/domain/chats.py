"""Chats as they are read again: questions and answers in their order, and what their reader said of them."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from carrel.domain.answers import ModelProblem, Usage
from carrel.domain.ids import BotId, ChatId, ChunkId, DocumentId, MessageId, SourceId, VersionId

LONGEST_TITLE: Final = 80
LONGEST_EXCERPT: Final = 400


class KeptStatus(StrEnum):
    """What an answer was; `removed` when it is shown no more, since something that it quotes is not there to read."""

    ANSWERED = "answered"
    REFUSED = "refused"
    DEGRADED = "degraded"
    REMOVED = "removed"


class Rating(StrEnum):
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Chat:
    """`updated_at` is the time of its last question; `end_user` is None for nobody in particular."""

    id: ChatId
    title: str
    bot: BotId | None
    end_user: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """Which version an answer saw: its number, the newest one's, and when it was replaced, if it was."""

    number: int
    newest: int
    replaced_at: datetime | None


@dataclass(frozen=True, slots=True)
class Quotation:
    """What `[n]` in an answer refers to, as it can be read now: `document` may be gone, and the chunk with its text."""

    n: int
    chunk: ChunkId
    document: DocumentId
    source: SourceId | None = None
    title: str | None = None
    key: str | None = None
    heading_path: tuple[str, ...] = ()
    page: int | None = None
    line: int | None = None
    text: str | None = None
    version: VersionId | None = None
    seen: Seen | None = None

    @property
    def is_readable(self) -> bool:
        return self.source is not None


@dataclass(frozen=True, slots=True)
class Feedback:
    """What the reader of an answer said of it."""

    rating: Rating
    reason: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Message:
    """One question with its answer. `asked` is what was searched, None where that is the question or not known."""

    id: MessageId
    chat: ChatId
    question: str
    status: KeptStatus
    answer: str
    quotations: tuple[Quotation, ...]
    guidance: tuple[str, ...]
    problem: ModelProblem | None
    asked: str | None
    grounding: float | None
    unsupported: tuple[str, ...]
    usage: Usage
    feedback: Feedback | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Turn:
    """What was asked, in words that stand alone where they are known, and what was answered; empty where removed."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Ratings:
    """How often the answers of a bot (None: of no bot) were called good and bad."""

    bot: BotId | None
    up: int
    down: int


def title_of(question: str) -> str:
    """The first question as one line of at most 80 characters."""
    return shortened(question, LONGEST_TITLE)


def excerpt_of(text: str) -> str:
    """The beginning of a passage, as it stands beside a citation."""
    return shortened(text, LONGEST_EXCERPT)


def shortened(text: str, most: int) -> str:
    """One line without what cannot be seen; words that are left out leave an ellipsis."""
    line = " ".join("".join(" " if _is_unseen(character) else character for character in text).split())
    if len(line) <= most:
        return line
    kept = line[: most - 1]
    return (kept.rsplit(" ", 1)[0] if " " in kept else kept) + "\u2026"


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
