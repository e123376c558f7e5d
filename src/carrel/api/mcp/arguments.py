"""What tools are asked for: the same rules as in the HTTP surface, without what makes no sense to a model."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field

from carrel.api.schemas.answers import Question, Scoped
from carrel.api.schemas.types import Asked, AttributeName, Choice, Identifier, Identifiers, Name, Text, whole
from carrel.ask.across import MOST_TENANTS
from carrel.ask.pipeline import ChatWish, SearchWish
from carrel.domain.ids import ChatId

Slug = Annotated[Text, Field(min_length=1, max_length=200)]


class _Scoped(Scoped):
    bot_id: Annotated[Identifier | None, Field(description="Read what this bot reads; see list_bots.")] = None
    source_ids: Annotated[
        Identifiers | None, Field(description="Read only these sources; see list_sources. Not together with bot_id.")
    ] = None


class SearchArguments(_Scoped):
    query: Annotated[Question, Field(description="What to look for: a question, or words as the documents use them.")]
    limit: Annotated[int, Field(ge=1, le=100, description="How many passages."), BeforeValidator(whole)] = 10
    filters: Annotated[
        Mapping[AttributeName, Choice],
        Field(max_length=50, description="Attributes of documents, each with the values that it may have."),
    ] = Field(default_factory=dict)
    tenants: Annotated[
        tuple[Slug, ...] | None,
        Field(
            max_length=MOST_TENANTS, description="Organisations, for a person who belongs to several; else leave it."
        ),
    ] = None

    def wish(self) -> SearchWish:
        return SearchWish(
            query=self.query,
            bot=self.bot(),
            sources=self.sources(),
            tenants=self.tenants,
            limit=self.limit,
            filters=self.filters,
        )


class AskArguments(_Scoped):
    message: Annotated[Question, Field(description="The question, in plain language.")]
    chat_id: Annotated[
        Identifier | None, Field(description="Go on with this chat, so that the question may rest on what was said.")
    ] = None
    end_user: Annotated[Name | None, Field(description="Whose chat it is, if the caller asks for somebody else.")] = (
        None
    )

    def wish(self) -> ChatWish:
        return ChatWish(
            message=self.message,
            bot=self.bot(),
            sources=self.sources(),
            chat=None if self.chat_id is None else ChatId(self.chat_id),
            end_user=self.end_user,
        )


class _Paged(Asked):
    limit: Annotated[int, Field(ge=1, le=200), BeforeValidator(whole)] = 50
    cursor: Annotated[str | None, Field(max_length=512, description="`next_cursor` of the page before.")] = None


class ListSourcesArguments(_Paged):
    bot_id: Annotated[Identifier | None, Field(description="Only what this bot reads.")] = None


class ListBotsArguments(_Paged):
    pass
