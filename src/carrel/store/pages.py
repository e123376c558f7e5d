"""Newest-first lists, a page at a time: the cursor is the place where the last page ended."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar
from uuid import UUID

from carrel.domain.errors import Invalid

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    items: Sequence[Item]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """Everything before this row, in the order `created_at desc, id desc`."""

    created_at: datetime
    id: UUID


def cursor_of(place: Place) -> str:
    return base64.urlsafe_b64encode(f"{place.created_at.isoformat()} {place.id}".encode()).decode().rstrip("=")


def place_of(cursor: str | None) -> Place | None:
    """Raises Invalid `invalid_cursor` for what we did not hand out."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        moment, _, identifier = text.partition(" ")
        created_at = datetime.fromisoformat(moment)
        place = Place(created_at.astimezone(UTC), UUID(identifier))
    except (ValueError, OverflowError, binascii.Error) as error:
        raise Invalid("Take the cursor from next_cursor.", code="invalid_cursor", field="cursor") from error
    if created_at.tzinfo is None:
        raise Invalid("Take the cursor from next_cursor.", code="invalid_cursor", field="cursor")
    return place


def page(items: Sequence[Item], places: Sequence[Place], limit: int) -> Page[Item]:
    """`items` holds one row more than `limit` when there is a next page."""
    more = len(items) > limit
    return Page(items[:limit], cursor_of(places[limit - 1]) if more else None)
