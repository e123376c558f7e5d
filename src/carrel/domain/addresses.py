"""E-mail addresses, in the one form in which they are kept and compared."""

import re
import unicodedata
from typing import Final

from carrel.domain.errors import Invalid

LONGEST: Final = 254

_WORD: Final = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ADDRESS: Final = re.compile(rf"{_WORD}(?:\.{_WORD})*@(?:{_LABEL}\.)+{_LABEL}", re.ASCII)


def one_form(text: str) -> str:
    """Composed, without spaces around it, in small letters; not judged."""
    return unicodedata.normalize("NFKC", text).strip().lower()


def email_address(text: str) -> str:
    """Composed, without spaces around it, in small letters. Raises Invalid `invalid_email` for what is none.

    `=?` is none, though RFC 5321 allows it: mail programs read an encoded word there (RFC 2047), and another address.
    """
    address = one_form(text)
    if len(address) > LONGEST or "=?" in address or not _ADDRESS.fullmatch(address):
        raise Invalid("This is no e-mail address.", code="invalid_email", field="email")
    return address
