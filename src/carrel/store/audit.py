"""The audit log: events are added in the transaction of what they tell, and nobody changes one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from carrel import telemetry
from carrel.domain.access import PlatformGrant, TenantGrant
from carrel.domain.audit import Act
from carrel.domain.chain import Break, Event, Fault, Seal
from carrel.domain.errors import NotFound, Unavailable
from carrel.domain.ids import TenantId, UserId, new_id
from carrel.store.pages import Page, Place, page, place_of
from carrel.store.transaction import Statement, Transaction

_LISTED: Final = "audit"
_EVENT = "e.id, e.created_at, e.actor_id, e.credential_id, e.action, e.object_id, e.result, e.request_id, e.facts"
# The lock is shared by those who write events and held until their commit. The time is taken once it is held: so when
# the sealer has it alone, every event that is older is there to be seen, and every later one is newer.
_ADD: Final = Statement("""
    with held as materialized (select pg_advisory_xact_lock_shared(hashtextextended(:tenant::uuid::text, 1)))
    insert into audit_events (tenant_id, id, actor_id, credential_id, action, object_id, result, request_id, facts,
                              created_at)
    select :tenant, :id, :actor::uuid, :credential::uuid, :action, :object::uuid, :result, :request::text, :facts,
           clock_timestamp()
    from held
""")
_LIST: Final = Statement(f"""
    select {_EVENT}, exists (select from audit_seals s where s.tenant_id = e.tenant_id and s.event_id = e.id) as sealed
    from audit_events e
    where e.tenant_id = :tenant
      and (:since::timestamptz is null or e.created_at >= :since)
      and (:until::timestamptz is null or e.created_at < :until)
      and (:actor::uuid is null or e.actor_id = :actor)
      and (:action::text is null or e.action = :action)
      and (:object::uuid is null or e.object_id = :object)
      and (:result::text is null or e.result = :result)
      and (:moment::timestamptz is null or (e.created_at, e.id) < (:moment, :id::uuid))
    order by e.created_at desc, e.id desc limit :most
""")
_UNSEALED: Final = Statement("select unsealed(make_interval(secs => :margin))")
_PATIENCE: Final = Statement("select set_config('lock_timeout', '500', true)")
_HOLD: Final = Statement("select pg_advisory_xact_lock(hashtextextended(:tenant::uuid::text, 1))")
_LAST: Final = Statement("""
    select position, event_id, event_at, hash from audit_seals
    where tenant_id = :tenant order by position desc limit 1
""")
_TO_SEAL: Final = Statement(f"""
    select {_EVENT} from audit_events e
    where e.tenant_id = :tenant and e.created_at < clock_timestamp() - make_interval(secs => :margin)
      and (:moment::timestamptz is null or (e.created_at, e.id) > (:moment, :id::uuid))
      and not exists (select from audit_seals s where s.tenant_id = e.tenant_id and s.event_id = e.id)
    order by e.created_at, e.id limit :most
""")
_APPEND: Final = Statement("""
    insert into audit_seals (tenant_id, position, event_id, event_at, hash)
    select :tenant, s.position, s.event_id, s.event_at, s.hash
    from unnest(:positions::bigint[], :events::uuid[], :moments::timestamptz[], :hashes::bytea[])
      as s (position, event_id, event_at, hash)
""")
_CHAIN: Final = Statement(f"""
    select s.position, s.event_id, s.event_at, s.hash, {_EVENT}
    from audit_seals s left join audit_events e on e.tenant_id = s.tenant_id and e.id = s.event_id
    where s.tenant_id = :tenant and s.position > :position order by s.position limit :most
""")
_INSERTED: Final = Statement("""
    select e.id, (select count(*) from audit_seals b
                  where b.tenant_id = e.tenant_id and (b.event_at, b.event_id) < (e.created_at, e.id)) as before
    from audit_events e
    where e.tenant_id = :tenant and (e.created_at, e.id) <= (:moment, :id)
      and not exists (select from audit_seals s where s.tenant_id = e.tenant_id and s.event_id = e.id)
    order by e.created_at, e.id limit 1
""")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events; None means all. From `since` on, and before `until`."""

    since: datetime | None = None
    until: datetime | None = None
    actor: UUID | None = None
    action: Act | None = None
    object: UUID | None = None
    result: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """An event as it is listed, and whether the chain holds it already."""

    event: Event
    sealed: bool


class LogBusyError(Unavailable):
    """Somebody is writing events of this tenant, and has not committed yet."""

    default_code = "audit_busy"


