"""Webhooks as rows, and what they are told of: an event is written in the transaction of what it tells.

Announcing is one statement that writes a row for each webhook that wants to hear of it, and nothing where none does.
What belongs to a private source is announced to nobody: a webhook is the whole tenant's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from carrel.domain.errors import Conflict, NotFound
from carrel.domain.ids import SourceId, VersionId, WebhookId
from carrel.domain.webhooks import (
    FORMER_SECRET_HOURS,
    MOST_WEBHOOKS,
    OF_THE_TENANT,
    DisabledReason,
    Occasion,
    Webhook,
)
from carrel.store.pages import Page, Place, page, place_of
from carrel.store.transaction import Statement, Transaction

_LISTED: Final = "webhooks"
_COLUMNS = """
    id, url, events, source_ids, description, enabled, disabled_reason, failing_since, created_at, updated_at
"""
_ONE_AT_A_TIME: Final = Statement("select pg_advisory_xact_lock(hashtextextended(:tenant::uuid::text, 16))")
_COUNT: Final = Statement("select count(*) from webhooks where tenant_id = :tenant and deleted_at is null")
_ADD: Final = Statement(f"""
    insert into webhooks (tenant_id, id, url, events, source_ids, description, enabled, ciphertext, nonce, key_version)
    values (:tenant, :id, :url, :events, :sources, :description, :enabled, :ciphertext, :nonce, :key_version)
    returning {_COLUMNS}
""")
_ONE: Final = f"select {_COLUMNS} from webhooks where tenant_id = :tenant and id = :id and deleted_at is null"
_GET: Final = Statement(_ONE)
_LOCK: Final = Statement(f"{_ONE} for no key update")
_LIST: Final = Statement(f"""
    select {_COLUMNS} from webhooks
    where tenant_id = :tenant and deleted_at is null
      and (:moment::timestamptz is null or (created_at, id) < (:moment, :id::uuid))
    order by created_at desc, id desc limit :most
""")
_CHANGE: Final = Statement("""
    update webhooks set url = :url, events = :events, description = :description, enabled = :enabled,
        disabled_reason = case when :enabled then null else disabled_reason end,
        failing_since = case when :enabled and enabled and url = :url then failing_since end,
        slow = slow and url = :url, period = period + (enabled and not :enabled)::integer, updated_at = now()
    where tenant_id = :tenant and id = :id
""")
_ROTATE: Final = Statement(f"""
    update webhooks set former_ciphertext = :former_ciphertext, former_nonce = :former_nonce,
        former_key_version = :former_key_version, former_until = now() + interval '{FORMER_SECRET_HOURS} hours',
        ciphertext = :ciphertext, nonce = :nonce, key_version = :key_version, updated_at = now()
    where tenant_id = :tenant and id = :id and deleted_at is null
""")
_DELETE: Final = Statement("""
    update webhooks set deleted_at = now(), enabled = false, period = period + 1, url = '', events = '{}',
        description = '', ciphertext = '', nonce = '', former_ciphertext = null, former_nonce = null,
        former_key_version = null, former_until = null, updated_at = now()
    where tenant_id = :tenant and id = :id and deleted_at is null
""")
_FORGET_DELETED: Final = Statement("""
    delete from webhooks w where w.tenant_id = :tenant and w.deleted_at is not null
      and not exists (select from deliveries d where d.tenant_id = w.tenant_id and d.webhook_id = w.id)
""")
_DISABLE: Final = Statement("""
    update webhooks set enabled = false, disabled_reason = :reason, period = period + 1, updated_at = now()
    where tenant_id = :tenant and id = :id and enabled
""")
_SHARED: Final = Statement("""
    select count(*) as found, count(*) filter (where owner_id is null) as shared from sources
    where tenant_id = :tenant and id = any (:sources) and deleted_at is null
""")
_SECRETS: Final = Statement("""
    select url, ciphertext, nonce, key_version, former_ciphertext, former_nonce, former_key_version,
           coalesce(former_until > now(), false) and former_ciphertext is not null as with_former
    from webhooks where tenant_id = :tenant and id = :id and deleted_at is null
""")
_ANNOUNCE: Final = Statement("""
    insert into deliveries (tenant_id, id, webhook_id, period, event, data)
    select :tenant, gen_random_uuid(), w.id, w.period, :event, :data from webhooks w
    where w.tenant_id = :tenant and w.enabled and :event::text = any (w.events)
      and (:source::uuid is null
           or (w.source_ids is null or :source = any (w.source_ids))
              and exists (select from sources s where s.tenant_id = :tenant and s.id = :source
                          and s.owner_id is null and s.deleted_at is null))
""")
_ANNOUNCE_VERSION: Final = Statement("""
    insert into deliveries (tenant_id, id, webhook_id, period, event, data)
    select :tenant, gen_random_uuid(), w.id, w.period, :event, jsonb_build_object(
               'document_id', v.document_id, 'version', v.id, 'source_id', v.source_id, 'status', v.state,
               'error', v.failure_code)
    from webhooks w
    join document_versions v on v.tenant_id = w.tenant_id and v.id = :version and v.owner_id is null
    join documents d on d.tenant_id = v.tenant_id and d.newest_version_id = v.id and d.deleted_at is null
    join sources s on s.tenant_id = v.tenant_id and s.id = v.source_id and s.deleted_at is null
    where w.tenant_id = :tenant and w.enabled and :event::text = any (w.events)
      and (w.source_ids is null or v.source_id = any (w.source_ids))
