"""A letter as a message of RFC 5322."""

from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

from carrel.domain.mail import Letter
from carrel.ports.mail import Undeliverable


def message_of(letter: Letter, *, sender: str) -> EmailMessage:
    """The id follows from the letter's, so that a letter that is sent twice is one for whoever gets it.

    People's words stand in the subject. As an encoded word (RFC 2047) they would be decoded on the way into the header,
    line breaks and further headers with them, so none can begin there. Raises Undeliverable for what fits no header.
    """
    message = EmailMessage()
    message["From"] = sender
    try:
        message["To"] = letter.to
        message["Subject"] = letter.subject.replace("=?", "= ?")
    except ValueError as error:
        raise Undeliverable("The letter cannot be written as a mail.") from error
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{letter.id}@{sender.rpartition('@')[2].strip('<> ')}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text)
    return message
