"""Forms (`application/x-www-form-urlencoded`), bounded, each field once and no unknown one."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from carrel.domain.errors import Invalid, TooLarge, Unsupported

MEDIA_TYPE: Final = "application/x-www-form-urlencoded"
MOST_BYTES: Final = 16 * 1024
_MOST_FIELDS: Final = 32

Form = TypeVar("Form", bound=BaseModel)


async def read(request: Request, form: type[Form]) -> Form:
    """Raises Unsupported, TooLarge, Invalid `malformed_form`, RequestValidationError."""
    fields = _parse(await _bounded(request))
    try:
        return form.model_validate(fields)
    except ValidationError as error:
        found = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
        raise RequestValidationError(found) from error


def described(form: type[BaseModel]) -> dict[str, Any]:
    """The body, for the description of the surface."""
    return {"requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": form.model_json_schema()}}}}


async def _bounded(request: Request) -> bytes:
    spoken = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if spoken != MEDIA_TYPE:
        raise Unsupported(f"Send the body as {MEDIA_TYPE}.")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise TooLarge(f"A form has at most {MOST_BYTES:,} bytes.")
    return bytes(body)


def _parse(body: bytes) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError as error:
        raise _malformed() from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _malformed()
    return fields


def _malformed() -> Invalid:
    return Invalid("The body is no form in UTF-8 with each field once.", code="malformed_form", field="body")
