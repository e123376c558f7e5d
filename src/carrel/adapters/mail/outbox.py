"""Mail for who has no mail server: each letter is a file, and may also be told to the log."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import structlog

from carrel.adapters.mail.message import message_of
from carrel.domain.errors import Unavailable
from carrel.domain.mail import Letter

log = structlog.get_logger(__name__)


class Outbox:
    """`folder` is made when the first letter comes. `aloud` tells the log what a letter says: for development only."""

    def __init__(self, folder: Path, *, aloud: bool, sender: str = "carrel@localhost") -> None:
        self._folder = folder
        self._aloud = aloud
        self._sender = sender

    async def send(self, letter: Letter) -> None:
        content = message_of(letter, sender=self._sender).as_bytes()
        path = self._folder / f"{letter.id}.eml"
        try:
            await asyncio.to_thread(_write, path, content)
        except OSError as error:
            raise Unavailable(f"The outbox cannot be written: {error.strerror}.", code="mail_unavailable") from error
        told = {"to": letter.to, "text": letter.text} if self._aloud else {}
        log.info("mail.kept", path=str(path), subject=letter.subject, **told)


def _write(path: Path, content: bytes) -> None:
    """A letter that comes again replaces itself; nobody ever sees half of one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    with suppress(FileNotFoundError):
        draft.unlink()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.rename(path)
