"""Whatever is sent, the answer is documented and never a mistake of ours."""

from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.callers import Caller, CallerMaker

WORDS = st.sampled_from([
    "name", "scopes", "query", "message", "source_ids", "bot_id", "limit", "filters", "attributes", "chunk", "size",
    "overlap", "expires_at", "visibility", "retrieval", "instructions", "slug", "code", "stream", "end_user", "tenants",
])  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from(["search", "tenant", "upload", "2030-01-01T00:00:00Z", "00000000-0000-4000-8000-000000000000"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=4)
)
BODIES = VALUES | st.dictionaries(WORDS, VALUES, max_size=6)
QUERIES = st.dictionaries(
    st.sampled_from(["limit", "cursor", "bot_id", "source_id", "status", "other"]), st.text(max_size=12), max_size=3
)
ABSENT = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="session")
def known() -> dict[str, Caller]:
    return {}


@pytest.fixture
async def anybody(known: dict[str, Caller], a_caller: CallerMaker) -> Caller:
    if "caller" not in known:
        known["caller"] = await a_caller()
    return known["caller"]


def documented(door: FastAPI, method: str) -> dict[str, set[int]]:
    return {
        path: {int(status) for status in operations[method]["responses"]} - {500}
        for path, operations in door.openapi()["paths"].items()
        if method in operations and path.startswith("/v1")
    }


def filled(path: str) -> str:
    for name in ("tenant_id", "key_id", "source_id", "bot_id", "document_id"):
        path = path.replace(f"{{{name}}}", ABSENT)
    return path


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODIES)
async def test_any_body_gets_a_documented_answer(anybody: Caller, door: FastAPI, body: Any) -> None:
    for method in ("post", "patch"):
        for path, statuses in documented(door, method).items():
            answer = await anybody(method.upper(), filled(path), json=body)
            assert answer.status_code in statuses, (path, answer.text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=QUERIES)
async def test_any_query_gets_a_documented_answer(anybody: Caller, door: FastAPI, query: dict[str, str]) -> None:
    for path, statuses in documented(door, "get").items():
        ending = {"until": "settled"} if path == "/v1/ingestion/events" else {}  # which goes on for ever without
        answer = await anybody("GET", filled(path), params={**query, **ending})
        assert answer.status_code in statuses, (path, answer.text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), kind=st.sampled_from(["application/json", "multipart/form-data; boundary=x"]))
async def test_any_bytes_get_a_documented_answer(anybody: Caller, door: FastAPI, content: bytes, kind: str) -> None:
    for path, statuses in documented(door, "post").items():
        answer = await anybody("POST", filled(path), content=content, headers={"Content-Type": kind})
        assert answer.status_code in statuses, (path, answer.text)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
ATTRIBUTES = st.dictionaries(TEXTS, st.text(max_size=20) | st.booleans() | st.integers() | st.floats(-1e300, 1e300))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS, attributes=ATTRIBUTES)
async def test_any_text_can_be_a_name_a_question_or_an_attribute(
    anybody: Caller, text: str, attributes: dict[str, Any]
) -> None:
    sent = {
        "/v1/sources": {"name": text},
        "/v1/bots": {"name": text, "source_ids": [], "instructions": text, "retrieval": attributes},
        "/v1/keys": {"name": text, "scopes": ["search"]},
        "/v1/search": {"query": text, "filters": attributes, "tenants": [text]},
        "/v1/chat": {"message": text, "end_user": text},
    }
    for path, body in sent.items():
        answer = await anybody("POST", path, json=body)
        assert answer.status_code in {200, 201, 404, 409, 422}, (path, answer.text)
    search = await anybody("POST", "/v1/search", json={"query": text, "filters": attributes})
    assert search.status_code in {200, 422}, search.text
