"""Refusals in the words of OpenAI's API, for every path below /openai: its clients read `error` and nothing else."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from pydantic import BaseModel

PREFIX: Final = "/openai"
MEDIA_TYPE: Final = "application/json"

# What those clients tell apart by name; every other code is Carrel's own.
_CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "rate_limited": "rate_limit_exceeded",
        "quota_exceeded": "insufficient_quota",
    }
)
_TYPES: Final = MappingProxyType({401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"})
_FINAL: Final = MappingProxyType({"x-should-retry": "false"})


class ErrorView(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    """What went wrong. `code` is stable, `param` the field that breaks a rule, `message` for a person."""

    error: ErrorView


def speaks(path: str) -> bool:
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def status_of(status: int) -> int:
    """What breaks a rule is 400 there."""
    return 400 if status == HTTPStatus.UNPROCESSABLE_ENTITY else status


def view(status: int, code: str, message: str, param: str | None) -> OpenAIError:
    kind = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _TYPES.get(status, "invalid_request_error")
    known = "invalid_api_key" if status == HTTPStatus.UNAUTHORIZED else _CODES.get(code, code)
    return OpenAIError(
        error=ErrorView(message=message, type=known if known == "insufficient_quota" else kind, param=param, code=known)
    )


def headers_of(status: int, code: str) -> Mapping[str, str]:
    """Its clients try again by themselves, unless they are told that it is of no use."""
    return _FINAL if status == HTTPStatus.CONFLICT or code == "quota_exceeded" else {}
