"""Keys over the wire: in clear once, when they are made."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, Field

from carrel.api.schemas.types import Asked, Identifiers, Listing, Moment, Name
from carrel.domain.ids import BotId, SourceId
from carrel.domain.rights import Scope
from carrel.tenancy.keys import KeyRow, KeyWish


class NewKey(Asked):
    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))]
    expires_at: Moment | None = None
    bot_ids: Annotated[Identifiers | None, Field(description="The key sees these bots only; null means all.")] = None
    source_ids: Annotated[Identifiers | None, Field(description="The key sees these sources only; null means all.")] = (
        None
    )

    def wish(self) -> KeyWish:
        return KeyWish(
            name=self.name,
            scopes=frozenset(self.scopes),
            expires_at=self.expires_at,
            bots=None if self.bot_ids is None else frozenset(map(BotId, self.bot_ids)),
            sources=None if self.source_ids is None else frozenset(map(SourceId, self.source_ids)),
        )


class KeyView(BaseModel):
    id: UUID
    name: str
    scopes: list[Scope]
    bot_ids: list[UUID] | None
    source_ids: list[UUID] | None
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    made_by: UUID | None
    created_at: datetime

    @classmethod
    def of(cls, key: KeyRow) -> Self:
        return cls(
            id=key.id,
            name=key.name,
            scopes=[scope for scope in Scope if scope in key.scopes],
            bot_ids=None if key.bots is None else sorted(key.bots),
            source_ids=None if key.sources is None else sorted(key.sources),
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
            last_used_at=key.last_used_at,
            made_by=key.made_by,
            created_at=key.created_at,
        )


class IssuedKeyView(KeyView):
    key: Annotated[str, Field(description="The key in clear. It is in this answer only.")]


class KeyList(Listing[KeyView]):
    pass
