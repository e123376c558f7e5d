"""Who may call a route: each declares a permission, checked with live rows before a byte of the body is read."""

import re
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Final

import structlog
from fastapi import Depends, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from carrel.api.body import JsonRequest
from carrel.api.state import application_of
from carrel.domain.access import Principal, require
from carrel.domain.errors import NotFound, Unauthenticated
from carrel.domain.rights import Permission

PUBLIC: Final = frozenset({"live", "ready", "openapi_document", "docs", "docs_style"})

_LONGEST: Final = 4096
_CREDENTIAL: Final = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([\x21-\x7e]+) *")
_ID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


class UnguardedRouteError(Exception):
    """A route declares no permission and is not in the list of public ones: the application must not start."""


@dataclass(frozen=True, slots=True)
class Requires:
    """What a route needs. The route's class has checked it by the time that the route runs.

    A coroutine, as every dependency here: FastAPI runs plain functions in a thread, which costs more than they do.
    """

    permission: Permission

    async def __call__(self, request: Request) -> Principal:
        return principal_of(request)


MayRead = Annotated[Principal, Depends(Requires(Permission.METADATA))]
MaySearch = Annotated[Principal, Depends(Requires(Permission.SEARCH))]
MayAsk = Annotated[Principal, Depends(Requires(Permission.ASK))]
MayIngest = Annotated[Principal, Depends(Requires(Permission.INGEST))]
MayCurate = Annotated[Principal, Depends(Requires(Permission.CURATE))]
MayManage = Annotated[Principal, Depends(Requires(Permission.MANAGE))]
MayManageMembers = Annotated[Principal, Depends(Requires(Permission.MEMBERS))]
MayAudit = Annotated[Principal, Depends(Requires(Permission.AUDIT))]
MayOwn = Annotated[Principal, Depends(Requires(Permission.TENANT))]
MayExport = Annotated[Principal, Depends(Requires(Permission.EXPORT))]
MaySeeAccount = Annotated[Principal, Depends(Requires(Permission.ACCOUNT))]
MayOperate = Annotated[Principal, Depends(Requires(Permission.PLATFORM))]


class GuardedRoute(APIRoute):
    """Credential, then permission, then the ids in the path, and only then the body."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.path_regex = _whole(self.path_regex)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        permission = permission_of(self)
        has_body = self.body_field is not None

        async def guarded(request: Request) -> Response:
            if permission is not None:
                await _admit(request, permission)
            _demand_ids(request)
            return await handle(await JsonRequest.read(request) if has_body else request)

        return guarded


def _whole(pattern: re.Pattern[str]) -> re.Pattern[str]:
    """The framework's pattern overlooks a line break at the end of a path, and none may stand in a key."""
    return re.compile(pattern.pattern.removesuffix("$") + r"\Z", pattern.flags | re.DOTALL)


def permission_of(route: APIRoute) -> Permission | None:
    return next((requires.permission for requires in _declared(route.dependant)), None)


def demand_guards(routes: Iterable[BaseRoute]) -> None:
    """Raises UnguardedRouteError for any route that could be called without a declared permission."""
    for route in routes:
        guarded = isinstance(route, GuardedRoute) and (permission_of(route) is not None or route.name in PUBLIC)
        if not guarded:
            raise UnguardedRouteError(f"{route!r} declares no permission and is not public.")


def principal_of(request: Request) -> Principal:
    principal = request.state.principal
    assert isinstance(principal, Principal)
    return principal


def _declared(dependant: Dependant) -> Iterable[Requires]:
    for needed in dependant.dependencies:
        if isinstance(needed.call, Requires):
            yield needed.call
        yield from _declared(needed)


async def _admit(request: Request, permission: Permission) -> None:
    principal = await application_of(request).principals.authenticate(_credential(request))
    structlog.contextvars.bind_contextvars(tenant=_text(principal.tenant), credential=_text(principal.credential))
    require(principal, permission)
    request.state.principal = principal


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _credential(request: Request) -> str:
    """Raises Unauthenticated unless there is exactly one well-formed bearer credential."""
    headers = [value for name, value in request.scope["headers"] if name == b"authorization"]
    if not headers:
        raise Unauthenticated("Send a key as `Authorization: Bearer …`.")
    if len(headers) == 1 and len(headers[0]) <= _LONGEST and (found := _CREDENTIAL.fullmatch(headers[0])):
        return found[1].decode("ascii")
    raise Unauthenticated("Send one key as `Authorization: Bearer …`.", code="malformed_credential")


def _demand_ids(request: Request) -> None:
    """What cannot be an id is the id of nothing. Raises NotFound."""
    for name, value in request.path_params.items():
        if name.endswith("_id") and not _ID.fullmatch(str(value)):
            raise NotFound
