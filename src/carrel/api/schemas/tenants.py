"""Tenants over the wire."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from carrel.api.schemas.types import Asked, Listing, Name
from carrel.domain.library import Tenant
from carrel.tenancy.life import TenantReceipt


class NewTenant(Asked):
    name: Name
    slug: Annotated[
        str | None,
        Field(min_length=1, max_length=200, description="1 to 63 of a-z, 0-9 and '-'; made from the name if absent."),
    ] = None


class TenantChange(Asked):
    name: Name


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


class TenantReceiptView(BaseModel):
    """`destroyed` counts rows by table, and files; `completed_at` is null while the destroying goes on."""

    tenant_id: UUID
    requested_by: UUID | None
    requested_at: datetime
    completed_at: datetime | None
    destroyed: dict[str, int]

    @classmethod
    def of(cls, receipt: TenantReceipt) -> "TenantReceiptView":
        return cls(
            tenant_id=receipt.tenant,
            requested_by=receipt.requested_by,
            requested_at=receipt.requested_at,
            completed_at=receipt.completed_at,
            destroyed=dict(receipt.destroyed),
        )
