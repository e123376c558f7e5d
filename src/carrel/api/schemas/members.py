"""Members and invitations over the wire."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, Field

from carrel.api.schemas.types import Asked, Email, Listing, Name
from carrel.domain.rights import Role
from carrel.tenancy.invitations import Invitation, InvitationStatus, InvitationWish
from carrel.tenancy.joining import Acceptance, Joined
from carrel.tenancy.members import Member, MemberStatus


class MemberView(BaseModel):
    id: Annotated[UUID, Field(description="The person's: the same in every tenant.")]
    email: str
    name: str
    role: Role
    status: MemberStatus
    joined_at: datetime

    @classmethod
    def of(cls, member: Member) -> Self:
        return cls(
            id=member.user,
            email=member.email,
            name=member.name,
            role=member.role,
            status=member.status,
            joined_at=member.joined_at,
        )


class MemberList(Listing[MemberView]):
    pass


class MemberChange(Asked):
    """What is absent or null stays as it is."""

    role: Role | None = None
    status: MemberStatus | None = None


class NewInvitation(Asked):
    email: Email
    role: Role

    def wish(self) -> InvitationWish:
        return InvitationWish(self.email, self.role)


class InvitationView(BaseModel):
    id: UUID
    email: str
    role: Role
    status: InvitationStatus
    invited_by: UUID | None
    expires_at: datetime
    created_at: datetime

    @classmethod
    def of(cls, invitation: Invitation) -> Self:
        return cls(
            id=invitation.id,
            email=invitation.email,
            role=invitation.role,
            status=invitation.status,
            invited_by=invitation.invited_by,
            expires_at=invitation.expires_at,
            created_at=invitation.created_at,
        )


class InvitationList(Listing[InvitationView]):
    pass


class AcceptedInvitation(Asked):
    """A name and a password make an account. The account that is there needs its password, or its session."""

    token: Annotated[str, Field(max_length=256, description="From the letter.")]
    name: Name | None = None
    password: Annotated[str | None, Field(max_length=1024)] = None

    def wish(self) -> Acceptance:
        return Acceptance(self.token, self.name, self.password)


class JoinedView(BaseModel):
    tenant_id: UUID
    user_id: UUID
    email: str
    role: Role

    @classmethod
    def of(cls, joined: Joined) -> Self:
        return cls(tenant_id=joined.tenant, user_id=joined.user, email=joined.email, role=joined.role)
