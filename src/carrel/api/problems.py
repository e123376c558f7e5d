"""The tree of refusals as `application/problem+json`, and whatever else can go wrong before a route answers."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from carrel.api import jsonrpc, openai_error
from carrel.api.complaints import complaint
from carrel.domain.errors import (
    Conflict,
    Denied,
    Invalid,
    NotFound,
    Refusal,
    Throttled,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unreadable,
    Unsupported,
)
from carrel.library.sources import Replayed

MEDIA_TYPE: Final = "application/problem+json"
STATUS: Final = MappingProxyType(
    {
        Invalid: 422,
        TooLarge: 413,
        Unsupported: 415,
        Unauthenticated: 401,
        Denied: 403,
        NotFound: 404,
        Conflict: 409,
        Throttled: 429,
        Unavailable: 503,
        Unreadable: 422,
    }
)
_TITLES: Final = MappingProxyType(
    {
        401: "No valid credential",
        403: "Not allowed",
        404: "Not found",
        405: "Method not allowed",
        409: "Conflict",
        413: "Too large",
        415: "Unsupported type",
        422: "Invalid request",
        429: "Too many requests",
        500: "Internal error",
        503: "Temporarily unavailable",
    }
)
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_MOST_ERRORS: Final = 100  # a body of 1 MB has room for a hundred thousand
_HEADERS: Final = MappingProxyType(
    {
        401: {"WWW-Authenticate": "Bearer"},
        429: {"Retry-After": "10"},
        503: {"Retry-After": "2"},
    }
)


class FieldError(BaseModel):
    """One field that breaks a rule; `field` is the path to it, as in `chunk.size`."""

    field: str
    code: str
    detail: str


class Problem(BaseModel):
    """What went wrong (RFC 9457). `code` is stable; `detail` is for a person."""

    type: str = Field(description="`urn:carrel:problem:` and the code.")
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError] = Field(default=[], description="The fields that break a rule, if that is the reason.")


def problem(status: int, code: str, detail: str, errors: Sequence[FieldError] = ()) -> Problem:
    return Problem(
        type=f"urn:carrel:problem:{code}",
        title=_TITLES.get(status) or HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        errors=list(errors),
    )


def internal() -> Problem:
    """For a mistake of ours: the reason stands in the log, not in the answer."""
    return problem(500, "internal_error", "Something went wrong here. The request id finds it in the log.")


def problem_of(refusal: Refusal) -> Problem:
    """The refusal for an outsider; one of no known kind is a mistake of ours."""
    status = next((STATUS[kind] for kind in type(refusal).__mro__ if kind in STATUS), None)
    if status is None:
        return internal()
    field = refusal.field if isinstance(refusal, Invalid) else None
    errors = [FieldError(field=field, code=refusal.code, detail=refusal.detail)] if field else []
    return problem(status, refusal.code, refusal.detail, errors)


def answer(found: Problem, path: str, headers: Mapping[str, str] = _NOTHING) -> JSONResponse:
    """As the clients of that path read it."""
    told = {**_HEADERS.get(found.status, {}), **headers}
    if jsonrpc.speaks(path):
        return JSONResponse(jsonrpc.view(found.model_dump()), jsonrpc.status_of(found.status, found.code), told)
    if not openai_error.speaks(path):
        return JSONResponse(found.model_dump(), status_code=found.status, headers=told, media_type=MEDIA_TYPE)
    said, param = _said(found)
    return JSONResponse(
        openai_error.view(found.status, found.code, said, param).model_dump(),
        status_code=openai_error.status_of(found.status),
        headers={**told, **openai_error.headers_of(found.status, found.code)},
    )


def _said(found: Problem) -> tuple[str, str | None]:
    """One sentence, and the field that it is about: there is room for one."""
    if not found.errors:
        return found.detail, None
    first = found.errors[0]
    return (first.detail if found.code == "invalid" else found.detail), first.field


def handle(app: FastAPI) -> None:
    """Every refusal, and every complaint of the framework, becomes a problem."""
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _unrouted)
    app.add_exception_handler(Replayed, _replayed)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    """What stands where ids do and is a path of its own, as `/v1/chats/export`, takes its own methods, whoever asks."""
    assert isinstance(error, Refusal)
    if not isinstance(error, Throttled) and _is_beside_ids(request):
        return _no_such_method(request)
    return answer(problem_of(error), request.scope["path"], patience_of(error))


def patience_of(refusal: Refusal) -> Mapping[str, str]:
    return {"Retry-After": str(max(1, math.ceil(refusal.wait)))} if isinstance(refusal, Throttled) else {}


async def _malformed(request: Request, error: Exception) -> JSONResponse:
    """Ids in a path that are none look like ids of nothing; all else names its field and never repeats its value."""
    assert isinstance(error, RequestValidationError)
    found, path = error.errors(), request.scope["path"]
    if any(one["loc"][0] == "path" for one in found) or _is_beside_ids(request):
        return await _refused(request, NotFound())
    return answer(unfitting(found, skip=1), path)


def unfitting(found: Sequence[Mapping[str, Any]], *, skip: int) -> Problem:
    """What a model complained of; `skip` is how many steps lead to what was asked itself."""
    errors = [_field_error(one, skip) for one in found[:_MOST_ERRORS]]
    return problem(422, "invalid", "The request breaks a rule; `errors` names the fields.", errors)


def _field_error(error: Mapping[str, Any], skip: int) -> FieldError:
    place, said = error["loc"][skip:], complaint(error)
    field = ".".join(str(step) for step in place)[:200] or str(error["loc"][0])
    return FieldError(field=field, code=said.code, detail=said.detail)


async def _unrouted(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    path = request.scope["path"]
    if error.status_code == HTTPStatus.NOT_FOUND:
        return answer(problem_of(NotFound()), path)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return _no_such_method(request)
    return answer(problem(error.status_code, "invalid", "This request cannot be answered."), path)


def _no_such_method(request: Request) -> JSONResponse:
    found = problem(405, "method_not_allowed", "This path does not take this method.")
    return answer(found, request.scope["path"], {"Allow": ", ".join(_methods(request))})


def _methods(request: Request) -> list[str]:
    """All that the path takes; the framework would name those of one route."""
    path, routes = request.scope["path"], request.app.routes
    taking = _fixed(request) or [route for route in routes if route.path_regex.match(path)]
    found = {method for route in taking for method in route.methods}
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


def _is_beside_ids(request: Request) -> bool:
    fixed = _fixed(request)
    return bool(fixed) and not any(request.method in route.methods for route in fixed)


def _fixed(request: Request) -> list[Any]:
    """The routes that have exactly this path, without an id in it."""
    return [route for route in request.app.routes if route.path == request.scope["path"]]


async def _replayed(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Replayed)
    return JSONResponse(error.answer.body, error.answer.status, headers={"Idempotency-Replayed": "true"})
