"""The description of the surface: what FastAPI knows of the routes, completed with credentials and every refusal."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.routing import BaseRoute

from carrel.api.problems import MEDIA_TYPE, Problem, problem
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
    401: "No credential, or a dead one",
    403: "The credential lacks the scope",
    404: "Foreign, absent, or not visible to this credential",
    409: "The state does not allow it",
    413: "Too large",
    415: "A type that is not taken",
    422: "Invalid; `errors` names the fields",
    429: "Too many calls, or beyond a quota; see Retry-After",
    500: "A mistake of ours",
    503: "Temporarily unavailable; see Retry-After",
}
_PLACE: Final = "#/components/schemas/{model}"
_PROBLEM: Final = {"$ref": "#/components/schemas/Problem"}
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
    schemas.update({event.__name__: _schema(event) for event in (EvidenceEvent, DeltaEvent)})
    schemas.update(_problem_schemas())
    return document


def _complete(operation: dict[str, Any], route: GuardedRoute) -> None:
    permission = permission_of(route)
    operation["operationId"] = route.name
    operation["security"] = [{"bearer": []}] if permission else []
    if permission:
        operation["x-permission"] = permission.value
    responses: dict[str, Any] = operation["responses"]
    for status in _refusals(route, operation):
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


def _problem_schemas() -> dict[str, Any]:
    schema = Problem.model_json_schema(ref_template=_PLACE)
    inner = schema.pop("$defs", {})
    schema["examples"] = [problem(404, "not_found", "There is nothing here that you may see.").model_dump()]
    return {**inner, "Problem": schema}
