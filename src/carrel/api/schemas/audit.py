"""The audit log over the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from carrel.api.schemas.types import Identifier, Listing, Moment, Paging
from carrel.domain.audit import Act
from carrel.operate.audit import Line, Wanted

Result = Literal["done", "refused"]


class AuditQuery(Paging):
    since: Annotated[Moment | None, Field(alias="from", description="Not before this time.")] = None
    until: Annotated[Moment | None, Field(alias="to", description="Before this time.")] = None
    actor: Annotated[Identifier | None, Field(description="Who did it: a person's or a key's id.")] = None
    action: Act | None = None
    object: Annotated[Identifier | None, Field(description="To what it was done.")] = None
    result: Result | None = None

    def wanted(self) -> Wanted:
        return Wanted(self.since, self.until, self.actor, self.action, self.object, self.result)


class AuditEventView(BaseModel):
    id: UUID
    created_at: datetime
    actor_id: UUID | None
    credential_id: UUID | None
    action: str
    object_id: UUID | None
    result: Result
    request_id: str | None
    facts: dict[str, Any]
    sealed: Annotated[bool, Field(description="Whether the chain of seals holds it already.")]

    @classmethod
    def of(cls, line: Line) -> Self:
        event = line.event
        return cls(
            id=event.id,
            created_at=event.created_at,
            actor_id=event.actor,
            credential_id=event.credential,
            action=event.action,
            object_id=event.object,
            result=event.result,  # type: ignore[arg-type]  # the table has no other
            request_id=event.request,
            facts=dict(event.facts),
            sealed=line.sealed,
        )


class AuditList(Listing[AuditEventView]):
    pass
