"""Lists that are walked from an item's id, in either direction, as some clients do: a step, and where it led."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from carrel.domain.errors import Invalid

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Step:
    """At most `limit` items after an id, or (with `back`) those before it; without a start from the list's own end."""

    limit: int
    start: UUID | None = None
    back: bool = False
    newest_first: bool = True

    @property
    def goes_down(self) -> bool:
        """Whether rows are read from newer to older."""
        return self.newest_first != self.back

    @property
    def most(self) -> int:
        """One row more than is wanted tells whether there are more."""
        return self.limit + 1


@dataclass(frozen=True, slots=True)
class Walked(Generic[Item]):
    """Items in the list's order; `has_more` in the direction of the step."""

    items: Sequence[Item]
    has_more: bool


def walked(step: Step, found: Sequence[Item]) -> Walked[Item]:
    items = found[: step.limit]
    return Walked(items[::-1] if step.back else items, len(found) > step.limit)


def lost(step: Step) -> Invalid:
    field = "before" if step.back else "after"
    return Invalid("This is the id of nothing in this list.", code="invalid_cursor", field=field)
