"""A letter as a message of RFC 5322."""

from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

from carrel.domain.mail import Letter


def message_of(letter: Letter, *, sender: str) -> EmailMessage:
    """The id follows from the letter's, so that a letter that is sent twice is one for whoever gets it."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = letter.to
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{letter.id}@{sender.rpartition('@')[2].strip('<> ')}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text)
    return message
