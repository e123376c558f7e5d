"""The surface describes itself: completely, without loose ends, and readable without scripts."""

import re
from typing import Any

from fastapi import FastAPI

from api.callers import Caller
from carrel.api.openai_error import PREFIX
from carrel.api.security import PUBLIC

METHODS = {"get", "put", "post", "patch", "delete"}


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    ]


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [found for inner in value.values() for found in references(inner)]
    return [found for inner in value for found in references(inner)] if isinstance(value, list) else []


async def test_the_description_is_public_and_the_same_for_all(nobody: Caller, door: FastAPI) -> None:
    answer = await nobody("GET", "/openapi.json")
    assert answer.status_code == 200
    assert answer.json() == door.openapi()
    assert answer.json()["openapi"].startswith("3.1")


def test_every_reference_leads_somewhere_and_no_schema_is_left_over(door: FastAPI) -> None:
    document = door.openapi()
    schemas = document["components"]["schemas"]
    named = {reference.removeprefix("#/components/schemas/") for reference in references(document)}
    assert named == set(schemas)


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does(door: FastAPI) -> None:
    found = operations(door.openapi())
    names = [operation["operationId"] for _, _, operation in found]
    assert len(names) == len(set(names))
    assert all(operation["description"] and operation["tags"] for _, _, operation in found)


def test_every_guarded_operation_documents_its_credential_and_its_refusals(door: FastAPI) -> None:
    document = door.openapi()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for path, method, operation in operations(document):
        if operation["operationId"] in PUBLIC:
            assert operation["security"] == []
            assert path.startswith("/health") or {"422", "429", "503"} <= set(operation["responses"])
            continue
        assert operation["security"] == [{"bearer": []}]
        statuses = set(operation["responses"])
        assert {"401", "403", "429", "500", "503"} <= statuses
        assert "{" not in path or "404" in statuses
        assert "application/json" not in operation.get("requestBody", {}).get("content", {}) or {
            "413", "415", "400" if path.startswith(PREFIX) else "422"
        } <= statuses, (path, method)  # fmt: skip


def test_every_refusal_is_a_problem(door: FastAPI) -> None:
    """But at OpenAI's door: test_openai_errors.py."""
    for path, method, operation in operations(door.openapi()):
        if path.startswith(PREFIX):
            continue
        for status, response in operation["responses"].items():
            if status >= "400" and path == "/mcp":
                error = {"$ref": "#/components/schemas/JsonRpcError"}
                assert response["content"] == {"application/json": {"schema": error}}
            elif status >= "400":
                schema = response["content"]["application/problem+json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}, (path, method, status)
                assert response["content"].keys() == {"application/problem+json"}


def test_every_parameter_of_a_path_is_described(door: FastAPI) -> None:
    for path, _, operation in operations(door.openapi()):
        described = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
        assert described == set(re.findall(r"{(\w+)}", path))


def test_every_request_refuses_unknown_fields(door: FastAPI) -> None:
    document = door.openapi()
    for _, _, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        for reference in references(content):
            schema = document["components"]["schemas"][reference.rpartition("/")[2]]
            assert schema["additionalProperties"] is False


async def test_the_page_for_people_lists_every_operation_and_has_no_script(nobody: Caller, door: FastAPI) -> None:
    answer = await nobody("GET", "/docs")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    for path, method, _ in operations(door.openapi()):
        assert f"<h3>{method.upper()} {path}</h3>" in answer.text
    assert "<script" not in answer.text
    assert "style=" not in answer.text
    assert re.findall(r'(?:href|src)="([^"]*)"', answer.text) == ["/docs/style.css", "/openapi.json"]
    style = await nobody("GET", "/docs/style.css")
    assert style.headers["Content-Type"] == "text/css; charset=utf-8"


def test_each_event_of_a_stream_is_described(door: FastAPI) -> None:
    content = door.openapi()["paths"]["/v1/chat"]["post"]["responses"]["200"]["content"]
    events = [one["properties"] for one in content["text/event-stream"]["schema"]["oneOf"]]
    assert {event["event"]["const"]: references(event)[0].rpartition("/")[2] for event in events} == {
        "evidence": "EvidenceEvent",
        "delta": "DeltaEvent",
        "done": "ChatAnswer",
        "error": "Problem",
    }
