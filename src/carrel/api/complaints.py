"""Validation errors in our words: a stable code and a sentence that never repeats what was sent."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from pydantic_core import PydanticCustomError

_OURS: Final = "carrel."


class Complaint(NamedTuple):
    code: str
    detail: str


_TYPES: Final = MappingProxyType(
    {
        "string_type": "a string",
        "bool_type": "true or false",
        "bool_parsing": "true or false",
        "list_type": "a list",
        "dict_type": "an object",
        "model_attributes_type": "an object",
        "model_type": "an object",
        "is_instance_of": "of another type",
        "datetime_type": "a time with its zone",
    }
)
_KNOWN: Final = MappingProxyType(
    {
        "missing": Complaint("missing", "This is required."),
        "extra_forbidden": Complaint("unknown_field", "There is no such field."),
        "timezone_aware": Complaint("invalid_time", "Give the time with its zone, as in 2030-01-31T12:00:00Z."),
    }
)
_LIMITS: Final = MappingProxyType(
    {
        "string_too_short": ("too_short", "At least {min_length} characters."),
        "string_too_long": ("too_long", "At most {max_length} characters."),
        "too_short": ("too_short", "At least {min_length} of them."),
        "too_long": ("too_long", "At most {max_length} of them."),
        "greater_than_equal": ("out_of_range", "At least {ge}."),
        "less_than_equal": ("out_of_range", "At most {le}."),
    }
)


_CHOICES: Final = frozenset({"enum", "literal_error"})


def wrong(code: str, detail: str) -> PydanticCustomError:
    """To be raised by our own validators."""
    return PydanticCustomError(f"{_OURS}{code}", detail)


def complaint(error: Mapping[str, Any]) -> Complaint:
    kind = str(error["type"])
    if kind.startswith(_OURS):
        return Complaint(kind.removeprefix(_OURS), str(error["msg"]))
    if kind in _LIMITS:
        code, detail = _LIMITS[kind]
        return Complaint(code, detail.format(**error["ctx"]))
    if kind in _CHOICES:
        return Complaint("invalid_choice", f"This must be {error['ctx']['expected']}.")
    if kind in _TYPES:
        return Complaint("invalid_type", f"This must be {_TYPES[kind]}.")
    if kind.startswith("datetime"):
        return _KNOWN["timezone_aware"]
    return _KNOWN.get(kind, Complaint("invalid", "This is not valid here."))
