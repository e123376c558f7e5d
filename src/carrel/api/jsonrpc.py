"""Refusals of whole requests as MCP clients read them: a JSON-RPC 2.0 error, with the status of every other door."""

from collections.abc import Mapping
from typing import Any, Final

from carrel.domain.errors import Invalid

PATH: Final = "/mcp"
MEDIA_TYPE: Final = "application/json"
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
_PARSE_ERROR: Final = -32700
_INVALID_REQUEST: Final = -32600
_BAD_REQUEST: Final = 400
_MISTAKE: Final = 500
_UNFIT: Final = frozenset({404, 422})  # what MCP says of a resource that is not there
_GARBAGE: Final = frozenset({"malformed_json", "invalid_message"})


def speaks(path: str) -> bool:
    return path == PATH


def status_of(status: int, code: str) -> int:
    """The other doors' own, but for what is no message at all."""
    return _BAD_REQUEST if code in _GARBAGE else status


def error_of(problem: Mapping[str, Any]) -> dict[str, Any]:
    """`data` is the problem as the other doors tell it."""
    number = _number(problem["status"], problem["code"])
    return {"code": number, "message": sentence(problem), "data": problem}


def _number(status: int, code: str) -> int:
    if code == "malformed_json":
        return _PARSE_ERROR
    if status >= _MISTAKE:
        return INTERNAL_ERROR
    return INVALID_PARAMS if status in _UNFIT and code not in _GARBAGE else _INVALID_REQUEST


def sentence(problem: Mapping[str, Any]) -> str:
    """For a person and for a model: the code, what went wrong, and in which fields."""
    wrong = [f"{one['field']}: {one['detail']}" for one in problem["errors"] if one["detail"] != problem["detail"]]
    return " ".join([f"{problem['code']}: {problem['detail']}", *wrong])


def view(problem: Mapping[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": None, "error": error_of(problem)}


def schema(problem: Mapping[str, Any]) -> dict[str, Any]:
    """Of what `view` gives; `problem` is the schema of a problem."""
    number, text = {"type": "integer"}, {"type": "string"}
    error = {"code": number, "message": text, "data": problem}
    return {
        "type": "object",
        "description": "A request that was refused as a whole. `data` is the problem as the other paths tell it.",
        "required": ["jsonrpc", "id", "error"],
        "properties": {
            "jsonrpc": {"const": "2.0"},
            "id": {"type": "null"},
            "error": {"type": "object", "required": list(error), "properties": error},
        },
    }


def demand_message(parsed: Any) -> None:
    """Raises Invalid `invalid_message` for a batch, and for what is neither a request nor a notification."""
    if not (isinstance(parsed, dict) and parsed.get("jsonrpc") == "2.0" and isinstance(parsed.get("method"), str)):
        raise Invalid("Send one JSON-RPC 2.0 request or notification, and no batch.", code="invalid_message")
    identifier, params = parsed.get("id", ""), parsed.get("params", {})
    if isinstance(identifier, bool) or not isinstance(identifier, (str, int)) or not isinstance(params, dict):
        raise Invalid("An id is a string or a whole number, and params are an object.", code="invalid_message")
