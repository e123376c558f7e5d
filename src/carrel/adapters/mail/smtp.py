"""Mail by an SMTP server."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

import aiosmtplib

from carrel.adapters.mail.message import message_of
from carrel.domain.errors import Unavailable
from carrel.domain.mail import Letter
from carrel.ports.mail import Undeliverable

_FOR_EVER: Final = 500  # replies from here on are permanent (RFC 5321, 4.2.1)


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where, and as whom. `tls`: from the first byte, by STARTTLS (demanded, not merely tried), or none."""

    host: str
    port: int
    sender: str
    username: str | None = None
    password: str | None = None
    tls: Literal["starttls", "tls", "none"] = "starttls"

    def __repr__(self) -> str:
        return f"SmtpServer({self.host}:{self.port})"


class SmtpMailer:
    """`timeout` bounds each step, in seconds. `context`: which certificates are believed; None means the system's."""

    def __init__(self, server: SmtpServer, *, timeout: float = 10.0, context: ssl.SSLContext | None = None) -> None:
        self._server = server
        self._timeout = timeout
        self._context = context

    async def send(self, letter: Letter) -> None:
        server = self._server
        with _refusals():
            refused, _ = await aiosmtplib.send(
                message_of(letter, sender=server.sender),
                hostname=server.host,
                port=server.port,
                username=server.username,
                password=server.password,
                use_tls=server.tls == "tls",
                start_tls=server.tls == "starttls",
                tls_context=None if server.tls == "none" else self._context,
                timeout=self._timeout,
            )
        for reply in refused.values():  # the server took the letter for some of its readers only
            raise _refused(reply.code)


@contextmanager
def _refusals() -> Iterator[None]:
    """The vendor's errors as refusals. A certificate that is not believed may come as an OSError."""
    try:
        yield
    except aiosmtplib.SMTPRecipientsRefused as error:
        raise _refused(max(one.code for one in error.recipients)) from error
    except (aiosmtplib.SMTPDataError, aiosmtplib.SMTPSenderRefused, aiosmtplib.SMTPRecipientRefused) as error:
        raise _refused(error.code) from error
    except aiosmtplib.SMTPAuthenticationError as error:
        raise _unavailable("The mail server does not take the name and the password.") from error
    except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
        if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
            raise _unavailable("The mail server's certificate is not believed.") from error
        raise _unavailable("The mail server does not answer as it should.") from error


def _refused(code: int) -> Unavailable | Undeliverable:
    if code < _FOR_EVER:
        return _unavailable(f"The mail server puts the letter off (reply {code}).")
    return Undeliverable(f"The mail server refuses the letter (reply {code}).")


def _unavailable(sentence: str) -> Unavailable:
    return Unavailable(sentence, code="mail_unavailable")
