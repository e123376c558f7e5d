"""The description of the surface: what FastAPI knows of the routes, completed with credentials and every refusal."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.routing import BaseRoute

from carrel.api import jsonrpc, openai_error
from carrel.api.openai.chat_shapes import ChunkChoice, ChunkDelta, CompletionChunk
from carrel.api.problems import MEDIA_TYPE, Problem, problem
from carrel.api.schemas.progress import DocumentEvent, SummaryEvent
from carrel.api.security import GuardedRoute, permission_of
from carrel.api.streaming import DeltaEvent, EvidenceEvent
from carrel.domain.rights import Permission

_TITLE: Final = "Carrel"
_ABOUT: Final = (
    "Grounded answers with citations from your own documents, for tenants who can never meet. The credential decides "
    "the tenant. Errors are `application/problem+json` with a stable `code`. Requests refuse unknown fields; answers "
    "may gain fields."
)
_MEANINGS: Final[Mapping[int, str]] = {
    400: "No message of JSON-RPC 2.0",
    401: "No credential, or a dead one",
    403: "The credential lacks the scope",
    404: "Foreign, absent, or not visible to this credential",
    406: "The client does not take application/json",
    409: "The state does not allow it",
    413: "Too large",
    415: "A type that is not taken",
    421: "Called under a name that is not known",
    422: "Invalid; `errors` names the fields",
    429: "Too many calls, or beyond a quota; see Retry-After",
    500: "A mistake of ours",
    503: "Temporarily unavailable; see Retry-After",
}
_EVENTS: Final = (
    EvidenceEvent, DeltaEvent, CompletionChunk, ChunkChoice, ChunkDelta, DocumentEvent, SummaryEvent,
)  # fmt: skip
_PLACE: Final = "#/components/schemas/{model}"
_PROBLEM: Final = {"$ref": "#/components/schemas/Problem"}
_OPENAI_ERROR: Final = {"$ref": "#/components/schemas/OpenAIError"}
_RPC_ERROR: Final = {"$ref": "#/components/schemas/JsonRpcError"}
_BEARER: Final = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key `ck_…`, made by `carrel keys create` or `POST /v1/keys`.",
}


def describe(routes: Sequence[BaseRoute], version: str) -> dict[str, Any]:
    document = get_openapi(title=_TITLE, version=version, description=_ABOUT, routes=routes)
    for route in routes:
        if isinstance(route, GuardedRoute) and route.include_in_schema:
            for method in route.methods or ():
                _complete(document["paths"][route.path_format][method.lower()], route)
    components = document["components"]
    components["securitySchemes"] = {"bearer": _BEARER}
    schemas = components["schemas"]
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schemas.update({event.__name__: _schema(event) for event in _EVENTS})
    schemas.update(_problem_schemas())
    schemas.update(_openai_schemas())
    schemas["JsonRpcError"] = jsonrpc.schema(_PROBLEM)
    return document


def _complete(operation: dict[str, Any], route: GuardedRoute) -> None:
    permission = permission_of(route)
    operation["operationId"] = route.name
    operation["security"] = [{"bearer": []}] if permission else []
    if permission:
        operation["x-permission"] = permission.value
    responses: dict[str, Any] = operation["responses"]
    is_openai = openai_error.speaks(route.path_format)
    for status in _refusals(route, operation):
        if is_openai:
            responses.pop(str(status), None)
            responses[str(openai_error.status_of(status))] = {
                "description": _MEANINGS[status].replace("`errors`", "`param`").replace("fields", "field"),
                "content": {openai_error.MEDIA_TYPE: {"schema": _OPENAI_ERROR}},
            }
            continue
        if jsonrpc.speaks(route.path_format):
            responses[str(status)] = {
                "description": _MEANINGS[status],
                "content": {jsonrpc.MEDIA_TYPE: {"schema": _RPC_ERROR}},
            }
            continue
        responses[str(status)] = {
            "description": _MEANINGS[status],
            "content": {MEDIA_TYPE: {"schema": _PROBLEM}},
        }
    for number, response in responses.items():
        if response["description"] == "Successful Response":
            response["description"] = HTTPStatus(int(number)).phrase
    operation["responses"] = dict(sorted(responses.items()))


def _refusals(route: GuardedRoute, operation: Mapping[str, Any]) -> Iterable[int]:
    """What the route declares, and what follows from its shape."""
    declared = {int(status) for status in operation["responses"]} & _MEANINGS.keys()
    permission = permission_of(route)
    guarded = {401, 403, 429, 503} if permission else set()
    chosen = set() if permission in {None, Permission.ACCOUNT, Permission.PLATFORM} else {409}  # `tenant_ambiguous`
    found = {404} if "{" in route.path_format else set()
    asked = {422} if operation.get("parameters") or route.body_field else set()
    body = {413, 415} if route.body_field else set()
    return sorted({500, *declared, *guarded, *chosen, *found, *asked, *body})


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """Without what it is made of, which other answers describe."""
    schema = model.model_json_schema(ref_template=_PLACE)
    schema.pop("$defs", None)
    return schema


def _openai_schemas() -> dict[str, Any]:
    schema = openai_error.OpenAIError.model_json_schema(ref_template=_PLACE)
    return {**schema.pop("$defs", {}), "OpenAIError": schema}


def _problem_schemas() -> dict[str, Any]:
    schema = Problem.model_json_schema(ref_template=_PLACE)
    inner = schema.pop("$defs", {})
    schema["examples"] = [problem(404, "not_found", "There is nothing here that you may see.").model_dump()]
    return {**inner, "Problem": schema}
