"""Credentials at providers of models: what a tenant keeps of them, and what of them is shown."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from carrel.domain.errors import Invalid
from carrel.domain.ids import CredentialId
from carrel.domain.secret import Secret

S3: Final = "s3"  # not of models: a key of buckets, as domain/buckets.py reads it

_PROVIDER: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_ADDRESS: Final = re.compile(r"[\x21-\x7e]{1,2000}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ProviderCredential:
    """What is shown of a credential: everything but the secret."""

    id: CredentialId
    name: str
    provider: str
    base_url: str | None
    last_four: str
    created_at: datetime
    rotated_at: datetime


@dataclass(frozen=True, slots=True, eq=False)
class ProviderAccess:
    """What a provider is called with: address and secret belong together, so a secret goes nowhere else."""

    provider: str
    base_url: str | None
    secret: Secret


def judged_provider(name: str) -> str:
    """Raises Invalid `invalid_provider`."""
    if not _PROVIDER.fullmatch(name):
        raise Invalid(
            "A provider has 1 to 63 of a-z, 0-9, '.', '_' and '-'.", code="invalid_provider", field="provider"
        )
    return name


def judged_address(url: str | None) -> str | None:
    """An address as it is kept; whether it may be reached is judged when it is. Raises Invalid `invalid_url`."""
    if url is not None and not _is_plain_address(url):
        raise Invalid(
            "Write an address as https://host/path, without user, query and fragment.",
            code="invalid_url",
            field="base_url",
        )
    return url


def _is_plain_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port_is_good = parts.port != 0
    except ValueError:
        return False
    plain = "@" not in parts.netloc and not set("?#\\") & set(url) and port_is_good
    return bool(_ADDRESS.fullmatch(url)) and parts.scheme in {"https", "http"} and bool(parts.hostname) and plain
