"""Accounts, sign-ins and sessions over the wire. Passwords and codes come in and are never shown again."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field

from carrel.api.complaints import wrong
from carrel.api.schemas.types import Asked, Email, Listing, Name
from carrel.domain.rights import Permission, Role
from carrel.tenancy.accounts import Me, Membership, SessionRow, User
from carrel.tenancy.registration import Registering, Verified
from carrel.tenancy.sign_in import Issued


def _digits(value: object) -> object:
    if isinstance(value, str) and not (len(value.strip()) == 6 and value.strip().isascii() and value.strip().isdigit()):  # noqa: PLR2004 - six digits
        raise wrong("invalid_code", "A code has six digits.")
    return value.strip() if isinstance(value, str) else value


Password = Annotated[str, Field(min_length=10, max_length=128, description="No rules but the length.")]
Given = Annotated[str, Field(max_length=1024)]
Code = Annotated[str, BeforeValidator(_digits), Field(json_schema_extra={"pattern": "^[0-9]{6}$"})]
RefreshToken = Annotated[str, Field(max_length=256)]
TenantName = Annotated[str, Field(min_length=1, max_length=64, description="The tenant's slug or id.")]


class NewAccount(Asked):
    email: Email
    password: Password
    name: Name
    organisation: Annotated[Name, Field(description="The name of the organisation that is made with it.")]

    def wish(self) -> Registering:
        return Registering(self.email, self.password, self.name, self.organisation)


class Address(Asked):
    email: Email


class Proof(Asked):
    email: Email
    code: Code


class NewPassword(Asked):
    email: Email
    code: Code
    password: Password


class PasswordChange(Asked):
    current: Given
    new: Password


class AccountChange(Asked):
    """What is absent or null stays as it is."""

    name: Name | None = None


class TokenForm(Asked):
    """The password form of OAuth 2 (RFC 6749, 4.3 and 6). Scope and client are taken and mean nothing."""

    grant_type: Literal["password", "refresh_token"]
    username: Given | None = None
    password: Given | None = None
    refresh_token: RefreshToken | None = None
    tenant: TenantName | None = None
    scope: Given | None = None
    client_id: Given | None = None
    client_secret: Given | None = None


class Refreshing(Asked):
    refresh_token: RefreshToken
    tenant: TenantName | None = None


class Leaving(Asked):
    refresh_token: RefreshToken


class PendingView(BaseModel):
    """The same for every address."""

    status: Literal["pending"] = "pending"


class VerifiedView(BaseModel):
    user_id: UUID
    tenant_id: UUID
    password_needed: Annotated[
        bool, Field(description="Two had registered this address: choose the password by `password/forgot`.")
    ]

    @classmethod
    def of(cls, verified: Verified) -> Self:
        return cls(user_id=verified.user, tenant_id=verified.tenant, password_needed=verified.password_needed)


class TokenView(BaseModel):
    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - OAuth's word
    expires_in: Annotated[int, Field(description="Seconds.")]
    refresh_token: Annotated[str, Field(description="For one use, within 14 days.")]
    tenant_id: Annotated[UUID | None, Field(description="Which tenant the access token names.")]

    @classmethod
    def of(cls, issued: Issued) -> Self:
        return cls(
            access_token=issued.access,
            expires_in=issued.lifetime,
            refresh_token=issued.refresh,
            tenant_id=issued.tenant,
        )


class UserView(BaseModel):
    id: UUID
    email: str
    name: str
    created_at: datetime

    @classmethod
    def of(cls, user: User) -> Self:
        return cls(id=user.id, email=user.email, name=user.name, created_at=user.created_at)


class MembershipView(BaseModel):
    tenant_id: UUID
    slug: str
    name: str
    role: Role
    status: Annotated[str, Field(description="Of the membership, or of the tenant if that is not active.")]

    @classmethod
    def of(cls, membership: Membership) -> Self:
        return cls(
            tenant_id=membership.tenant,
            slug=membership.slug,
            name=membership.name,
            role=membership.role,
            status=membership.status,
        )


class MeView(BaseModel):
    """`role` and `permissions` are those of the tenant that the credential names."""

    user: UserView
    tenant_id: UUID | None
    role: Role | None
    permissions: list[Permission]
    memberships: list[MembershipView]

    @classmethod
    def of(cls, me: Me) -> Self:
        return cls(
            user=UserView.of(me.user),
            tenant_id=me.current.tenant if me.current else None,
            role=me.current.role if me.current else None,
            permissions=list(me.permissions),
            memberships=[MembershipView.of(one) for one in me.memberships],
        )


class SessionView(BaseModel):
    id: UUID
    client: Annotated[str, Field(description="What the program said of itself.")]
    tenant_id: UUID | None
    current: Annotated[bool, Field(description="The session that asks.")]
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, session: SessionRow, *, asking: UUID | None) -> Self:
        return cls(
            id=session.id,
            client=session.client,
            tenant_id=session.tenant,
            current=session.id == asking,
            created_at=session.created_at,
            last_used_at=session.last_used_at,
            expires_at=session.expires_at,
        )


class SessionList(Listing[SessionView]):
    pass
