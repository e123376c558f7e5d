"""One-time codes as rows: what proves one, how often it was tried, whether it is over. A person's newest counts."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from carrel.domain.ids import UserId
from carrel.store.transaction import Statement, Transaction

MOST_ATTEMPTS: Final = 5

_ADD: Final = Statement("""
    insert into email_codes (id, user_id, purpose, mac, expires_at)
    values (:id, :user, :purpose, :mac, now() + make_interval(secs => :lifetime))
""")
# The count rises before anything is compared, and in one statement: however many try at once, five get to compare.
_TRY: Final = Statement(f"""
    update email_codes set attempts = attempts + 1
    where id = (select id from email_codes where user_id = :user and purpose = :purpose
                order by created_at desc, id desc limit 1)
      and attempts < {MOST_ATTEMPTS} and used_at is null and expires_at > now()
    returning id, mac
""")
_USE: Final = Statement("update email_codes set used_at = now() where id = :id and used_at is null")
_WANTED: Final = Statement("""
    select c.user_id from email_codes c
    where c.id = :id and c.purpose = :purpose and c.used_at is null and c.expires_at > now() and not exists (
        select from email_codes n where n.user_id = c.user_id and n.purpose = c.purpose
                                    and (n.created_at, n.id) > (c.created_at, c.id))
""")
_FORGET: Final = Statement("delete from email_codes where expires_at < now() - interval '1 hour'")


class Purpose(StrEnum):
    VERIFY = "verify"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try that may be compared."""

    code: UUID
    mac: bytes


async def add(tx: Transaction, code: UUID, user: UserId, purpose: Purpose, *, mac: bytes, lifetime: float) -> None:
    """`lifetime` in seconds. Whatever came before for the same person and purpose is dead with it."""
    await tx.run(_ADD, id=code, user=user, purpose=purpose, mac=mac, lifetime=lifetime)


async def attempt(tx: Transaction, user: UserId, purpose: Purpose) -> Attempt | None:
    """Counts, and must be committed whatever comes of it. None: no living code, or it was tried too often."""
    row = await tx.row(_TRY, user=user, purpose=purpose)
    return None if row is None else Attempt(row["id"], row["mac"])


async def use(tx: Transaction, code: UUID) -> bool:
    """False for a code that was used meanwhile."""
    return await tx.run(_USE, id=code) == 1


async def wanted(tx: Transaction, code: UUID, purpose: Purpose) -> UserId | None:
    """Whose code it is; None for one that is over, used, or not the newest."""
    user = await tx.value(_WANTED, id=code, purpose=purpose)
    return None if user is None else UserId(user)


async def forget_old(tx: Transaction) -> int:
    return await tx.run(_FORGET)
