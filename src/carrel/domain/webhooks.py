"""Webhooks: what a tenant is told of at an address of its own, when a delivery is tried again, and how it is signed.

The form is that of Standard Webhooks 1.0 (standardwebhooks.com): three headers, and HMAC-SHA256 over
`id.timestamp.body` with the bytes that the secret is the base64 of.
"""

import base64
import hmac
import os
import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from carrel.domain.errors import Invalid
from carrel.domain.ids import DeliveryId, SourceId, WebhookId
from carrel.domain.secret import Secret

MOST_WEBHOOKS: Final = 20
MOST_ATTEMPTS: Final = 11
GIVES_UP_AFTER: Final = 3 * 24  # hours of nothing but failures
KEPT_DAYS: Final = 30
FORMER_SECRET_HOURS: Final = 24

_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32
_FIRST_DELAY: Final = 5.0
_LONGEST_DELAY: Final = 6 * 3600.0
_JITTER: Final = 0.2
_ADDRESS: Final = re.compile(r"[\x21-\x7e]{1,2000}", re.ASCII)


class Occasion(StrEnum):
    """What a webhook can be told of; `webhook.test` comes when it is asked for, and cannot be chosen."""

    DOCUMENT_READY = "document.ready"
    DOCUMENT_FAILED = "document.failed"
    SOURCE_REFRESHED = "source.refreshed"
    QUOTA_THRESHOLD = "quota.threshold"
    TEST = "webhook.test"


OF_THE_TENANT: Final = frozenset({Occasion.QUOTA_THRESHOLD, Occasion.TEST})
"""What is about no source; all else names one."""


class DisabledReason(StrEnum):
    """Why a webhook was switched off by itself: the address answered 410, or nothing but failures came for days."""

    GONE = "gone"
    FAILING = "failing"


class DeliveryState(StrEnum):
    """waiting -> delivered | failed; failed -> waiting by hand."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Webhook:
    """What is shown of a webhook: everything but its secrets. `sources` of None are all that the whole tenant sees."""

    id: WebhookId
    url: str
    events: frozenset[Occasion]
    sources: frozenset[SourceId] | None
    description: str
    enabled: bool
    disabled_reason: DisabledReason | None
    failing_since: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the other side said, in `milliseconds`: a status, or else why there is none."""

    milliseconds: int
    status: int | None = None
    problem: str | None = None

    @property
    def is_good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - RFC 9110, section 15.3

    @property
    def is_gone(self) -> bool:
        return self.status == 410  # noqa: PLR2004 - RFC 9110, section 15.5.11


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one webhook; `last` is its last attempt, `due_at` the next one's time while it waits."""

    id: DeliveryId
    webhook: WebhookId
    event: Occasion
    state: DeliveryState
    attempts: int
    last: Attempt | None
    due_at: datetime | None
    created_at: datetime
    finished_at: datetime | None


def delay_after(attempt: int) -> float:
    """Seconds until the next try: 5, 20, 80 … up to 6 hours, each up to a fifth more or less. About a day in all."""
    ceiling = min(_FIRST_DELAY * 4.0 ** (attempt - 1), _LONGEST_DELAY)
    return ceiling * (1 - _JITTER + 2 * _JITTER * random.random())  # noqa: S311 - jitter, not a secret


def new_secret() -> Secret:
    return secret_of(os.urandom(_SECRET_BYTES))


def secret_of(key: bytes) -> Secret:
    """As its receiver is told it."""
    return Secret(_PREFIX + base64.b64encode(key).decode())


def message_id(delivery: DeliveryId) -> str:
    """The same at each try, so that a receiver knows what it has heard before."""
    return f"msg_{delivery.hex}"


def signature(secrets: Sequence[Secret], message: str, timestamp: int, body: bytes) -> str:
    """For `webhook-signature`: one for each secret, with spaces between them; a receiver needs one that fits."""
    signed = f"{message}.{timestamp}.".encode() + body
    keys = (base64.b64decode(secret.reveal().removeprefix(_PREFIX)) for secret in secrets)
    return " ".join("v1," + base64.b64encode(hmac.digest(key, signed, sha256)).decode() for key in keys)


def judged_target(url: str) -> str:
    """An address as it is kept; whether it may be reached is judged at each delivery. Raises Invalid `invalid_url`."""
    if not _is_target(url):
        raise Invalid(
            "Write an address as https://host/path, without user and fragment.", code="invalid_url", field="url"
        )
    return url


def bare_target(url: str) -> str:
    """An address without user and query, where secrets may stand; what is left is an address still."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def judged_events(events: Collection[Occasion]) -> frozenset[Occasion]:
    """Raises Invalid `no_events`, `invalid_event`."""
    if not events:
        raise Invalid("Name at least one event.", code="no_events", field="events")
    if Occasion.TEST in events:
        raise Invalid("A test comes when it is asked for.", code="invalid_event", field="events")
    return frozenset(events)


def _is_target(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port_is_good = parts.port != 0
    except ValueError:
        return False
    plain = "@" not in parts.netloc and not set("#\\") & set(url) and port_is_good
    return bool(_ADDRESS.fullmatch(url)) and parts.scheme in {"https", "http"} and bool(parts.hostname) and plain
