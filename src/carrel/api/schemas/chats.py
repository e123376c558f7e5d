"""Chats and what is said of their answers, over the wire."""

from datetime import date, datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from carrel.api.schemas.answers import ModelProblemView, UsageView
from carrel.api.schemas.types import Asked, Day, Listing, Name, Paging, Text
from carrel.ask.chats import RatingsReport
from carrel.ask.transcript import chat_shape, feedback_shape, message_shape
from carrel.domain.chats import Chat, Feedback, KeptStatus, Message, Rating

EndUser = Annotated[
    Name | None, Field(description="Your own name for whose chats these are; without it they are nobody's.")
]


class ForWhom(Asked):
    end_user: EndUser = None


class ChatsQuery(Paging):
    end_user: EndUser = None


class ExportQuery(ForWhom):
    format: Literal["json", "csv"] = "json"


class ChatChange(Asked):
    title: Name


class ChatView(BaseModel):
    """`updated_at` is the time of the last question."""

    id: UUID
    title: str
    bot_id: UUID | None
    end_user: str | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, chat: Chat) -> Self:
        return cls.model_validate(chat_shape(chat))


class ChatList(Listing[ChatView]):
    pass


class SeenView(BaseModel):
    """Which version of the document the answer saw, of how many, and when it was replaced, if it was."""

    version: int
    of: int
    replaced_at: datetime | None


class KeptCitationView(BaseModel):
    """As it can be read now: `[removed]` stands for what is not there any more, or may not be read."""

    n: int
    chunk_id: UUID
    document_id: UUID
    source_id: UUID | None
    title: str
    key: str
    heading_path: list[str]
    page: int | None
    line: int | None
    excerpt: str
    version_id: Annotated[UUID | None, Field(description="That the answer saw; null in answers of an older Carrel.")]
    seen: Annotated[SeenView | None, Field(description="Null where the document or the version's record is gone.")]


class FeedbackView(BaseModel):
    rating: Rating
    reason: str
    updated_at: datetime

    @classmethod
    def of(cls, feedback: Feedback) -> Self:
        return cls.model_validate(feedback_shape(feedback))


class MessageView(BaseModel):
    """A question and its answer. `asked` is what was searched, null where that was the question itself."""

    id: UUID
    chat_id: UUID
    question: str
    status: KeptStatus
    answer: str
    citations: list[KeptCitationView]
    guidance: list[str]
    problem: ModelProblemView | None
    asked: str | None
    grounding: Annotated[float | None, Field(description="How far the evidence bears the answer out, 0 to 1.")]
    unsupported: Annotated[list[str], Field(description="Sentences of the answer that the evidence does not bear out.")]
    usage: UsageView
    feedback: FeedbackView | None
    created_at: datetime

    @classmethod
    def of(cls, message: Message) -> Self:
        return cls.model_validate(message_shape(message))


class MessageList(BaseModel):
    """One page, oldest first; `next_cursor` leads to the next one, null means that there is none."""

    items: list[MessageView]
    next_cursor: str | None


class FeedbackWish(Asked):
    rating: Rating
    reason: Annotated[Text | None, Field(max_length=2_000)] = None


class RatingsQuery(Asked):
    """Days in UTC, both included."""

    first: Annotated[Day | None, Field(alias="from", description="The first day of the month, if absent.")] = None
    last: Annotated[Day | None, Field(alias="to", description="Today, if absent. At most 366 days.")] = None


class RatingsLine(BaseModel):
    """`bot_id` is null for answers that no bot gave."""

    bot_id: UUID | None
    up: int
    down: int


class RatingsView(BaseModel):
    first: Annotated[date, Field(serialization_alias="from")]
    last: Annotated[date, Field(serialization_alias="to")]
    items: list[RatingsLine]

    @classmethod
    def of(cls, report: RatingsReport) -> Self:
        items = [RatingsLine(bot_id=line.bot, up=line.up, down=line.down) for line in report.lines]
        return cls(first=report.first, last=report.last, items=items)
