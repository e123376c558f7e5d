"""Logins: what somebody proved elsewhere."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Login:
    """What a proven token of another issuer says. `email` only if the issuer has verified it; `name` for people."""

    issuer: str
    subject: str
    name: str
    email: str | None
    groups: frozenset[str]
    issued_at: datetime
    expires_at: datetime
