"""Sending mail."""

from typing import ClassVar, Protocol

from carrel.domain.errors import Refusal
from carrel.domain.mail import Letter


class Undeliverable(Refusal):
    """The mail server says that this letter will never arrive: trying again gives the same answer."""

    default_code: ClassVar[str] = "undeliverable_mail"


class Mailer(Protocol):
    """Returns when somebody else has taken the letter over. Ends by itself, also when nobody answers."""

    async def send(self, letter: Letter) -> None:
        """Raises Unavailable `mail_unavailable` when it may be tried again, Undeliverable when not."""
        ...
