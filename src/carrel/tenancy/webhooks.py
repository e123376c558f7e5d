"""Webhooks: made, changed, tried out and removed by a tenant's managers, who also see what became of each delivery."""

import hmac
from dataclasses import dataclass, replace
from hashlib import sha256
from uuid import UUID

from carrel.domain.access import Principal, TenantGrant, enter_unlimited
from carrel.domain.audit import Act
from carrel.domain.errors import Conflict, Invalid
from carrel.domain.ids import DeliveryId, SourceId, TenantId, WebhookId, new_id
from carrel.domain.rights import Permission
from carrel.domain.secret import Secret
from carrel.domain.webhooks import (
    Delivery,
    DeliveryState,
    Occasion,
    Webhook,
    judged_events,
    judged_target,
    new_secret,
    secret_of,
)
from carrel.store import audit, deliveries, idempotency, webhooks
from carrel.store.idempotency import Memo
from carrel.store.pages import Page
from carrel.store.transaction import Database, Transaction
from carrel.store.webhooks import KeptSecret, NewWebhook
from carrel.tenancy.courier import FORMER_SECRET, LEASE, SECRET, TABLE, Courier
from carrel.tenancy.vault import Box, Place, Vault

__all__ = ["Delivery", "DeliveryState", "IssuedWebhook", "Webhook", "WebhookChange", "WebhookWish", "Webhooks"]


@dataclass(frozen=True, slots=True)
class WebhookWish:
    url: str
    events: frozenset[Occasion]
    sources: frozenset[SourceId] | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class WebhookChange:
    """None leaves a field as it is."""

    url: str | None = None
    events: frozenset[Occasion] | None = None
    enabled: bool | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class IssuedWebhook:
    """`secret` exists in this answer only."""

    webhook: Webhook
    secret: Secret


