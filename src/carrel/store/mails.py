"""Mail that waits, as rows: put there in the transaction of what it tells, taken by a worker, gone when it was sent.

A row holds the kind and the id of its subject, never an address or a code. `enqueue` works in any transaction of an
account or of a tenant; all else is the mailroom's, under an AccountGrant without a tenant.
"""

from typing import Any, Final
from uuid import UUID

from carrel.domain.ids import TenantId, new_id
from carrel.domain.mail import MailKind, WaitingMail
from carrel.store.transaction import Statement, Transaction

_ADD: Final = Statement("""
    insert into mails (id, kind, subject_id, for_tenant)
    values (:id, :kind, :subject, nullif(current_setting('carrel.tenant', true), '')::uuid)
""")
_CLAIM: Final = Statement("""
    with due as (select id from mails where due_at <= now() order by due_at limit :most for update skip locked)
    update mails m set attempts = m.attempts + 1, due_at = now() + make_interval(secs => :lease)
    from due where m.id = due.id
    returning m.id, m.kind, m.subject_id, m.for_tenant, m.attempts
""")
_PUT_OFF: Final = Statement("update mails set due_at = now() + make_interval(secs => :delay) where id = :id")
_REMOVE: Final = Statement("delete from mails where id = :id")


async def enqueue(tx: Transaction, kind: MailKind, subject: UUID) -> None:
    """`subject` is the id of the row that the letter is about: a code, an invitation."""
    await tx.run(_ADD, id=new_id(), kind=kind, subject=subject)


async def claim(tx: Transaction, *, most: int, lease: float) -> list[WaitingMail]:
    """What is due, for `lease` seconds nobody else's; each claim counts as an attempt."""
    return [_mail(row) for row in await tx.rows(_CLAIM, most=most, lease=lease)]


async def put_off(tx: Transaction, mail: UUID, *, delay: float) -> None:
    """Due again in so many seconds."""
    await tx.run(_PUT_OFF, id=mail, delay=delay)


async def remove(tx: Transaction, mail: UUID) -> None:
    await tx.run(_REMOVE, id=mail)


def _mail(row: Any) -> WaitingMail:
    tenant = row["for_tenant"]
    return WaitingMail(
        id=row["id"],
        kind=row["kind"],
        subject=row["subject_id"],
        tenant=None if tenant is None else TenantId(tenant),
        attempts=row["attempts"],
    )
