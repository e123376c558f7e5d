"""The mailroom: takes the mail that waits, has each letter written, and sends it.

A waiting mail names a subject and holds no text, so codes and links exist in clear only while their letter is sent. Who
adds a kind of mail does three things:

1. A member of `domain.mail.MailKind`, for example `INVITATION = "invitation"`.
2. `await mails.enqueue(tx, MailKind.INVITATION, invitation.id)` in the transaction that makes the invitation. It may be
   the tenant's own transaction.
3. A `Writer`: given the waiting mail it reads the subject's row (`mail.tenant` is the tenant that put it there, for
   `for_accounts(tenant=mail.tenant)`), derives the secret from the pepper and the row's id, and returns the letter; or
   None when it is no longer wanted. `wiring.mail.writers` lists the writers by kind.

A mail is sent at least once. A worker that dies while it sends leaves the row behind: it is due again when the lease is
over, and the letter has the same id as before.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

import structlog

from carrel.domain.access import for_accounts
from carrel.domain.errors import Refusal
from carrel.domain.mail import Letter, MailKind, WaitingMail
from carrel.ports.mail import Mailer
from carrel.store import mails
from carrel.store.transaction import Database

log = structlog.get_logger(__name__)

Writer: TypeAlias = Callable[[WaitingMail], Awaitable[Letter | None]]

_AT_ONCE: Final = 5
_LEASE: Final = 180.0  # seconds: longer than any mailer takes
_TRIES: Final = 8
_DELAYS: Final = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0)  # seconds after the first, second … failure


class Mailroom:
    def __init__(self, database: Database, mailer: Mailer, writers: Mapping[MailKind, Writer]) -> None:
        self._database = database
        self._mailer = mailer
        self._writers = writers

    async def work(self) -> int:
        """Send what is due; how many mails that were. Raises Unavailable when the database does not answer."""
        count = 0
        while claimed := await self._claim():
            async with asyncio.TaskGroup() as group:
                for mail in claimed:
                    group.create_task(self._deliver(mail))
            count += len(claimed)
        return count

    async def _claim(self) -> list[WaitingMail]:
        async with self._database.transaction(for_accounts()) as tx:
            return await mails.claim(tx, most=_AT_ONCE, lease=_LEASE)

    async def _deliver(self, mail: WaitingMail) -> None:
        try:
            await self._send(mail)
        except Refusal as refusal:
            await self._settle(mail, refusal)
        else:
            await self._remove(mail)

    async def _send(self, mail: WaitingMail) -> None:
        if mail.attempts > _TRIES:
            raise Refusal("The worker died each time it tried.", code="mail_given_up")
        writer = self._writers.get(MailKind(mail.kind)) if mail.kind in set(MailKind) else None
        if writer is None:
            raise Refusal("Nobody here writes such letters.", code="mail_given_up")
        letter = await writer(mail)
        if letter is not None:
            await self._mailer.send(letter)
            log.info("mail.sent", mail=str(mail.id), kind=mail.kind)

    async def _settle(self, mail: WaitingMail, refusal: Refusal) -> None:
        """Later again, or never. What cannot be written down is taken up when the lease is over."""
        again = refusal.retryable and mail.attempts < _TRIES
        log.warning(
            "mail.failed", mail=str(mail.id), kind=mail.kind, attempt=mail.attempts, again=again, reason=refusal.detail
        )
        if not again:
            await self._remove(mail)
            return
        async with self._database.transaction(for_accounts()) as tx:
            await mails.put_off(tx, mail.id, delay=_DELAYS[mail.attempts - 1])

    async def _remove(self, mail: WaitingMail) -> None:
        async with self._database.transaction(for_accounts()) as tx:
            await mails.remove(tx, mail.id)
