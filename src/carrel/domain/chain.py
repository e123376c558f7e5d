"""The chain of the audit log: each seal is a hash of the seal before it and of one event, so none can be changed alone.

`h(n) = SHA-256(h(n-1) || canonical JSON of event n)`, and h(0) is 32 zero bytes. Canonical JSON: UTF-8, keys sorted, no
spaces, times in UTC with microseconds, ids in lower case, what is absent as null. Anybody can compute it again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from carrel.domain.ids import TenantId

START: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the audit log. `facts` are ids, names of roles, counts and the like."""

    tenant: TenantId
    id: UUID
    created_at: datetime
    actor: UUID | None
    credential: UUID | None
    action: str
    object: UUID | None
    result: str
    request: str | None
    facts: Mapping[str, Any]

    @property
    def place(self) -> tuple[datetime, UUID]:
        """Events are sealed in this order."""
        return self.created_at, self.id


@dataclass(frozen=True, slots=True)
class Seal:
    """`position` counts from 1 without a gap; `event_at` and `event` are the place of the sealed event."""

    position: int
    event: UUID
    event_at: datetime
    hash: bytes

    @property
    def place(self) -> tuple[datetime, UUID]:
        return self.event_at, self.event


class Fault(StrEnum):
    """What verification can find."""

    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    SEAL_REMOVED = "seal_removed"
    ANCHOR_DIFFERS = "anchor_differs"


@dataclass(frozen=True, slots=True)
class Break:
    """The first place where the chain does not hold. `event` is None where only a position is known."""

    position: int
    fault: Fault
    event: UUID | None = None


def link(before: bytes, event: Event) -> bytes:
    return sha256(before + canonical(event)).digest()


def canonical(event: Event) -> bytes:
    shape = {
        "tenant_id": str(event.tenant),
        "id": str(event.id),
        "created_at": event.created_at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor_id": _text(event.actor),
        "credential_id": _text(event.credential),
        "action": event.action,
        "object_id": _text(event.object),
        "result": event.result,
        "request_id": event.request,
        "facts": event.facts,
    }
    return json.dumps(shape, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


@dataclass(slots=True)
class Check:
    """Walks a chain from its start; `step` takes each seal with its event (None where it is gone), in order."""

    position: int = 0
    hash: bytes = START
    place: tuple[datetime, UUID] | None = None

    def step(self, seal: Seal, event: Event | None, following: Event | None) -> Break | None:
        """None when this link holds. After a break the walk is over."""
        if seal.position != self.position + 1:
            return Break(self.position + 1, Fault.SEAL_REMOVED)
        if event is None:
            return Break(seal.position, Fault.REMOVED, seal.event)
        misplaced = self.place is not None and event.place <= self.place
        if misplaced or event.place != seal.place or link(self.hash, event) != seal.hash:
            misplaced = misplaced or (following is not None and following.place < event.place)
            return Break(seal.position, Fault.REORDERED if misplaced else Fault.CHANGED, seal.event)
        self.position, self.hash, self.place = seal.position, seal.hash, event.place
        return None


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
