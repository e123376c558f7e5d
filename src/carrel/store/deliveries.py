"""Deliveries as rows: what is on its way to webhooks, and the log of what became of it.

waiting -> delivered | failed; failed -> waiting, by hand.
Claiming crosses tenants and is a definer function; everything after it happens in that tenant's own transaction, behind
the fence `lease_epoch`: whoever lost the lease writes nothing more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from carrel.domain.errors import Conflict, NotFound, Throttled
from carrel.domain.ids import DeliveryId, TenantId, WebhookId
from carrel.domain.webhooks import GIVES_UP_AFTER, KEPT_DAYS, Attempt, Delivery, DeliveryState, Occasion
from carrel.store.pages import Page, Place, page, place_of
from carrel.store.transaction import Statement, Transaction

_LISTED: Final = "deliveries"
_SLICE: Final = 1_000
_MOST_TESTS: Final = 4
_COLUMNS = """
    id, webhook_id, event, state, attempts, due_at, leased_until, response_code, problem, milliseconds, created_at,
    finished_at
"""
_CLAIM: Final = Statement("select * from claim_deliveries(:most, :doubtful, :each, :lease)")
_ADD_TEST: Final = Statement("""
    insert into deliveries (tenant_id, id, webhook_id, period, event, data, attempts, leased_until, lease_epoch)
    select :tenant, :id, w.id, w.period, :event, '{}', 1, now() + :lease, 1 from webhooks w
    where w.tenant_id = :tenant and w.id = :webhook and w.deleted_at is null
""")
_IN_FLIGHT: Final = Statement("""
    select count(*) from deliveries
    where tenant_id = :tenant and webhook_id = :webhook and leased_until >= now()
""")
_LETTER: Final = Statement("""
    select x.event, x.data, x.created_at, extract(epoch from now())::bigint as moment, d.key
    from deliveries x
    join webhooks w on w.tenant_id = x.tenant_id and w.id = x.webhook_id and w.deleted_at is null
        and (x.event = 'webhook.test' or (w.enabled and x.period = w.period))
    left join documents d on d.tenant_id = x.tenant_id and d.id = (x.data ->> 'document_id')::uuid
        and d.deleted_at is null and d.owner_id is null
    where x.tenant_id = :tenant and x.id = :id and x.lease_epoch = :epoch and x.state = 'waiting'
      and exists (select from tenants t where t.id = x.tenant_id and t.status = 'active')
""")
_SETTLE: Final = Statement("""
    update deliveries set state = :state, leased_until = null, due_at = now() + :delay, response_code = :status,
        problem = :problem, milliseconds = :milliseconds,
        finished_at = case when :state = 'waiting' then null else now() end
    where tenant_id = :tenant and id = :id and lease_epoch = :epoch and state = 'waiting'
""")
_NOTE_GOOD: Final = Statement("""
    update webhooks set failing_since = null, slow = :slow
    where tenant_id = :tenant and id = :webhook and (failing_since is not null or slow <> :slow)
""")
_NOTE_BAD: Final = Statement(f"""
    with noted as (
        update webhooks set failing_since = coalesce(failing_since, now())
        where tenant_id = :tenant and id = :webhook and failing_since is null
    )
    select coalesce(failing_since < now() - interval '{GIVES_UP_AFTER} hours', false) from webhooks
    where tenant_id = :tenant and id = :webhook
""")
_GIVE_UP: Final = Statement("""
    update deliveries set state = 'failed', problem = 'webhook_disabled', leased_until = null,
        lease_epoch = lease_epoch + 1, finished_at = now()
    where tenant_id = :tenant and id = any (array(
        select d.id from webhooks w
        join deliveries d on d.tenant_id = w.tenant_id and d.webhook_id = w.id
            and d.period < w.period + (not w.enabled)::integer
        where w.tenant_id = :tenant and w.deleted_at is null and d.state = 'waiting'
          and (:webhook::uuid is null or w.id = :webhook)
          and (d.leased_until is null or d.leased_until < now())
        limit :most for update of d skip locked))
