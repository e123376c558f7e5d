"""The Model Context Protocol over streamable HTTP: POST only, each request alone, each answer one piece of JSON."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response

from carrel.api.body import JsonRequest
from carrel.api.jsonrpc import PATH, demand_message
from carrel.api.mcp.door import McpDoor
from carrel.api.mcp.place import misplaced
from carrel.api.problems import answer
from carrel.api.security import GuardedRoute, Requires
from carrel.api.state import application_of
from carrel.domain.access import Principal
from carrel.domain.rights import Permission


class PlacedRoute(GuardedRoute):
    """Before the credential it is judged whether this server is meant, and whether a page from there may call it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def placed(request: Request) -> Response:
            wrong = misplaced(request, application_of(request).hosts)
            return await handle(request) if wrong is None else answer(wrong, request.scope["path"])

        return placed


router = APIRouter(route_class=PlacedRoute, tags=["mcp"])

_MESSAGE: Final = {
    "type": "object",
    "required": ["jsonrpc", "method"],
    "properties": {
        "jsonrpc": {"const": "2.0"},
        "id": {"type": ["string", "integer"]},
        "method": {"type": "string"},
        "params": {"type": "object"},
    },
}


@router.post(
    PATH,
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _MESSAGE}}}},
    responses={
        200: {"content": {"application/json": {"schema": {"type": "object"}}}},
        202: {"description": "A notification: there is nothing to answer"},
        **{status: {} for status in (400, 404, 406, 413, 415, 421, 422)},
    },
)
async def mcp(
    request: Request, _principal: Annotated[Principal, Depends(Requires(Permission.METADATA, somewhere=True))]
) -> Response:
    """One message of the Model Context Protocol. `tools/list` and `resources/list` tell what there is."""
    read = await JsonRequest.read(request)
    demand_message(await read.json())
    door = request.app.state.mcp
    assert isinstance(door, McpDoor)
    return await door.passed(await read.body())
