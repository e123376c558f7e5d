"""The audit log: events are added in the transaction of what they tell, and nobody changes one."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from carrel import telemetry
from carrel.domain.access import PlatformGrant, TenantGrant
from carrel.domain.audit import Act
from carrel.domain.ids import UserId, new_id
from carrel.store.transaction import Statement, Transaction

_ADD: Final = Statement("""
    insert into audit_events (tenant_id, id, actor_id, credential_id, action, object_id, result, request_id, facts)
    values (:tenant, :id, :actor, :credential, :action, :object, :result, :request, :facts)
""")


async def record(
    tx: Transaction,
    act: Act,
    thing: UUID | None = None,
    *,
    actor: UserId | None = None,
    refused: bool = False,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """In the transaction of the effect, so there is never one without the other. `facts` are ids, names of roles and
    the like, never what a document or a question says. `actor` is for journeys without a principal.
    """
    grant = tx.grant
    await tx.run(
        _ADD,
        id=new_id(),
        actor=actor or (None if isinstance(grant, PlatformGrant) else grant.user),
        credential=grant.credential if isinstance(grant, TenantGrant) else None,
        action=act,
        object=thing,
        result="refused" if refused else "done",
        request=telemetry.request_id(),
        facts=dict(facts or {}),
    )
