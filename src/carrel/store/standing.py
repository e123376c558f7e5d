"""Standing: whether work that was asked for may still go on."""

from dataclasses import dataclass
from uuid import UUID

from carrel.store.transaction import Statement, Transaction

_STANDING = Statement("""
    select t.status = 'active' as tenant,
           v.requested_by is null or coalesce(m.status = 'active' and u.status = 'active', false) as requester,
           s.paused_at is null as source
    from tenants t
    left join document_versions v on v.tenant_id = t.id and v.id = :version
    left join sources s on s.tenant_id = v.tenant_id and s.id = v.source_id
    left join memberships m on m.tenant_id = v.tenant_id and m.user_id = v.requested_by
    left join users u on u.id = m.user_id
    where t.id = :tenant
""")


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether work may go on: its tenant is active, and so is the member who asked for it, if anybody did.

    `source`: the document's source is not paused, which matters before the work has begun.
    """

    tenant: bool
    requester: bool
    source: bool = True


async def of(tx: Transaction, subject: UUID) -> Standing:
    """Of the work on a version; for a subject that is none, only the tenant counts."""
    row = await tx.row(_STANDING, version=subject)
    return Standing(row["tenant"], row["requester"], row["source"]) if row else Standing(tenant=False, requester=False)
