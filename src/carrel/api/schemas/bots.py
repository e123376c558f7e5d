"""Bots over the wire."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from carrel.api.schemas.types import Asked, Attributes, Identifier, Identifiers, Listing, Name, Text
from carrel.domain.ids import CredentialId, SourceId
from carrel.domain.library import AttributeValue, Bot
from carrel.library.bots import BotChange as Change
from carrel.library.bots import NewBot as BotWish

Instructions = Annotated[Text, Field(max_length=8000)]
ModelName = Annotated[
    Text,
    Field(
        max_length=200,
        description="As its provider calls it; `extractive` for the one without a provider; none is the deployment's.",
    ),
]
Credential = Annotated[Identifier | None, Field(description="The provider credential that its model is called with.")]


class NewBot(Asked):
    name: Name
    source_ids: Annotated[Identifiers, Field(description="The bot reads these sources and no other.")]
    instructions: Instructions = ""
    model: ModelName | None = None
    credential_id: Credential = None
    retrieval: Attributes = Field(default_factory=dict)

    def wish(self) -> BotWish:
        return BotWish(
            name=self.name,
            sources=frozenset(map(SourceId, self.source_ids)),
            instructions=self.instructions,
            model=self.model or None,
            retrieval=self.retrieval,
            credential=None if self.credential_id is None else CredentialId(self.credential_id),
        )


class BotChange(Asked):
    """What is absent or null stays as it is. An empty model is the deployment's own again."""

    name: Name | None = None
    source_ids: Identifiers | None = None
    instructions: Instructions | None = None
    model: ModelName | None = None
    credential_id: Credential = None
    retrieval: Attributes | None = None

    def wish(self) -> Change:
        return Change(
            name=self.name,
            sources=None if self.source_ids is None else frozenset(map(SourceId, self.source_ids)),
            instructions=self.instructions,
            model=self.model,
            retrieval=self.retrieval,
            credential=None if self.credential_id is None else CredentialId(self.credential_id),
        )


class BotView(BaseModel):
    id: UUID
    name: str
    source_ids: list[UUID]
    instructions: str
    model: str | None
    credential_id: UUID | None
    retrieval: dict[str, AttributeValue]
    created_at: datetime

    @classmethod
    def of(cls, bot: Bot) -> "BotView":
        return cls(
            id=bot.id,
            name=bot.name,
            source_ids=sorted(bot.sources),
            instructions=bot.instructions,
            model=bot.model,
            credential_id=bot.credential,
            retrieval=dict(bot.retrieval),
            created_at=bot.created_at,
        )


class BotList(Listing[BotView]):
    pass
