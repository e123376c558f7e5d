"""The words of which requests are made: names, ids, numbers and pages, each with its rule."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Generic, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    Strict,
    WithJsonSchema,
)

from carrel.api.complaints import wrong
from carrel.domain.addresses import LONGEST, email_address
from carrel.domain.errors import Invalid
from carrel.domain.library import AttributeValue

Item = TypeVar("Item")

_ID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_UNSEEN: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LONGEST_VALUE: Final = 512


class Asked(BaseModel):
    """A request: what it does not know it refuses."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Listing(BaseModel, Generic[Item]):
    """One page, newest first; `next_cursor` leads to the next one, null means that there is none."""

    items: list[Item]
    next_cursor: str | None


def _trimmed(value: Any) -> Any:
    return unicodedata.normalize("NFC", value).strip() if isinstance(value, str) else value


def _plain(value: str) -> str:
    if any(unicodedata.category(character) in _UNSEEN or character in _BIDI for character in value):
        raise wrong("invalid_name", "No control characters here.")
    return value


def plain_text(value: str) -> str:
    if "\x00" in value:
        raise wrong("invalid_text", "The text holds a character that cannot be read.")
    return value


def _address(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return email_address(value)
    except Invalid as error:
        raise wrong("invalid_email", error.detail) from error


def _identifier(value: Any) -> UUID:
    if isinstance(value, str) and _ID.fullmatch(value):
        return UUID(value)
    raise wrong("invalid_id", "This is not an id.")


def is_identifier(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def whole(value: Any) -> Any:
    """A number that JSON calls an integer: 5 and 5.0, but neither "5" nor true."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise wrong("invalid_type", "This must be a whole number.")
    return int(value)


def whole_or_none(value: Any) -> Any:
    return None if value is None else whole(value)


def digits(value: Any) -> Any:
    """A number in a query: digits, and nothing else that Python would read as a number."""
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise wrong("invalid_type", "This must be a whole number.")
    return value


def scalar(value: Any) -> AttributeValue:
    """A value that an attribute can have."""
    if isinstance(value, str):
        if len(value) > _LONGEST_VALUE:
            raise wrong("too_long", f"At most {_LONGEST_VALUE} characters.")
        return plain_text(value)
    if isinstance(value, (bool, int, float)):
        return value
    raise wrong("invalid_type", "This must be a string, a number, true or false.")


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _choice(value: Any) -> list[AttributeValue]:
    values = [scalar(one) for one in value] if isinstance(value, list) else [scalar(value)]
    if not 0 < len(values) <= _MOST_CHOICES:
        raise wrong("invalid_filter", f"Give one value, or a list of 1 to {_MOST_CHOICES}.")
    return values


def _moment(value: Any) -> Any:
    if isinstance(value, str) and _TIME.fullmatch(value):
        return value
    raise wrong("invalid_time", "Give the time with its zone, as in 2030-01-31T12:00:00Z.")


def _day(value: Any) -> Any:
    if isinstance(value, date) or (isinstance(value, str) and _DAY.fullmatch(value)):
        return value
    raise wrong("invalid_day", "Give the day as in 2030-01-31.")


Day = Annotated[date, BeforeValidator(_day)]
"""A date as it is written in requests; a number of seconds is none."""


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise wrong("invalid_time", "This time is too far away.") from error


_MOST_CHOICES: Final = 50
_SCALAR_SCHEMA: Final[dict[str, Any]] = {"type": ["string", "number", "boolean"]}
_CHOICE_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [_SCALAR_SCHEMA, {"type": "array", "items": _SCALAR_SCHEMA, "minItems": 1, "maxItems": _MOST_CHOICES}]
}

Name = Annotated[
    str,
    Field(min_length=1, max_length=200, description="Trimmed; no control characters."),
    BeforeValidator(_trimmed),
    AfterValidator(_plain),
]
Text = Annotated[str, AfterValidator(plain_text)]
Texts = Annotated[list[Text], BeforeValidator(_listed, json_schema_input_type=Text | list[Text])]
Email = Annotated[str, BeforeValidator(_address), Field(json_schema_extra={"format": "email", "maxLength": LONGEST})]
Identifier = Annotated[UUID, BeforeValidator(_identifier)]
Flag = Annotated[bool, Strict()]
Moment = Annotated[AwareDatetime, BeforeValidator(_moment), AfterValidator(_in_utc)]
Scalar = Annotated[AttributeValue, PlainValidator(scalar), WithJsonSchema(_SCALAR_SCHEMA)]
Choice = Annotated[list[AttributeValue], PlainValidator(_choice), WithJsonSchema(_CHOICE_SCHEMA)]
AttributeName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(plain_text)]
Attributes = Annotated[Mapping[AttributeName, Scalar], Field(max_length=64)]
Identifiers = Annotated[list[Identifier], Field(max_length=1000)]


class Paging(Asked):
    """Which part of a list."""

    limit: Annotated[int, Field(ge=1, le=200), BeforeValidator(digits)] = 50
    cursor: Annotated[str | None, Field(max_length=512, description="`next_cursor` of the page before.")] = None
