"""Webhooks over the wire: their secret in clear once, when it is made."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, Field

from carrel.api.schemas.types import Asked, Flag, Identifiers, Listing, Paging, Text
from carrel.domain.ids import SourceId
from carrel.domain.webhooks import DeliveryState, DisabledReason, Occasion
from carrel.tenancy.webhooks import Delivery, Webhook, WebhookWish
from carrel.tenancy.webhooks import WebhookChange as Change

Address = Annotated[
    str, Field(min_length=1, max_length=2000, description="Where events are sent: https, or http, and no redirect.")
]
Events = Annotated[
    list[Occasion], Field(max_length=len(Occasion), description="What to tell; `webhook.test` cannot be chosen.")
]
Words = Annotated[Text, Field(max_length=500)]


class NewWebhook(Asked):
    url: Address
    events: Events
    description: Words = ""
    source_ids: Annotated[
        Identifiers | None, Field(description="Only what is about these sources; null means all that are shared.")
    ] = None

    def wish(self) -> WebhookWish:
        sources = None if self.source_ids is None else frozenset(map(SourceId, self.source_ids))
        return WebhookWish(self.url, frozenset(self.events), sources, self.description)


class WebhookChange(Asked):
    """What is absent or null stays as it is."""

    url: Address | None = None
    events: Events | None = None
    enabled: Flag | None = None
    description: Words | None = None

    def wish(self) -> Change:
        return Change(
            url=self.url,
            events=None if self.events is None else frozenset(self.events),
            enabled=self.enabled,
            description=self.description,
        )


class WebhookView(BaseModel):
    id: UUID
    url: str
    events: list[Occasion]
    source_ids: list[UUID] | None
    description: str
    enabled: bool
    disabled_reason: Annotated[
        DisabledReason | None, Field(description="Why it was switched off by itself; null if it was not.")
    ]
    failing_since: Annotated[datetime | None, Field(description="Since when there are failures and nothing else.")]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, webhook: Webhook) -> Self:
        return cls(
            id=webhook.id,
            url=webhook.url,
            events=sorted(webhook.events),
            source_ids=None if webhook.sources is None else sorted(webhook.sources),
            description=webhook.description,
            enabled=webhook.enabled,
            disabled_reason=webhook.disabled_reason,
            failing_since=webhook.failing_since,
            created_at=webhook.created_at,
            updated_at=webhook.updated_at,
        )


class IssuedWebhookView(WebhookView):
    secret: Annotated[str, Field(description="What deliveries are signed with; shown in this answer only.")]


class WebhookList(Listing[WebhookView]):
    pass


class DeliveriesQuery(Paging):
    status: DeliveryState | None = None


class DeliveryView(BaseModel):
    """`response_code` is the last answer's status; `problem` says why the last try was not good."""

    id: UUID
    webhook_id: UUID
    event: Occasion
    status: DeliveryState
    attempts: int
    response_code: int | None
    problem: str | None
    duration_ms: int | None
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        last = delivery.last
        return cls(
            id=delivery.id,
            webhook_id=delivery.webhook,
            event=delivery.event,
            status=delivery.state,
            attempts=delivery.attempts,
            response_code=None if last is None else last.status,
            problem=None if last is None else last.problem,
            duration_ms=None if last is None else last.milliseconds,
            next_attempt_at=delivery.due_at,
            created_at=delivery.created_at,
            finished_at=delivery.finished_at,
        )


class DeliveryList(Listing[DeliveryView]):
    pass
