"""The description of the surface as a page: every operation, without any script."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid; text-transform: capitalize; }
article { margin: 1.5rem 0; }
h3 { font: 600 1rem ui-monospace, monospace; margin: 0; }
p { margin: .25rem 0; white-space: pre-line; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .5rem 0 0 1rem; }
dt { font-family: ui-monospace, monospace; }
dd { margin: 0; }
"""
_HEAD: Final = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Carrel: the HTTP surface</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<link rel="stylesheet" href="/docs/style.css"></head><body>'
)


def render(document: Mapping[str, Any]) -> str:
    return _HEAD + "".join(_body(document)) + "</body></html>"


def _body(document: Mapping[str, Any]) -> Iterator[str]:
    info = document["info"]
    yield f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])}</p>"
    yield '<p>For programs: <a href="/openapi.json">openapi.json</a>.</p>'
    for tag, operations in _by_tag(document).items():
        yield f"<h2>{escape(tag)}</h2>"
        for method, path, operation in operations:
            yield from _operation(method, path, operation)


def _by_tag(document: Mapping[str, Any]) -> dict[str, list[tuple[str, str, Mapping[str, Any]]]]:
    found: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found.setdefault(operation["tags"][-1], []).append((method.upper(), path, operation))
    return found


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    needs = operation.get("x-permission", "nothing")
    yield f"<article><h3>{method} {escape(path)}</h3><p>{escape(operation.get('description', ''))}</p>"
    yield f"<p>Needs: {escape(needs)}.</p><dl>"
    for parameter in operation.get("parameters", []):
        yield f"<dt>{escape(parameter['name'])}</dt><dd>{escape(_said(parameter))}</dd>"
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<dt>body</dt><dd>{escape(kind)} {escape(_model(content))}</dd>"
    for status, response in operation["responses"].items():
        yield f"<dt>{escape(status)}</dt><dd>{escape(response['description'])}</dd>"
    yield "</dl></article>"


def _said(parameter: Mapping[str, Any]) -> str:
    need = "required" if parameter.get("required") else "optional"
    return f"in the {parameter['in']}, {need}. {parameter.get('description', '')}"


def _model(content: Mapping[str, Any]) -> str:
    schema: Mapping[str, Any] = content.get("schema", {})
    named = [schema, *schema.get("anyOf", [])]
    return ", ".join(one["$ref"].rpartition("/")[2] for one in named if "$ref" in one)
