"""The courier: signs what is to be told, tells it, and writes down what came of it.

No transaction is open while the other side is asked. A delivery is told at least once: a worker that dies before it has
written the answer down leaves its lease behind, and whoever takes it up then tells it under the same id.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
import structlog

from carrel.domain.access import for_job
from carrel.domain.audit import Act
from carrel.domain.errors import Conflict, Invalid, NotFound, Unavailable
from carrel.domain.ids import TenantId, WebhookId
from carrel.domain.secret import Secret
from carrel.domain.webhooks import (
    MOST_ATTEMPTS,
    Attempt,
    DeliveryState,
    DisabledReason,
    Occasion,
    delay_after,
    message_id,
    signature,
)
from carrel.ports.web import Outgoing
from carrel.store import audit, deliveries, webhooks
from carrel.store.deliveries import Errand, Letter
from carrel.store.transaction import Database, Transaction
from carrel.store.webhooks import KeptSecret
from carrel.tenancy.vault import Box, Place, Vault

log = structlog.get_logger(__name__)

TABLE: Final = "webhooks"
SECRET: Final = "secret"  # noqa: S105 - the name of a column
FORMER_SECRET: Final = "former_secret"  # noqa: S105 - as above
LEASE: Final = 60.0  # seconds: longer than any answer is waited for
_SLOW: Final = 2000  # milliseconds from which on a webhook is one of those that others need not wait for


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A message as it goes out."""

    url: str
    body: bytes
    headers: dict[str, str]
    event: Occasion


class Courier:
    """`outgoing` is asked for when the first delivery comes: most processes never make one."""

    def __init__(self, database: Database, vault: Vault, outgoing: Callable[[TenantId], Outgoing]) -> None:
        self._database = database
        self._vault = vault
        self._outgoing = outgoing

    async def deliver(self, errand: Errand) -> Attempt | None:
        """What came of it, written down; None when it was no longer ours.

        Raises Unavailable of the database or of the master key: it is taken up again when the lease is over.
        """
        try:
            sealed = await self._seal(errand)
            if sealed is None:
                return None
            attempt = await self._tell(errand.tenant, sealed)
            return attempt if await self._settle(errand, attempt, sealed.event) else None
        except Conflict as unreadable:
            return await self._give_up(errand, Attempt(0, problem=unreadable.code))
        except NotFound:  # its webhook was deleted meanwhile
            return None

    async def _seal(self, errand: Errand) -> _Sealed | None:
        """Raises Conflict `secret_unreadable`, NotFound, Unavailable."""
        async with self._database.transaction(for_job(errand.tenant, None)) as tx:
            letter = await deliveries.letter(tx, errand)
            if letter is None:
                return None
            target = await webhooks.target(tx, errand.webhook)
            kept = [(target.secret, SECRET)]
            if target.former is not None:
                kept.append((target.former, FORMER_SECRET))
            secrets = [await self._open(tx, errand.webhook, *one) for one in kept]
        message, body = message_id(errand.id), orjson.dumps(_payload(errand, letter))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Carrel",
            "webhook-id": message,
            "webhook-timestamp": str(letter.moment),
            "webhook-signature": signature(secrets, message, letter.moment, body),
        }
        return _Sealed(target.url, body, headers, letter.event)

    async def _open(self, tx: Transaction, webhook: WebhookId, kept: KeptSecret, column: str) -> Secret:
        place = Place(TABLE, webhook, column)
        return await self._vault.open(tx, place, Box(kept.ciphertext, kept.nonce, kept.key_version))

    async def _tell(self, tenant: TenantId, sealed: _Sealed) -> Attempt:
        began = time.perf_counter()
        try:
            status = await self._outgoing(tenant).post(sealed.url, body=sealed.body, headers=sealed.headers)
        except (Invalid, Unavailable) as refusal:
            return Attempt(_since(began), problem=refusal.code)
        attempt = Attempt(_since(began), status)
        return attempt if attempt.is_good else replace(attempt, problem="answer_refused")

    async def _give_up(self, errand: Errand, attempt: Attempt) -> Attempt | None:
        async with self._database.transaction(for_job(errand.tenant, None)) as tx:
            written = await deliveries.settle(tx, errand, attempt, DeliveryState.FAILED)
        _log(errand, attempt, again=False)
        return attempt if written else None

    async def _settle(self, errand: Errand, attempt: Attempt, event: Occasion) -> bool:
        may_help = not attempt.is_good and not attempt.is_gone and event is not Occasion.TEST
        async with self._database.transaction(for_job(errand.tenant, None)) as tx:
            webhook = await webhooks.held(tx, errand.webhook)
            again = may_help and webhook.enabled and errand.attempts < MOST_ATTEMPTS
            state = DeliveryState.WAITING if again else DeliveryState.FAILED
            state = DeliveryState.DELIVERED if attempt.is_good else state
            delay = delay_after(errand.attempts) if again else 0.0
            if not await deliveries.settle(tx, errand, attempt, state, delay=delay):
                return False
            if attempt.is_good:
                await deliveries.note_good(tx, errand.webhook, slow=attempt.milliseconds >= _SLOW)
            else:
                await self._judge(tx, errand, attempt)
        _log(errand, attempt, again=again)
        return True

    async def _judge(self, tx: Transaction, errand: Errand, attempt: Attempt) -> None:
        """Whoever says that it is gone, or has failed for days, hears nothing more until a person says otherwise."""
        fails_for_long = await deliveries.note_bad(tx, errand.webhook)
        reason = DisabledReason.GONE if attempt.is_gone else DisabledReason.FAILING if fails_for_long else None
        if reason is not None and await webhooks.disable(tx, errand.webhook, reason):
            await deliveries.give_up(tx, errand.webhook)
            await audit.record(tx, Act.WEBHOOK_DISABLED, errand.webhook, facts={"reason": reason.value})
            log.warning("webhook.disabled", webhook=str(errand.webhook), reason=reason.value)


def _since(began: float) -> int:
    return round((time.perf_counter() - began) * 1000)


def _payload(errand: Errand, letter: Letter) -> dict[str, Any]:
    data: dict[str, Any] = dict(letter.data)
    if letter.event is Occasion.TEST:
        data["webhook_id"] = str(errand.webhook)
    if "document_id" in data:
        data["key"] = letter.key
    return {"type": letter.event.value, "timestamp": letter.happened_at.isoformat(), "data": data}


def _log(errand: Errand, attempt: Attempt, *, again: bool) -> None:
    told = log.bind(webhook=str(errand.webhook), delivery=str(errand.id), attempt=errand.attempts)
    if attempt.is_good:
        told.info("webhook.delivered")
    else:
        told.warning("webhook.failed", status=attempt.status, problem=attempt.problem, again=again)