""")


@dataclass(frozen=True, slots=True)
class KeptSecret:
    """A secret as it is kept."""

    ciphertext: bytes
    nonce: bytes
    key_version: int


@dataclass(frozen=True, slots=True)
class NewWebhook:
    id: WebhookId
    url: str
    events: frozenset[Occasion]
    sources: frozenset[SourceId] | None = None
    description: str = ""
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Target:
    """Where a webhook is, and with what it is signed: the former secret too, for some hours after a rotation."""

    url: str
    secret: KeptSecret
    former: KeptSecret | None


async def announce(tx: Transaction, occasion: Occasion, data: Mapping[str, Any]) -> int:
    """In the transaction of what it tells; how many webhooks will hear of it.

    `data` are ids, numbers and codes, never a text. What is about a source names it as `source_id`, and is announced
    only where the whole tenant sees that source. Raises KeyError without one.
    """
    source = None if occasion in OF_THE_TENANT else UUID(str(data["source_id"]))
    return await tx.run(_ANNOUNCE, event=occasion, source=source, data=dict(data))


async def announce_version(tx: Transaction, occasion: Occasion, version: UUID) -> int:
    """As `announce`, of a document's newest version as it is now in this transaction."""
    return await tx.run(_ANNOUNCE_VERSION, event=occasion, version=VersionId(version))


async def add(tx: Transaction, new: NewWebhook, secret: KeptSecret) -> Webhook:
    """Raises Conflict `too_many_webhooks`."""
    await tx.run(_ONE_AT_A_TIME)
    if await tx.value(_COUNT) >= MOST_WEBHOOKS:
        raise Conflict(f"An organisation has {MOST_WEBHOOKS} webhooks at most.", code="too_many_webhooks")
    row = await tx.row(
        _ADD,
        id=new.id,
        url=new.url,
        events=sorted(new.events),
        sources=None if new.sources is None else sorted(new.sources),
        description=new.description,
        enabled=new.enabled,
        ciphertext=secret.ciphertext,
        nonce=secret.nonce,
        key_version=secret.key_version,
    )
    return _webhook(row)


async def get(tx: Transaction, webhook: WebhookId) -> Webhook:
    """Raises NotFound."""
    return _found(await tx.row(_GET, id=webhook))


async def held(tx: Transaction, webhook: WebhookId) -> Webhook:
    """Nobody else changes it until the commit; events can be announced to it. Raises NotFound.

    Whoever changes deliveries takes their webhook first: in one order, so that none waits for ever.
    """
    return _found(await tx.row(_LOCK, id=webhook))


async def listed(tx: Transaction, *, limit: int, cursor: str | None) -> Page[Webhook]:
    place = place_of(cursor, of=_LISTED)
    rows = await tx.rows(_LIST, moment=place and place.created_at, id=place and place.id, most=limit + 1)
    places = [Place(row["created_at"], row["id"]) for row in rows]
    return page([_webhook(row) for row in rows], places, limit, of=_LISTED)


async def change(tx: Transaction, webhook: Webhook) -> None:
    """Its url, events, description, and whether it is enabled; a new address begins without a record of failures."""
    await tx.run(
        _CHANGE,
        id=webhook.id,
        url=webhook.url,
        events=sorted(webhook.events),
        description=webhook.description,
        enabled=webhook.enabled,
    )


async def rotate(tx: Transaction, webhook: WebhookId, secret: KeptSecret, former: KeptSecret | None) -> None:
    """The former one signs beside the new one for some hours. Raises NotFound."""
    rotated = await tx.run(
        _ROTATE,
        id=webhook,
        ciphertext=secret.ciphertext,
        nonce=secret.nonce,
        key_version=secret.key_version,
        former_ciphertext=former and former.ciphertext,
        former_nonce=former and former.nonce,
        former_key_version=former and former.key_version,
    )
    if not rotated:
        raise NotFound


async def disable(tx: Transaction, webhook: WebhookId, reason: DisabledReason) -> bool:
    """False when it was disabled or deleted already."""
    return await tx.run(_DISABLE, id=webhook, reason=reason) > 0


async def delete(tx: Transaction, webhook: WebhookId) -> None:
    """Nothing of it can be seen or told from now on, and its secrets are gone. Raises NotFound.

    What was told to it goes later, in slices: that may be a great deal.
    """
    if not await tx.run(_DELETE, id=webhook):
        raise NotFound


async def forget_deleted(tx: Transaction) -> None:
    """Those that were removed, and of which nothing is left that was told to them."""
    await tx.run(_FORGET_DELETED)


async def are_shared(tx: Transaction, sources: frozenset[SourceId]) -> bool:
    """Whether the whole tenant sees each of them. Raises NotFound when one is not there."""
    row = await tx.row(_SHARED, sources=list(sources))
    if row is None or row["found"] < len(sources):
        raise NotFound
    return bool(row["shared"] == len(sources))


async def target(tx: Transaction, webhook: WebhookId) -> Target:
    """Raises NotFound."""
    row = await tx.row(_SECRETS, id=webhook)
    if row is None:
        raise NotFound
    former = None
    if row["with_former"]:
        former = KeptSecret(row["former_ciphertext"], row["former_nonce"], row["former_key_version"])
    return Target(row["url"], KeptSecret(row["ciphertext"], row["nonce"], row["key_version"]), former)


def _found(row: asyncpg.Record | None) -> Webhook:
    if row is None:
        raise NotFound
    return _webhook(row)


def _webhook(row: Any) -> Webhook:
    failing: datetime | None = row["failing_since"]
    return Webhook(
        id=WebhookId(row["id"]),
        url=row["url"],
        events=frozenset(map(Occasion, row["events"])),
        sources=None if row["source_ids"] is None else frozenset(map(SourceId, row["source_ids"])),
        description=row["description"],
        enabled=row["enabled"],
        disabled_reason=row["disabled_reason"] and DisabledReason(row["disabled_reason"]),
        failing_since=failing,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
