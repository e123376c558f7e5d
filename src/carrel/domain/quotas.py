"""How much a tenant may keep, and ask in a month; and how much it did."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID

from carrel.domain.ids import BotId, UserId


class Resource(StrEnum):
    """What has a quota. Documents and bytes are what is kept now; questions and tokens begin anew with each month."""

    DOCUMENTS = "documents"
    BYTES = "bytes"
    QUESTIONS = "questions"
    TOKENS = "tokens"


MONTHLY: Final = frozenset({Resource.QUESTIONS, Resource.TOKENS})


@dataclass(frozen=True, slots=True)
class Quota:
    """From `soft` on a tenant is warned, beyond `hard` it is refused; None is no limit."""

    soft: int | None = None
    hard: int | None = None


Quotas = Mapping[Resource, Quota]
UNLIMITED: Final = Quota()
NO_QUOTAS: Final[Quotas] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Level:
    """Where a tenant stands: `held` is reserved by what is under way; `resets_at` is the end of a monthly quota."""

    resource: Resource
    quota: Quota
    used: int
    held: int
    resets_at: datetime | None

    @property
    def is_warned(self) -> bool:
        return self.quota.soft is not None and self.used >= self.quota.soft


@dataclass(frozen=True, slots=True)
class Hold:
    """A reservation, if one was needed. It is a lease: what dies gives back what it held. `levels` are of before it."""

    id: UUID | None = None
    levels: tuple[Level, ...] = ()

    @property
    def warnings(self) -> tuple[Level, ...]:
        return tuple(level for level in self.levels if level.is_warned)

    def is_full(self, resource: Resource) -> bool:
        """Whether there is no room for one more of what is kept."""
        return any(
            level.quota.hard is not None and level.used + level.held >= level.quota.hard
            for level in self.levels
            if level.resource is resource
        )


NOTHING_HELD: Final = Hold()


class UsageKind(StrEnum):
    """What the ledger counts: questions and embeddings with their tokens, documents with their bytes as they came."""

    QUESTION = "question"
    DOCUMENT = "document"
    EMBEDDING = "embedding"


@dataclass(frozen=True, slots=True)
class UsageLine:
    """What was used on a day, or in all the days asked for; by a bot, a member or a model, by none, or by whichever.

    `cost` is in the unit of the price table: None where no price was known for anything in the line. `unpriced` is for
    how many questions none was known; the cost leaves them out.
    """

    kind: UsageKind
    day: date | None
    bot: BotId | None
    events: int
    bytes: int
    input_tokens: int
    output_tokens: int
    member: UserId | None = None
    model: str | None = None
    cost: Decimal | None = None
    unpriced: int = 0
