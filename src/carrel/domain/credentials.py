"""API keys: `ck_<id>_<secret>_<crc>`, shown once, kept as an HMAC with a pepper.

The id finds the row, the secret proves the right, the check sum lets a leak scanner (and us) dismiss a mistyped key
without asking the database.
"""

import hmac
import secrets
import uuid
import zlib
from dataclasses import dataclass
from hashlib import sha256

from carrel.domain.errors import Unauthenticated
from carrel.domain.ids import KeyId, new_id

_SECRET_BYTES = 32
_PARTS = 4
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key in clear text; it exists only while it is made and while it is checked."""

    id: KeyId
    secret: str

    def __repr__(self) -> str:
        return f"ApiKey(id={self.id})"

    def reveal(self) -> str:
        body = f"ck_{self.id.hex}_{self.secret}"
        return f"{body}_{_check(body)}"

    def mac(self, pepper: bytes) -> bytes:
        """What the database keeps: HMAC-SHA256 over id and secret."""
        return hmac.digest(pepper, f"{self.id.hex}:{self.secret}".encode(), sha256)

    def proves(self, mac: bytes, pepper: bytes) -> bool:
        return hmac.compare_digest(self.mac(pepper), mac)


def new_api_key() -> ApiKey:
    return ApiKey(KeyId(new_id()), secrets.token_hex(_SECRET_BYTES))


def parse_api_key(text: str) -> ApiKey:
    """Raises Unauthenticated when the text cannot be one of our keys."""
    parts = text.split("_") if len(text) <= _LONGEST and text.isascii() else []
    if len(parts) != _PARTS or parts[0] != "ck" or _check(text.rpartition("_")[0]) != parts[3]:
        raise Unauthenticated("This is not a key of this platform.", code="malformed_key")
    try:
        return ApiKey(KeyId(uuid.UUID(hex=parts[1])), parts[2])
    except ValueError as error:
        raise Unauthenticated("This is not a key of this platform.", code="malformed_key") from error


def _check(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"
