"""One-time codes: six digits that follow from the pepper and the random id of a row, so that nobody need keep them.

The row holds an HMAC over person, purpose and digits. A code lives for ten minutes, is used once, and only a person's
newest counts. Whoever guesses has five tries at each: the count rises, in one statement, before anything is compared.
"""

import hmac
import uuid
from hashlib import sha256
from typing import Final

from carrel.domain.access import for_accounts
from carrel.domain.errors import Invalid
from carrel.domain.ids import UserId
from carrel.domain.mail import Letter, MailKind, WaitingMail
from carrel.store import accounts, codes, mails
from carrel.store.codes import Purpose
from carrel.store.transaction import Database, Transaction

__all__ = ["LIFETIME", "CodeLetters", "Codes", "Purpose", "code_of"]

LIFETIME: Final = 600.0  # seconds

_DIGITS: Final = 6
_MAIL: Final = {Purpose.VERIFY: MailKind.VERIFY, Purpose.RESET: MailKind.RESET}


def code_of(pepper: bytes, row: uuid.UUID) -> str:
    """The digits that belong to a row."""
    drawn = int.from_bytes(hmac.digest(pepper, b"one-time code:" + row.bytes, sha256)[:16], "big")
    return f"{drawn % 10**_DIGITS:0{_DIGITS}}"


class Codes:
    def __init__(self, *, pepper: bytes) -> None:
        self._pepper = pepper

    async def issue(self, tx: Transaction, user: UserId, purpose: Purpose) -> None:
        """In the transaction that makes it, its mail too; what came before for the same purpose is dead."""
        row = uuid.uuid4()
        mac = self._mac(user, purpose, code_of(self._pepper, row))
        await codes.add(tx, row, user, purpose, mac=mac, lifetime=LIFETIME)
        await mails.enqueue(tx, _MAIL[purpose], row)

    def proves(self, tried: codes.Attempt | None, user: UserId, purpose: Purpose, code: str) -> uuid.UUID:
        """The row of the code that was tried. Raises Invalid `invalid_code`: wrong, over, used or tried too often."""
        mac = self._mac(user, purpose, code)
        if not hmac.compare_digest(mac, bytes(len(mac)) if tried is None else tried.mac) or tried is None:
            raise wrong_code()
        return tried.code

    def nobody(self, email: str) -> UserId:
        """Stands for the person of an address that is not known: the same is done for it, and nothing comes of it."""
        return UserId(uuid.UUID(bytes=hmac.digest(self._pepper, b"nobody:" + email.encode(), sha256)[:16], version=4))

    def _mac(self, user: UserId, purpose: Purpose, code: str) -> bytes:
        return hmac.digest(self._pepper, f"code:{user}:{purpose}:{code}".encode(), sha256)


def wrong_code() -> Invalid:
    return Invalid("This code is wrong or over: ask for a new one.", code="invalid_code", field="code")


class CodeLetters:
    """Writes the letters of codes. That there is an account is told to its own address, and nowhere else."""

    def __init__(self, database: Database, *, pepper: bytes) -> None:
        self._database = database
        self._pepper = pepper

    async def verify(self, mail: WaitingMail) -> Letter | None:
        async with self._database.transaction(for_accounts()) as tx:
            user = await codes.wanted(tx, mail.subject, Purpose.VERIFY)
            found = None if user is None else await accounts.addressee(tx, user)
        if found is None:
            return None
        if found.known:
            return Letter(mail.id, found.email, "You have an account already", _KNOWN)
        text = _VERIFY.format(code=code_of(self._pepper, mail.subject))
        return Letter(mail.id, found.email, "Your code to confirm this address", text)

    async def reset(self, mail: WaitingMail) -> Letter | None:
        async with self._database.transaction(for_accounts()) as tx:
            user = await codes.wanted(tx, mail.subject, Purpose.RESET)
            email = None if user is None else await accounts.resettable(tx, user)
        if email is None:
            return None
        text = _RESET.format(code=code_of(self._pepper, mail.subject))
        return Letter(mail.id, email, "Your code for a new password", text)


_VERIFY: Final = """\
Somebody, probably you, registered with this address.

Your code: {code}

It can be used once, within ten minutes. Give it to nobody who asks for it.
If it was not you, do nothing: without the code nothing happens.
"""
_KNOWN: Final = """\
Somebody, probably you, tried to register with this address. There is an account with it already.

Sign in with your password. If you have forgotten it, ask for a new one.
If it was not you, do nothing: nothing has changed.
"""
_RESET: Final = """\
Somebody, probably you, asked for a new password for this address.

Your code: {code}

It can be used once, within ten minutes. Give it to nobody who asks for it.
If it was not you, do nothing: your password is as it was.
"""
