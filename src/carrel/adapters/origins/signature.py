"""Signing a request without a body for S3: Amazon's Signature Version 4, with the tenant's key and nothing else.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

import hmac
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Final
from urllib.parse import quote, urlsplit

from carrel.domain.buckets import S3Key

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_NOTHING: Final = sha256(b"").hexdigest()
_UNRESERVED: Final = "-._~"


def path_of(bucket: str, key: str = "") -> str:
    """As it stands in the request and in what is signed."""
    return f"/{bucket}" + (f"/{quote(key, safe=f'/{_UNRESERVED}')}" if key else "")


def query_of(parameters: Mapping[str, str]) -> str:
    """In the order and form in which it is signed."""
    pairs = sorted((_quoted(name), _quoted(value)) for name, value in parameters.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def signed(url: str, headers: Mapping[str, str], *, key: S3Key, region: str, now: datetime) -> dict[str, str]:
    """The headers with what proves the key. `now` is in UTC. The address is written by `path_of` and `query_of`."""
    parts, moment = urlsplit(url), now.strftime("%Y%m%dT%H%M%SZ")
    sent = {name.lower(): value.strip() for name, value in headers.items()}
    sent |= {"host": parts.netloc, "x-amz-date": moment, "x-amz-content-sha256": _NOTHING}
    names = ";".join(sorted(sent))
    lines = "".join(f"{name}:{sent[name]}\n" for name in sorted(sent))
    request = f"GET\n{parts.path}\n{parts.query}\n{lines}\n{names}\n{_NOTHING}"
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    text = f"{_ALGORITHM}\n{moment}\n{scope}\n{sha256(request.encode()).hexdigest()}"
    proof = hmac.digest(_derived(key, scope), text.encode(), sha256).hex()
    sent["authorization"] = f"{_ALGORITHM} Credential={key.id}/{scope}, SignedHeaders={names}, Signature={proof}"
    return sent


def _derived(key: S3Key, scope: str) -> bytes:
    derived = b"AWS4" + key.secret.reveal().encode()
    for part in scope.split("/"):
        derived = hmac.digest(derived, part.encode(), sha256)
    return derived


def _quoted(text: str) -> str:
    return quote(text, safe=_UNRESERVED)
