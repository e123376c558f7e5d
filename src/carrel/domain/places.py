"""A source's place as somebody writes it down: judged field by field, and never with a secret in it."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, assert_never
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

from carrel.domain.errors import Invalid
from carrel.domain.ids import CredentialId
from carrel.domain.library import SourceKind
from carrel.domain.origins import Bucket, Folder, Place, Site

Fields = Mapping[str, Any]

SHORTEST_SCHEDULE: Final = 60
LONGEST_SCHEDULE: Final = 366 * 86_400
MOST_ADDRESSES: Final = 100
MOST_DEPTH: Final = 5
MOST_PAGES: Final = 10_000
LONGEST_ADDRESS: Final = 1_000
LONGEST_PATH: Final = 1_000
_LONGEST_HOST: Final = 300  # a longer one is no host that answers
_SITE: Final = frozenset({"urls", "depth", "pages"})
_FIELDS: Final[Mapping[SourceKind, frozenset[str]]] = {
    SourceKind.URL: _SITE,
    SourceKind.SITEMAP: _SITE - {"depth"},
    SourceKind.S3: frozenset({"bucket", "prefix", "region", "endpoint", "credential_id", "queue"}),
    SourceKind.FOLDER: frozenset({"path"}),
}
_NEEDED: Final[Mapping[SourceKind, str]] = {
    SourceKind.URL: "urls",
    SourceKind.SITEMAP: "urls",
    SourceKind.S3: "bucket",
    SourceKind.FOLDER: "path",
}
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_REGION: Final = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)


def place_of(kind: SourceKind, fields: Fields | None) -> Place | None:
    """The place of a source of this kind; None for a kind that has none.

    Raises Invalid, naming the field: `invalid_place`, `missing`, `unknown_field`, `out_of_range`, `invalid_url`.
    """
    if kind not in _FIELDS:
        if fields is not None:
            raise Invalid("Documents are brought to a source of this kind: it has no place.", **_bad("place"))
        return None
    given = {name: value for name, value in (fields or {}).items() if value is not None}
    for name in sorted(given.keys() - _FIELDS[kind]):
        raise Invalid("A source of this kind has no such field.", code="unknown_field", field=f"place.{name}")
    if not given.get(_NEEDED[kind]):
        raise Invalid("This is required.", code="missing", field=f"place.{_NEEDED[kind]}")
    return _made(kind, given)


def _made(kind: SourceKind, given: Fields) -> Place:
    match kind:
        case SourceKind.S3:
            return _bucket(given)
        case SourceKind.FOLDER:
            return Folder(_path(given["path"]))
        case _:
            return _site(given, sitemap=kind is SourceKind.SITEMAP)


def fields_of(place: Place) -> dict[str, Any]:
    """What `place_of` makes the same place of."""
    match place:
        case Site():
            fields: dict[str, Any] = {"urls": list(place.urls), "pages": place.pages}
            return fields if place.sitemap else {**fields, "depth": place.depth}
        case Bucket():
            return {
                "bucket": place.bucket,
                "prefix": place.prefix,
                "region": place.region,
                "endpoint": place.endpoint,
                "credential_id": place.credential and str(place.credential),
                "queue": place.queue,
            }
        case Folder():
            return {"path": place.path}
        case _:
            assert_never(place)


def outline(place: Place) -> dict[str, Any]:
    """What may be told of a place where no secret may stand: neither path nor query of an address, nor a prefix."""
    match place:
        case Site():
            return {"hosts": sorted({origin_of(url)[:_LONGEST_HOST] for url in place.urls})}
        case Bucket():
            told = {
                "bucket": place.bucket,
                "endpoint": place.endpoint and origin_of(place.endpoint),
                "credential_id": place.credential and str(place.credential),
                "queue": place.queue and origin_of(place.queue),
            }
            return {name: value for name, value in told.items() if value is not None}
        case Folder():
            return {"folder": place.path}
        case _:
            assert_never(place)


def judge_schedule(kind: SourceKind, schedule: int | None) -> None:
    """Raises Invalid `invalid_schedule`, `out_of_range`."""
    if schedule is None:
        return
    if kind not in _FIELDS:
        raise Invalid("A source of this kind does not refresh itself.", code="invalid_schedule", field="schedule")
    if not SHORTEST_SCHEDULE <= schedule <= LONGEST_SCHEDULE:
        raise Invalid(
            f"Between {SHORTEST_SCHEDULE} and {LONGEST_SCHEDULE} seconds.", code="out_of_range", field="schedule"
        )


def origin_of(url: str) -> str:
    """Scheme, host and port: what an operator allows."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


