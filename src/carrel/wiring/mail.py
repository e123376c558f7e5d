"""How mail is sent, and who writes which letter."""

from collections.abc import Mapping
from typing import assert_never

from carrel.domain.mail import MailKind
from carrel.ports.mail import Mailer
from carrel.settings import Outbox, Settings, Smtp
from carrel.tenancy.codes import CodeLetters
from carrel.tenancy.invitations import InvitationLetters
from carrel.tenancy.mailroom import Mailroom, Writer
from carrel.wiring.database import Base


def mailroom(base: Base, mailer: Mailer) -> Mailroom:
    return Mailroom(base.database, mailer, writers(base))


def writers(base: Base) -> Mapping[MailKind, Writer]:
    """Each kind of mail has one."""
    codes = CodeLetters(base.database, pepper=base.secrets.pepper)
    invitations = InvitationLetters(base.database, pepper=base.secrets.pepper)
    return {MailKind.VERIFY: codes.verify, MailKind.RESET: codes.reset, MailKind.INVITATION: invitations.write}


def mailer(settings: Settings) -> Mailer:
    match settings.mail:
        case Smtp() as smtp:
            from carrel.adapters.mail.smtp import SmtpMailer, SmtpServer

            password = None if smtp.password is None else smtp.password.get_secret_value()
            server = SmtpServer(smtp.host, smtp.port, smtp.sender, smtp.username, password, smtp.tls)
            return SmtpMailer(server, timeout=smtp.timeout)
        case Outbox():
            from carrel.adapters.mail.outbox import Outbox as Folder

            return Folder(settings.folder / "outbox", aloud=settings.environment == "development")
        case _:
            assert_never(settings.mail)
