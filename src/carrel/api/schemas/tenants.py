"""Tenants over the wire."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from carrel.api.schemas.types import Asked, Listing, Name
from carrel.domain.library import Tenant


class NewTenant(Asked):
    name: Name
    slug: Annotated[
        str | None,
        Field(min_length=1, max_length=200, description="1 to 63 of a-z, 0-9 and '-'; made from the name if absent."),
    ] = None


class TenantView(BaseModel):
    id: UUID
    slug: str
    name: str
    status: str
    isolation: str
    created_at: datetime

    @classmethod
    def of(cls, tenant: Tenant) -> "TenantView":
        return cls(
            id=tenant.id,
            slug=tenant.slug,
            name=tenant.name,
            status=tenant.status,
            isolation=tenant.isolation,
            created_at=tenant.created_at,
        )


class TenantList(Listing[TenantView]):
    pass
