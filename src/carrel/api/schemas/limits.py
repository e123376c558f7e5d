"""Limits, quotas and usage over the wire."""

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Final
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field

from carrel.api.complaints import wrong
from carrel.api.schemas.types import Asked, Day, whole
from carrel.domain.errors import Invalid
from carrel.domain.limits import Limit, Rates, RouteClass, limit_of
from carrel.domain.quotas import UNLIMITED, Level, Quota, Quotas, Resource, UsageLine
from carrel.tenancy.quotas import MOST_DAYS, By, OwnLimits, Period, UsageReport

_MOST: Final = 10**15


def _rate(value: object) -> object:
    try:
        return str(limit_of(value)) if isinstance(value, str) else value
    except Invalid as error:
        raise wrong("invalid_rate", error.detail) from error


Amount = Annotated[int, Field(ge=0, le=_MOST), BeforeValidator(whole)]
Rate = Annotated[str, BeforeValidator(_rate), Field(description="A number and a time: 60/minute, 5/second, 9/day.")]


class QuotaWish(Asked):
    """From `soft` on there are warnings, beyond `hard` refusals."""

    soft: Amount | None = None
    hard: Amount | None = None


class QuotasWish(Asked):
    """All quotas that a tenant has of its own: what is left out is as the settings say."""

    documents: QuotaWish | None = None
    bytes: QuotaWish | None = None
    questions: QuotaWish | None = None
    tokens: QuotaWish | None = None

    def wish(self) -> Quotas:
        given = {resource: getattr(self, resource.value) for resource in Resource}
        return {resource: Quota(one.soft, one.hard) for resource, one in given.items() if one is not None}


class RatesByClass(Asked):
    search: Rate | None = None
    ask: Rate | None = None
    ingest: Rate | None = None
    other: Rate | None = None

    def limits(self) -> dict[RouteClass, Limit]:
        given = {kind: getattr(self, kind.value) for kind in RouteClass}
        return {kind: limit_of(rate) for kind, rate in given.items() if rate is not None}

    @classmethod
    def of(cls, limits: Mapping[RouteClass, Limit]) -> "RatesByClass":
        return cls(**{kind.value: str(limit) for kind, limit in limits.items()})


class RatesWish(Asked):
    """All rates that a tenant has of its own: what is left out is as the settings say."""

    each: Annotated[RatesByClass, Field(description="For each principal.")] = RatesByClass()
    together: Annotated[RatesByClass, Field(description="For all principals together.")] = RatesByClass()
    streams: Annotated[
        int | None, Field(ge=1, le=100_000, description="Answers streamed at once."), BeforeValidator(whole)
    ] = None

    def wish(self) -> Rates:
        return Rates(self.each.limits(), self.together.limits(), self.streams)


class QuotaView(BaseModel):
    soft: int | None
    hard: int | None


class RatesView(BaseModel):
    each: dict[RouteClass, str]
    together: dict[RouteClass, str]
    streams: int | None


class LimitsView(BaseModel):
    """What an operator has set for one tenant; what is absent or null is as the settings say."""

    quotas: dict[Resource, QuotaView]
    rates: RatesView

    @classmethod
    def of(cls, limits: OwnLimits) -> "LimitsView":
        rates = RatesView(
            each={kind: str(limit) for kind, limit in limits.rates.each.items()},
            together={kind: str(limit) for kind, limit in limits.rates.together.items()},
            streams=limits.rates.streams,
        )
        return cls(quotas={name: _quota_view(quota) for name, quota in limits.quotas.items()}, rates=rates)


def _quota_view(quota: Quota = UNLIMITED) -> QuotaView:
    return QuotaView(soft=quota.soft, hard=quota.hard)


class Grouping(StrEnum):
    DAY = "day"
    BOT = "bot"
    MEMBER = "member"
    MODEL = "model"


class UsageQuery(Asked):
    """Days in UTC, both included."""

    first: Annotated[Day | None, Field(alias="from", description="The first day of the month, if absent.")] = None
    last: Annotated[Day | None, Field(alias="to", description=f"Today, if absent. At most {MOST_DAYS} days.")] = None
    group: Annotated[
        tuple[Grouping, ...],
        Field(max_length=4, description="What a line is for; given once for each. Day and bot, if absent."),
    ] = (Grouping.DAY, Grouping.BOT)

    def period(self) -> Period:
        wanted = {grouping.value: grouping in self.group for grouping in Grouping}
        return Period(self.first, self.last, By(**wanted))


class UsageLineView(BaseModel):
    """`day`, `bot_id`, `member_id` or `model` is null where lines are not grouped by it, or where there was none.

    `cost` is in the unit of the price table, and null where no price is known; it leaves `unpriced` questions out.
    """

    kind: str
    day: date | None
    bot_id: UUID | None
    events: int
    bytes: int
    input_tokens: int
    output_tokens: int
    member_id: UUID | None
    model: str | None
    cost: float | None
    unpriced: int

    @classmethod
    def of(cls, line: UsageLine) -> "UsageLineView":
        return cls(
            kind=line.kind,
            day=line.day,
            bot_id=line.bot,
            events=line.events,
            bytes=line.bytes,
            input_tokens=line.input_tokens,
            output_tokens=line.output_tokens,
            member_id=line.member,
            model=line.model,
            cost=None if line.cost is None else float(line.cost),
            unpriced=line.unpriced,
        )


class LevelView(BaseModel):
    """`held` is reserved by what is under way; `resets_at` is null for what is kept, which only deleting frees."""

    quota: Resource
    used: int
    held: int
    soft: int | None
    hard: int | None
    resets_at: datetime | None

    @classmethod
    def of(cls, level: Level) -> "LevelView":
        return cls(
            quota=level.resource,
            used=level.used,
            held=level.held,
            soft=level.quota.soft,
            hard=level.quota.hard,
            resets_at=level.resets_at,
        )


class UsageView(BaseModel):
    first: Annotated[date, Field(serialization_alias="from")]
    last: Annotated[date, Field(serialization_alias="to")]
    items: list[UsageLineView]
    quotas: list[LevelView]

    @classmethod
    def of(cls, report: UsageReport) -> "UsageView":
        return cls(
            first=report.first,
            last=report.last,
            items=[UsageLineView.of(line) for line in report.lines],
            quotas=[LevelView.of(level) for level in report.levels],
        )
