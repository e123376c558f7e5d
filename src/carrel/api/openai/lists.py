"""Lists as OpenAI's clients walk them: from the id of the last item, in either order."""

from datetime import datetime
from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, Field

from carrel.api.schemas.types import Asked, Identifier, digits
from carrel.domain.errors import Invalid
from carrel.library.sources import Step


class Identified(BaseModel):
    """What can stand in a list."""

    id: str


Item = TypeVar("Item", bound=Identified)


class Steps(Asked):
    """Which part of a list."""

    limit: Annotated[int, Field(ge=1, le=100), BeforeValidator(digits)] = 20
    order: Annotated[Literal["asc", "desc"], Field(description="By the time of creation.")] = "desc"
    after: Annotated[Identifier | None, Field(description="`last_id` of the page before.")] = None
    before: Annotated[Identifier | None, Field(description="`first_id` of the page behind; not with `after`.")] = None

    def step(self) -> Step:
        """Raises Invalid."""
        if self.after is not None and self.before is not None:
            raise Invalid("Give after or before, not both.", code="after_and_before", field="before")
        return Step(self.limit, self.after or self.before, self.before is not None, self.order == "desc")


class Listed(BaseModel, Generic[Item]):
    """One page. While `has_more`, `last_id` as `after` leads to the next one."""

    object: Literal["list"] = "list"
    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool

    @classmethod
    def page(cls, data: list[Item], *, has_more: bool) -> Self:
        return cls(
            data=data,
            first_id=data[0].id if data else None,
            last_id=data[-1].id if data else None,
            has_more=has_more,
        )


def seconds(moment: datetime) -> int:
    """As OpenAI's API tells the time: since 1970."""
    return int(moment.timestamp())