""")
_GET: Final = Statement(f"""
    select {_COLUMNS} from deliveries
    where tenant_id = :tenant and webhook_id = :webhook and id = :id
      and exists (select from webhooks w where w.tenant_id = :tenant and w.id = :webhook and w.deleted_at is null)
""")
_LIST: Final = Statement(f"""
    select {_COLUMNS} from deliveries
    where tenant_id = :tenant and webhook_id = :webhook and (:state::text is null or state = :state)
      and (:moment::timestamptz is null or (created_at, id) < (:moment, :id::uuid))
    order by created_at desc, id desc limit :most
""")
_RETRY: Final = Statement("""
    update deliveries set state = 'waiting', attempts = 0, due_at = now(), leased_until = null,
        lease_epoch = lease_epoch + 1, finished_at = null,
        period = (select w.period from webhooks w where w.tenant_id = :tenant and w.id = :webhook)
    where tenant_id = :tenant and webhook_id = :webhook and id = :id and state <> 'waiting'
""")
_FORGET: Final = Statement(f"""
    delete from deliveries where tenant_id = :tenant and id = any (array(
        select id from deliveries
        where tenant_id = :tenant and state <> 'waiting' and created_at < now() - interval '{KEPT_DAYS} days'
        limit :most for update skip locked))
""")
_FORGET_DELETED: Final = Statement("""
    delete from deliveries where tenant_id = :tenant and id = any (array(
        select d.id from webhooks w join deliveries d on d.tenant_id = w.tenant_id and d.webhook_id = w.id
        where w.tenant_id = :tenant and w.deleted_at is not null
        limit :most for update of d skip locked))
""")


@dataclass(frozen=True, slots=True)
class Errand:
    """A delivery that is ours until its lease ends. `epoch` is the fence; `attempts` counts this one too.

    `doubtful`: its webhook has failed of late, or is slow.
    """

    tenant: TenantId
    id: DeliveryId
    webhook: WebhookId
    attempts: int
    epoch: int
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Letter:
    """What is to be told; `moment` is now by the database's clock, in seconds; `key` is the document's, if any."""

    event: Occasion
    data: Mapping[str, Any]
    happened_at: datetime
    moment: int
    key: str | None


@dataclass(frozen=True, slots=True)
class Places:
    """How many deliveries may be taken now: in all, to doubtful webhooks, and to each webhook."""

    most: int
    doubtful: int
    each: int


async def claim(tx: Transaction, places: Places, *, lease: float) -> list[Errand]:
    """What is due, in fair order, each for `lease` seconds nobody else's; a claim counts as an attempt."""
    rows = await tx.rows(
        _CLAIM, most=places.most, doubtful=places.doubtful, each=places.each, lease=timedelta(seconds=lease)
    )
    return [
        Errand(
            TenantId(row["tenant_id"]),
            DeliveryId(row["id"]),
            WebhookId(row["webhook_id"]),
            row["attempts"],
            row["lease_epoch"],
            row["doubtful"],
        )
        for row in rows
    ]


async def add_test(tx: Transaction, delivery: DeliveryId, webhook: WebhookId, *, lease: float) -> Errand:
    """A test that its maker delivers at once.

    Raises NotFound, Throttled when so many are on their way to the webhook.
    """
    if await tx.value(_IN_FLIGHT, webhook=webhook) >= _MOST_TESTS:
        raise Throttled("Others are on their way to this webhook now.", wait=lease)
    moments = timedelta(seconds=lease)
    if not await tx.run(_ADD_TEST, id=delivery, webhook=webhook, event=Occasion.TEST, lease=moments):
        raise NotFound
    return Errand(tx.tenant, delivery, webhook, 1, 1)


async def letter(tx: Transaction, errand: Errand) -> Letter | None:
    """None when it is no longer ours: its webhook was deleted or disabled, or its tenant is not active."""
    row = await tx.row(_LETTER, id=errand.id, epoch=errand.epoch)
    if row is None:
        return None
    return Letter(Occasion(row["event"]), row["data"], row["created_at"], row["moment"], row["key"])


