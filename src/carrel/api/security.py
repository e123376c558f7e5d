"""Who may call a route: each declares a permission, checked with live rows before a byte of the body is read."""

import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Final

import structlog
from fastapi import Depends, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from carrel.api.body import JsonRequest
from carrel.api.limits import count
from carrel.api.state import application_of
from carrel.domain.access import Principal, require, require_somewhere
from carrel.domain.errors import Denied, NotFound, Unauthenticated
from carrel.domain.limits import class_of
from carrel.domain.rights import Permission
from carrel.tenancy.refusals import Refused

PUBLIC: Final = frozenset({"live", "ready", "openapi_document", "docs", "docs_style"}) | {
    "register",
    "resend_code",
    "verify",
    "get_token",
    "refresh_token",
    "sign_out",
    "forgot_password",
    "reset_password",
    "accept_invitation",
}

_LONGEST: Final = 8192 + 64  # the longest token of another issuer, and the word before it
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
    somewhere: bool = False  # in any tenant of a person who has not chosen one

    async def __call__(self, request: Request) -> Principal:
        return principal_of(request)

    def demand(self, principal: Principal) -> None:
        """Raises Denied, Conflict `tenant_ambiguous`."""
        (require_somewhere if self.somewhere else require)(principal, self.permission)


MayRead = Annotated[Principal, Depends(Requires(Permission.METADATA))]
MaySearch = Annotated[Principal, Depends(Requires(Permission.SEARCH))]
MaySearchAcross = Annotated[Principal, Depends(Requires(Permission.SEARCH, somewhere=True))]
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
        requires = next(_declared(self.dependant), None)
        has_body = self.body_field is not None

        async def guarded(request: Request) -> Response:
            try:
                if requires is not None:
                    await _admit(request, requires)
                _demand_ids(request)
                return await handle(await JsonRequest.read(request) if has_body else request)
            except Denied as denied:
                if requires is not None:
                    await _tell(request, denied)
                raise

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


def _declared(dependant: Dependant) -> Iterator[Requires]:
    for needed in dependant.dependencies:
        if isinstance(needed.call, Requires):
            yield needed.call
        yield from _declared(needed)


async def _admit(request: Request, requires: Requires) -> None:
    principal = await application_of(request).principals.authenticate(_credential(request))
    structlog.contextvars.bind_contextvars(tenant=_text(principal.tenant), credential=_text(principal.credential))
    request.state.principal, request.state.permission = principal, requires.permission
    requires.demand(principal)
    await count(request, principal, requires.permission)


@asynccontextmanager
async def admitted(request: Request, requires: Requires) -> AsyncIterator[Principal]:
    """For a route that does several things: what its class does for one that does one.

    The request is counted already, so what is limited together with it is not counted again. Raises Denied, Conflict
    `tenant_ambiguous`, Throttled; what is denied inside is told to the tenant's log too.
    """
    principal, came_for = principal_of(request), request.state.permission
    request.state.permission = requires.permission
    try:
        requires.demand(principal)
        if class_of(requires.permission) is not class_of(came_for):
            await count(request, principal, requires.permission)
        yield principal
    except Denied as denied:
        await _tell(request, denied)
        raise


async def _tell(request: Request, denied: Denied) -> None:
    """A tenant's log says who was refused what in it; who is refused before being anybody is in none."""
    principal: Principal | None = getattr(request.state, "principal", None)
    if principal is not None and principal.tenant is not None:
        permission = request.state.permission.value
        refused = Refused(principal.tenant, principal.user, principal.credential, denied.code, permission)
        await application_of(request).refusals.note(refused)


async def perhaps_principal(request: Request) -> Principal | None:
    """For a public route that a credential may help. Raises Unauthenticated for one that is not good."""
    if "authorization" not in request.headers:
        return None
    return await application_of(request).principals.authenticate(_credential(request))


async def still_admitted(request: Request) -> Principal:
    """For an answer that takes long: who asks, as of now. Raises what the same request would be refused with now."""
    principal = await application_of(request).principals.authenticate(_credential(request))
    require(principal, request.state.permission)
    return principal


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