class Webhooks:
    def __init__(self, database: Database, vault: Vault, courier: Courier, *, pepper: bytes) -> None:
        self._database = database
        self._vault = vault
        self._courier = courier
        self._pepper = pepper

    async def create(
        self, principal: Principal, wish: WebhookWish, *, memo: Memo[IssuedWebhook] | None = None
    ) -> IssuedWebhook:
        """Raises Denied, Invalid `invalid_url`, `no_events`, `invalid_event`, `private_source`, NotFound for a source
        that is not there, Conflict `too_many_webhooks`.
        """
        grant = enter_unlimited(principal, Permission.MANAGE)
        judged_target(wish.url)
        judged_events(wish.events)
        webhook = WebhookId(new_id())
        secret = new_secret() if memo is None else self.repeatable(grant.tenant, webhook, memo)
        async with self._database.transaction(grant) as tx:
            return await idempotency.once(tx, memo, lambda: self._add(tx, webhook, wish, secret))

    async def bring(self, grant: TenantGrant, wish: WebhookWish) -> None:
        """From an archive: with a secret that nobody knows yet, and switched off. Raises what `create` raises."""
        async with self._database.transaction(grant) as tx:
            await self._add(tx, WebhookId(new_id()), wish, new_secret(), enabled=False)

    def repeatable(self, tenant: TenantId, webhook: WebhookId, memo: Memo[IssuedWebhook]) -> Secret:
        """The secret that this Idempotency-Key makes: it follows from the pepper, so no stored answer holds it."""
        seed = f"idempotent webhook:{tenant}:{webhook}:{memo.principal}:{memo.key}".encode()
        return secret_of(hmac.digest(self._pepper, seed, sha256))

    async def listed(self, principal: Principal, *, limit: int = 50, cursor: str | None = None) -> Page[Webhook]:
        """Raises Denied, Invalid `invalid_cursor`."""
        async with self._database.transaction(_managing(principal)) as tx:
            return await webhooks.listed(tx, limit=limit, cursor=cursor)

    async def get(self, principal: Principal, webhook: WebhookId) -> Webhook:
        """Raises Denied, NotFound."""
        async with self._database.transaction(_managing(principal)) as tx:
            return await webhooks.get(tx, webhook)

    async def change(self, principal: Principal, webhook: WebhookId, change: WebhookChange) -> Webhook:
        """What waits for one that is switched off will not be told; where it is much, the sweep ends the rest of it.

        Raises Denied, NotFound, Invalid `invalid_url`, `no_events`, `invalid_event`.
        """
        grant = _managing(principal)
        fields = {name: value for name in change.__slots__ if (value := getattr(change, name)) is not None}
        judged_target(change.url or "https://none.example")
        if change.events is not None:
            judged_events(change.events)
        async with self._database.transaction(grant) as tx:
            wanted = replace(await webhooks.held(tx, webhook), **fields)
            await webhooks.change(tx, wanted)
            if not wanted.enabled:
                await deliveries.give_up(tx, webhook)
            await audit.record(tx, Act.WEBHOOK_CHANGED, webhook, facts={"changed": sorted(fields)})
            return await webhooks.get(tx, webhook)

    async def delete(self, principal: Principal, webhook: WebhookId) -> None:
        """Nothing more is sent to it. Raises Denied, NotFound."""
        async with self._database.transaction(_managing(principal)) as tx:
            await webhooks.delete(tx, webhook)
            await audit.record(tx, Act.WEBHOOK_DELETED, webhook)

    async def rotate(self, principal: Principal, webhook: WebhookId) -> IssuedWebhook:
        """A new secret; what is sent is signed with the former one too, for a day. Raises Denied, NotFound."""
        secret = new_secret()
        async with self._database.transaction(_managing(principal)) as tx:
            await webhooks.held(tx, webhook)
            former = await self._former(tx, webhook)
            await webhooks.rotate(tx, webhook, await self._closed(tx, webhook, SECRET, secret), former)
            await audit.record(tx, Act.WEBHOOK_ROTATED, webhook)
            return IssuedWebhook(await webhooks.get(tx, webhook), secret)

    async def test(self, principal: Principal, webhook: WebhookId) -> Delivery:
        """A test event, told now and once. Raises Denied, NotFound (also when it is deleted meanwhile), Throttled."""
        grant, delivery = _managing(principal), DeliveryId(new_id())
        async with self._database.transaction(grant) as tx:
            await webhooks.get(tx, webhook)
            errand = await deliveries.add_test(tx, delivery, webhook, lease=LEASE)
            await audit.record(tx, Act.WEBHOOK_TESTED, webhook)
        await self._courier.deliver(errand)
        return await self.delivery(principal, webhook, delivery)

    async def delivery(self, principal: Principal, webhook: WebhookId, delivery: DeliveryId) -> Delivery:
        """Raises Denied, NotFound."""
        async with self._database.transaction(_managing(principal)) as tx:
            return await deliveries.get(tx, webhook, delivery)

    async def deliveries(
        self,
        principal: Principal,
        webhook: WebhookId,
        *,
        state: DeliveryState | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Delivery]:
        """Newest first, of the last month. Raises Denied, NotFound, Invalid `invalid_cursor`."""
        async with self._database.transaction(_managing(principal)) as tx:
            await webhooks.get(tx, webhook)
            return await deliveries.listed(tx, webhook, state=state, limit=limit, cursor=cursor)

    async def retry(self, principal: Principal, webhook: WebhookId, delivery: DeliveryId) -> Delivery:
        """As if it were new. Raises Denied, NotFound, Conflict `delivery_waiting`, `webhook_disabled`."""
        async with self._database.transaction(_managing(principal)) as tx:
            if not (await webhooks.held(tx, webhook)).enabled:
                raise Conflict("This webhook is switched off: enable it first.", code="webhook_disabled")
            again = await deliveries.retry(tx, webhook, delivery)
            await audit.record(tx, Act.WEBHOOK_RETRIED, webhook)
            return again

    async def _add(
        self, tx: Transaction, webhook: WebhookId, wish: WebhookWish, secret: Secret, *, enabled: bool = True
    ) -> IssuedWebhook:
        if wish.sources is not None and not await webhooks.are_shared(tx, wish.sources):
            raise Invalid(
                "A webhook is the whole organisation's, and one of these sources is private.",
                code="private_source",
                field="source_ids",
            )
        new = NewWebhook(webhook, wish.url, wish.events, wish.sources, wish.description, enabled)
        added = await webhooks.add(tx, new, await self._closed(tx, webhook, SECRET, secret))
        await audit.record(tx, Act.WEBHOOK_CREATED, webhook, facts={"events": sorted(wish.events)})
        return IssuedWebhook(added, secret)

    async def _former(self, tx: Transaction, webhook: WebhookId) -> KeptSecret | None:
        """What signs until now, closed for its new place; None when it opens no more."""
        kept = (await webhooks.target(tx, webhook)).secret
        box = Box(kept.ciphertext, kept.nonce, kept.key_version)
        try:
            secret = await self._vault.open(tx, Place(TABLE, webhook, SECRET), box)
        except Conflict:
            return None
        return await self._closed(tx, webhook, FORMER_SECRET, secret)

    async def _closed(self, tx: Transaction, webhook: UUID, column: str, secret: Secret) -> KeptSecret:
        box = await self._vault.close(tx, Place(TABLE, webhook, column), secret)
        return KeptSecret(box.ciphertext, box.nonce, box.key_version)


def _managing(principal: Principal) -> TenantGrant:
    return enter_unlimited(principal, Permission.MANAGE)
