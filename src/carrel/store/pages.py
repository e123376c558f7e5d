"""Newest-first lists, a page at a time: the cursor is the place where the last page ended, and the list's name."""

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


def cursor_of(place: Place, *, of: str) -> str:
    text = f"{of} {place.created_at.isoformat()} {place.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place_of(cursor: str | None, *, of: str) -> Place | None:
    """`of` names the list. Raises Invalid `invalid_cursor` for what we did not hand out, or for another list."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        name, moment, identifier = text.split(" ")
        created_at = datetime.fromisoformat(moment)
        place = Place(created_at.astimezone(UTC), UUID(identifier))
    except (ValueError, OverflowError, binascii.Error) as error:
        raise _foreign() from error
    if created_at.tzinfo is None or name != of:
        raise _foreign()
    return place


def _foreign() -> Invalid:
    return Invalid("Take the cursor from next_cursor of the same list.", code="invalid_cursor", field="cursor")


def page(items: Sequence[Item], places: Sequence[Place], limit: int, *, of: str) -> Page[Item]:
    """`of` names the list, and `items` holds one row more than `limit` when there is a next page."""
    more = len(items) > limit
    return Page(items[:limit], cursor_of(places[limit - 1], of=of) if more else None)