async def settle(tx: Transaction, errand: Errand, attempt: Attempt, state: DeliveryState, *, delay: float = 0) -> bool:
    """What became of this attempt; the next one, if any, is due in `delay` seconds. False when the lease is lost."""
    written = await tx.run(
        _SETTLE,
        id=errand.id,
        epoch=errand.epoch,
        state=state,
        delay=timedelta(seconds=delay),
        status=attempt.status,
        problem=attempt.problem,
        milliseconds=attempt.milliseconds,
    )
    return written > 0


async def note_good(tx: Transaction, webhook: WebhookId, *, slow: bool) -> None:
    """Whatever failed before is forgiven."""
    await tx.run(_NOTE_GOOD, webhook=webhook, slow=slow)


async def note_bad(tx: Transaction, webhook: WebhookId) -> bool:
    """Whether there has been nothing but failures for so long that it should hear nothing more."""
    return bool(await tx.value(_NOTE_BAD, webhook=webhook))


async def give_up(tx: Transaction, webhook: WebhookId | None = None) -> bool:
    """What waits for a webhook that was disabled since will not be told, unless it is asked for again: a slice of it.

    That of all webhooks, or of one. What is on its way ends by itself. Whether there may be more.
    """
    return await tx.run(_GIVE_UP, webhook=webhook, most=_SLICE) == _SLICE


async def get(tx: Transaction, webhook: WebhookId, delivery: DeliveryId) -> Delivery:
    """Raises NotFound."""
    row = await tx.row(_GET, webhook=webhook, id=delivery)
    if row is None:
        raise NotFound
    return _delivery(row)


async def listed(
    tx: Transaction, webhook: WebhookId, *, state: DeliveryState | None, limit: int, cursor: str | None
) -> Page[Delivery]:
    name = f"{_LISTED}:{webhook}"
    place = place_of(cursor, of=name)
    moment, identifier = (place.created_at, place.id) if place else (None, None)
    rows = await tx.rows(_LIST, webhook=webhook, state=state, moment=moment, id=identifier, most=limit + 1)
    places = [Place(row["created_at"], row["id"]) for row in rows]
    return page([_delivery(row) for row in rows], places, limit, of=name)


async def retry(tx: Transaction, webhook: WebhookId, delivery: DeliveryId) -> Delivery:
    """Waiting again, with a fresh count of attempts. Raises NotFound, Conflict `delivery_waiting`."""
    found = await get(tx, webhook, delivery)
    if found.state is DeliveryState.WAITING:
        raise Conflict("This delivery waits for its next try already.", code="delivery_waiting")
    await tx.run(_RETRY, webhook=webhook, id=delivery)
    return await get(tx, webhook, delivery)


async def forget_old(tx: Transaction) -> bool:
    """What ended, and is a month old, leaves the log: a slice of it. Whether there may be more."""
    return await tx.run(_FORGET, most=_SLICE) == _SLICE


async def forget_deleted(tx: Transaction) -> bool:
    """What was told to webhooks that were removed leaves the log: a slice of it. Whether there may be more."""
    return await tx.run(_FORGET_DELETED, most=_SLICE) == _SLICE


def _delivery(row: Any) -> Delivery:
    state = DeliveryState(row["state"])
    tried = row["milliseconds"] is not None or row["problem"] is not None
    last = Attempt(row["milliseconds"] or 0, row["response_code"], row["problem"]) if tried else None
    return Delivery(
        id=DeliveryId(row["id"]),
        webhook=WebhookId(row["webhook_id"]),
        event=Occasion(row["event"]),
        state=state,
        attempts=row["attempts"],
        last=last,
        due_at=row["due_at"] if state is DeliveryState.WAITING else None,
        created_at=row["created_at"],
        finished_at=row["finished_at"],
    )
