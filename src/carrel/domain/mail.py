"""Mail: what waits to be sent, and what is sent. What waits holds ids only; the text is made when it is sent."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from carrel.domain.ids import TenantId


class MailKind(StrEnum):
    """What a mail is about: which row `subject` names, and who can write the letter."""

    VERIFY = "verify"
    RESET = "reset"
    INVITATION = "invitation"


@dataclass(frozen=True, slots=True)
class WaitingMail:
    """`tenant` is the one in whose transaction it was put there, None for what belongs to no tenant."""

    id: UUID
    kind: str
    subject: UUID
    tenant: TenantId | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail with its words. The same waiting mail gives the same `id`, so that a receiver can tell a repetition."""

    id: UUID
    to: str
    subject: str
    text: str
