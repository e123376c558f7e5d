"""How long chats are kept, over the wire."""

from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, Field

from carrel.api.schemas.types import Asked, whole
from carrel.tenancy.retention import MOST_DAYS, Kept


def _whole_or_null(value: object) -> object:
    return None if value is None else whole(value)


class RetentionWish(Asked):
    chat_days: Annotated[
        int | None,
        Field(ge=1, le=MOST_DAYS, description="Days after its last question; null is as the deployment says."),
        BeforeValidator(_whole_or_null),
    ]


class RetentionView(BaseModel):
    """Days; null is for ever. `effective_chat_days` is what holds: the shorter one."""

    chat_days: int | None
    deployment_chat_days: int | None
    effective_chat_days: int | None

    @classmethod
    def of(cls, kept: Kept) -> Self:
        return cls(chat_days=kept.own, deployment_chat_days=kept.deployment, effective_chat_days=kept.effective)
