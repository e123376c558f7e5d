"""Logins at other issuers over the wire: what their groups give, and tokens of one tenant."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from carrel.api.schemas.types import Asked, Identifier, Listing, Name, Text
from carrel.domain.ids import TenantId
from carrel.domain.rights import Role
from carrel.tenancy.groups import GroupGrant


class NewGroupGrant(Asked):
    group: Annotated[Text, Field(min_length=1, max_length=256, description="As it stands in the token, to the letter.")]
    tenant_id: Identifier
    role: Annotated[Role, Field(description="admin, editor or viewer: no group makes an owner.")]
    issuer: Annotated[
        str | None,
        Field(
            min_length=8, max_length=500, pattern=r"^https?://[\x21-\x7e]+$", description="Absent: the one set here."
        ),
    ] = None

    def tenant(self) -> TenantId:
        return TenantId(self.tenant_id)


class GroupGrantView(BaseModel):
    id: UUID
    issuer: str
    group: str
    tenant_id: UUID
    role: Role
    created_at: datetime

    @classmethod
    def of(cls, grant: GroupGrant) -> "GroupGrantView":
        return cls(
            id=grant.id,
            issuer=grant.issuer,
            group=grant.group,
            tenant_id=grant.tenant,
            role=grant.role,
            created_at=grant.created_at,
        )


class GroupGrantList(Listing[GroupGrantView]):
    pass


class Choice(Asked):
    tenant: Annotated[Name, Field(description="The organisation to act in: its slug or id.")]


class ChosenToken(BaseModel):
    access_token: Annotated[str, Field(description="For this tenant alone; there is no refresh token.")]
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the kind of the token (RFC 6750), not a secret
    expires_in: Annotated[int, Field(description="Seconds.")]
