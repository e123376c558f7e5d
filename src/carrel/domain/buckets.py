"""Buckets that a tenant's source may read: which places are allowed, and the key that opens one."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from carrel.domain.errors import Invalid
from carrel.domain.origins import Bucket
from carrel.domain.secret import Secret

_NAME: Final = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_AMAZONS: Final = re.compile(
    r"(af|ap|ca|cn|eu|il|me|mx|sa|us|us-gov)-(central|north|south|east|west|northeast|northwest|southeast|southwest)-[1-9]",
    re.ASCII,
)
_REGION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}", re.ASCII)
_QUEUE_PATH: Final = re.compile(r"/[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)+", re.ASCII)
_QUEUE_HOST: Final = re.compile(r"sqs\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?", re.ASCII)
_KEY: Final = re.compile(r"([!-9;-~]{3,128}):([!-~]{8,512})", re.ASCII)
_PORTS: Final = {"http": 80, "https": 443}
_LONGEST_PREFIX: Final = 1_000
_MOST_BYTES: Final = 50 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Service:
    """Where requests go, and for which region they are signed."""

    url: str
    region: str


@dataclass(frozen=True, slots=True, eq=False)
class S3Key:
    """A key of a bucket's account, in clear."""

    id: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class S3Rules:
    """What the operator allows: Amazon's own services, and `endpoints` besides. Larger objects are not read."""

    endpoints: frozenset[str] = frozenset()
    most_bytes: int = _MOST_BYTES

    def judge(self, place: Bucket) -> None:
        """Raises Invalid `invalid_bucket`, `invalid_region`, `invalid_prefix`, `invalid_queue`, `endpoint_not_allowed`.

        Each names its field.
        """
        if not _NAME.fullmatch(place.bucket):
            raise _invalid("A bucket has 3 to 63 of a-z, 0-9, '.' and '-'.", code="invalid_bucket", field="bucket")
        if len(place.prefix.encode("utf-8", "surrogatepass")) > _LONGEST_PREFIX or not place.prefix.isprintable():
            raise _invalid(
                "A prefix has at most 1,000 bytes, all of them visible.", code="invalid_prefix", field="prefix"
            )
        self.storage(place)
        self.queue(place)

    def storage(self, place: Bucket) -> Service:
        """Raises Invalid `invalid_region`, `endpoint_not_allowed`."""
        if place.endpoint is None:
            if not _AMAZONS.fullmatch(place.region):
                raise _invalid("That is no region of Amazon's.", code="invalid_region", field="region")
            return Service(f"https://s3.{place.region}.amazonaws.com{_suffix(place.region)}", place.region)
        if not _REGION.fullmatch(place.region):
            raise _invalid("A region has 1 to 40 letters, digits and '-'.", code="invalid_region", field="region")
        endpoint = _place_of(place.endpoint)
        if endpoint is None or endpoint not in self._allowed():
            raise _invalid("The operator has not allowed this endpoint.", code="endpoint_not_allowed", field="endpoint")
        return Service(endpoint, place.region)

    def queue(self, place: Bucket) -> Service | None:
        """None for a bucket that has no queue. Raises Invalid `invalid_queue`, `endpoint_not_allowed`."""
        if place.queue is None:
            return None
        parts = _parts(place.queue)
        if parts is None or not _QUEUE_PATH.fullmatch(parts.path):
            sentence = "Write a queue as https://sqs.REGION.amazonaws.com/ACCOUNT/NAME."
            raise _invalid(sentence, code="invalid_queue", field="queue")
        where = _origin_of(parts)
        amazons = _QUEUE_HOST.fullmatch(parts.hostname or "")
        if amazons and _AMAZONS.fullmatch(amazons[1]) and where == f"https://{parts.hostname}":
            return Service(where, amazons[1])
        if where not in self._allowed():
            raise _invalid(
                "The operator has not allowed this queue's endpoint.", code="endpoint_not_allowed", field="queue"
            )
        return Service(where, place.region)

    def _allowed(self) -> frozenset[str]:
        return frozenset(filter(None, map(_place_of, self.endpoints)))


def s3_key(secret: Secret) -> S3Key:
    """From `ACCESS_KEY_ID:SECRET_ACCESS_KEY`. Raises Invalid `invalid_s3_secret`."""
    found = _KEY.fullmatch(secret.reveal())
    if not found:
        raise _invalid(
            "The secret for S3 is written as ACCESS_KEY_ID:SECRET_ACCESS_KEY.", code="invalid_s3_secret", field="secret"
        )
    return S3Key(found[1], Secret(found[2]))


def same_endpoint(one: str | None, other: str | None) -> bool:
    """Whether a key that is kept for `one` may be used at `other`; None is Amazon's own."""
    if one is None or other is None:
        return one is other
    return _place_of(one) is not None and _place_of(one) == _place_of(other)


def _place_of(url: str) -> str | None:
    """Scheme, host and port in one form; None for what names more than that."""
    parts = _parts(url)
    return _origin_of(parts) if parts and parts.path in {"", "/"} else None


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        port_is_good = parts.port != 0
    except ValueError:
        return None
    plain = url.isascii() and url.isprintable() and not set("@?#\\ ") & set(url)
    return parts if plain and port_is_good and parts.scheme in _PORTS and parts.hostname else None


def _origin_of(parts: SplitResult) -> str:
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = parts.port or _PORTS[parts.scheme]
    return f"{parts.scheme}://{host}{'' if port == _PORTS[parts.scheme] else f':{port}'}"


def _suffix(region: str) -> str:
    return ".cn" if region.startswith("cn-") else ""


def _invalid(sentence: str, *, code: str, field: str) -> Invalid:
    return Invalid(sentence, code=code, field=field)