def _site(given: Fields, *, sitemap: bool) -> Site:
    urls = _strings(given["urls"], "place.urls")
    if len(urls) > MOST_ADDRESSES:
        raise Invalid(f"At most {MOST_ADDRESSES} addresses.", code="too_long", field="place.urls")
    for number, url in enumerate(urls):
        _address(url, f"place.urls.{number}")
    depth = _number(given.get("depth", 0), 0, MOST_DEPTH, "place.depth")
    pages = _number(given.get("pages", 1_000), 1, MOST_PAGES, "place.pages")
    return Site(tuple(dict.fromkeys(urls)), sitemap, depth, pages)


def _bucket(given: Fields) -> Bucket:
    bucket, prefix = _string(given["bucket"], "place.bucket"), _string(given.get("prefix", ""), "place.prefix")
    region = _string(given.get("region", "us-east-1"), "place.region")
    if not _BUCKET.fullmatch(bucket):
        raise Invalid("A bucket's name has 3 to 63 of a-z, 0-9, '.' and '-'.", **_bad("place.bucket"))
    if not _REGION.fullmatch(region):
        raise Invalid("Write the region as in eu-central-1.", **_bad("place.region"))
    if len(prefix.encode()) > LONGEST_PATH or _hides_something(prefix):
        raise Invalid("A prefix has at most 1000 bytes and no control characters.", **_bad("place.prefix"))
    for name in ("endpoint", "queue"):
        if name in given:
            _address(_string(given[name], f"place.{name}"), f"place.{name}")
    endpoint = given.get("endpoint")
    if endpoint is not None and urlsplit(endpoint).path not in {"", "/"}:
        raise Invalid("An endpoint is an address without a path.", code="invalid_url", field="place.endpoint")
    return Bucket(bucket, prefix, region, endpoint, _credential(given.get("credential_id")), given.get("queue"))


def _credential(value: object) -> CredentialId | None:
    try:
        return None if value is None else CredentialId(UUID(str(value)))
    except ValueError as error:
        raise Invalid("This is not an id.", code="invalid_id", field="place.credential_id") from error


def _path(value: object) -> str:
    path = _string(value, "place.path")
    if not path.startswith("/") or ".." in path.split("/") or _hides_something(path) or len(path) > LONGEST_PATH:
        raise Invalid("Write the whole path of the folder, as in /srv/handbook.", **_bad("place.path"))
    return path


def _address(url: str, field: str) -> None:
    parts = _parts(url)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise Invalid("Write an address as https://host/path, without a user.", code="invalid_url", field=field)
    if parts.fragment:
        raise Invalid("An address has no '#' here.", code="invalid_url", field=field)


def _parts(url: str) -> SplitResult | None:
    if not _VISIBLE.fullmatch(url) or len(url) > LONGEST_ADDRESS:
        return None
    with suppress(ValueError):
        parts = urlsplit(url)
        return parts if parts.port != 0 else None
    return None


def _strings(value: object, field: str) -> list[str]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise Invalid("This must be a list.", code="invalid_type", field=field)
    return [_string(one, f"{field}.{number}") for number, one in enumerate(value)]


def _string(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise Invalid("This must be a string.", code="invalid_type", field=field)
    return value


def _number(value: object, least: int, most: int, field: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Invalid("This must be a whole number.", code="invalid_type", field=field)
    if not least <= value <= most:
        raise Invalid(f"Between {least} and {most}.", code="out_of_range", field=field)
    return value


def _hides_something(text: str) -> bool:
    return any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in text)


def _bad(field: str) -> dict[str, str]:
    return {"code": "invalid_place", "field": field}