async def record(
    tx: Transaction,
    act: Act,
    thing: UUID | None = None,
    *,
    actor: UserId | None = None,
    credential: UUID | None = None,
    refused: bool = False,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """In the transaction of the effect, so there is never one without the other; late in it, since the sealer waits.

    `facts` are ids, names of roles and the like, never what a document or a question says. `actor` and `credential` are
    for journeys that act without the principal's own grant. Raises NotFound when the tenant was destroyed meanwhile.
    """
    grant = tx.grant
    values = {
        "id": new_id(),
        "actor": actor or (None if isinstance(grant, PlatformGrant) else grant.user),
        "credential": credential or (grant.credential if isinstance(grant, TenantGrant) else None),
        "action": act,
        "object": thing,
        "result": "refused" if refused else "done",
        "request": telemetry.request_id(),
        "facts": dict(facts or {}),
    }
    try:
        await tx.run(_ADD, **values)
    except asyncpg.ForeignKeyViolationError as error:
        raise NotFound from error


async def listed(tx: Transaction, wanted: Wanted, *, limit: int, cursor: str | None) -> Page[Line]:
    """Newest first. Raises Invalid `invalid_cursor`."""
    place = place_of(cursor, of=_LISTED)
    rows = await tx.rows(
        _LIST,
        since=wanted.since,
        until=wanted.until,
        actor=wanted.actor,
        action=wanted.action,
        object=wanted.object,
        result=wanted.result,
        moment=place and place.created_at,
        id=place and place.id,
        most=limit + 1,
    )
    lines = [Line(_event(tx.tenant, row), row["sealed"]) for row in rows]
    return page(lines, [Place(row["created_at"], row["id"]) for row in rows], limit, of=_LISTED)


async def unsealed(tx: Transaction, *, margin: float) -> list[TenantId]:
    """The tenants that have events older than `margin` seconds which are not sealed."""
    return [TenantId(row[0]) for row in await tx.rows(_UNSEALED, margin=margin)]


async def hold(tx: Transaction) -> None:
    """Until the commit nobody else writes or seals events of this tenant, and all that were written are to be seen.

    Raises LogBusyError when those who write do not end soon; meanwhile others who want to write would wait.
    """
    await tx.run(_PATIENCE)
    try:
        await tx.run(_HOLD)
    except asyncpg.LockNotAvailableError as error:
        raise LogBusyError("Events of this tenant are being written.") from error


async def last_seal(tx: Transaction) -> Seal | None:
    row = await tx.row(_LAST)
    return _seal(row) if row else None


async def to_seal(tx: Transaction, after: Seal | None, *, margin: float, most: int) -> list[Event]:
    """Events behind the last seal, in the order of the chain."""
    moment, identifier = after.place if after else (None, None)
    rows = await tx.rows(_TO_SEAL, moment=moment, id=identifier, margin=margin, most=most)
    return [_event(tx.tenant, row) for row in rows]


async def seal(tx: Transaction, seals: Sequence[Seal]) -> None:
    """Raises NotFound when the tenant was destroyed meanwhile."""
    try:
        await tx.run(
            _APPEND,
            positions=[one.position for one in seals],
            events=[one.event for one in seals],
            moments=[one.event_at for one in seals],
            hashes=[one.hash for one in seals],
        )
    except asyncpg.ForeignKeyViolationError as error:
        raise NotFound from error


async def chain(tx: Transaction, *, after: int, most: int) -> list[tuple[Seal, Event | None]]:
    """The seals behind a position in order, each with its event as it is now, None where it is gone."""
    rows = await tx.rows(_CHAIN, position=after, most=most)
    return [(_seal(row), None if row["id"] is None else _event(tx.tenant, row)) for row in rows]


async def inserted(tx: Transaction, last: tuple[datetime, UUID]) -> Break | None:
    """The first event that no seal names and that lies before the last sealed one."""
    row = await tx.row(_INSERTED, moment=last[0], id=last[1])
    return Break(row["before"] + 1, Fault.INSERTED, row["id"]) if row else None


def _seal(row: Any) -> Seal:
    return Seal(row["position"], row["event_id"], row["event_at"], row["hash"])


def _event(tenant: TenantId, row: Any) -> Event:
    return Event(
        tenant=tenant,
        id=row["id"],
        created_at=row["created_at"],
        actor=row["actor_id"],
        credential=row["credential_id"],
        action=row["action"],
        object=row["object_id"],
        result=row["result"],
        request=row["request_id"],
        facts=row["facts"],
    )
