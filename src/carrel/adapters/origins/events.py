"""What a message of a bucket's queue says: which objects it names, in each of the forms in which it may come.

S3 itself, S3 by way of SNS, and EventBridge. What is told is not believed, only looked after: events come twice, and
out of order.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

import orjson

from carrel.domain.errors import Invalid
from carrel.domain.origins import Bucket

_TEST: Final = "s3:TestEvent"
_CHANGES: Final = ("ObjectCreated:", "ObjectRemoved:", "ObjectRestore:Completed", "LifecycleExpiration:")
_TITLES: Final = frozenset({"Object Created", "Object Deleted", "Object Restore Completed"})


def keys_of(body: str, place: Bucket) -> tuple[str, ...]:
    """The objects of the place that may have changed, each once. Raises Invalid `malformed_event`."""
    found = _told(_object(body), place)
    return tuple(dict.fromkeys(key for key in found if _is_of(key, place)))


def _is_of(key: str, place: Bucket) -> bool:
    return key.startswith(place.prefix) and not key.endswith("/") and "\x00" not in key


def _told(message: Mapping[str, Any], place: Bucket) -> Iterator[str]:
    if isinstance(message.get("Message"), str) and message.get("Type") == "Notification":
        message = _object(message["Message"])
    if message.get("Event") == _TEST:
        return
    if "detail-type" in message:
        yield from _of_event_bridge(message, place)
        return
    records = message.get("Records")
    if not isinstance(records, list) or not records:
        raise _malformed()
    for record in records:
        yield from _of_record(record, place)


def _of_record(record: object, place: Bucket) -> Iterator[str]:
    """In S3's own form a key is written as in a form of HTML."""
    match record:
        case {"eventName": str(name), "s3": {"bucket": {"name": str(bucket)}, "object": {"key": str(key)}}}:
            if bucket == place.bucket and name.removeprefix("s3:").startswith(_CHANGES):
                yield _decoded(key)
        case _:
            raise _malformed()


def _of_event_bridge(message: Mapping[str, Any], place: Bucket) -> Iterator[str]:
    match message:
        case {"source": str(source), "detail-type": str(title)} if source != "aws.s3" or title not in _TITLES:
            return
        case {"detail": {"bucket": {"name": str(bucket)}, "object": {"key": str(key)}}}:
            if bucket == place.bucket:
                yield key
        case _:
            raise _malformed()


def _decoded(key: str) -> str:
    try:
        return unquote_plus(key, errors="strict")
    except UnicodeDecodeError as error:
        raise _malformed() from error


def _object(text: str) -> Mapping[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _malformed() from error
    if not isinstance(found, dict):
        raise _malformed()
    return found


def _malformed() -> Invalid:
    return Invalid("The message is no event of a bucket.", code="malformed_event")
