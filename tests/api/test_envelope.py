"""What is around every answer: the request id, the headers, the log line, and no reason given for mistakes of ours."""

import uuid
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Annotated

import httpx2
import pytest
import structlog
from fastapi import APIRouter, Depends, HTTPException

from api.callers import Caller
from carrel.api.app import ROUTES, create_app
from carrel.api.envelope import HEADERS
from carrel.api.security import GuardedRoute, MayRead, Requires, UnguardedRouteError
from carrel.domain.access import Principal
from carrel.domain.errors import Refusal
from carrel.domain.rights import Permission
from carrel.operate.health import Readiness
from support.stand import Stand

broken = APIRouter(route_class=GuardedRoute)


@broken.get("/v1/broken")
async def fail(principal: MayRead) -> None:
    raise RuntimeError("the reason")


@broken.get("/v1/odd")
async def refuse(principal: MayRead) -> None:
    raise _Odd("the reason")


@broken.get("/v1/numbers/{number}")
async def count(principal: MayRead, number: int) -> int:
    return number


@broken.get("/v1/teapot")
async def pour(principal: MayRead) -> None:
    raise HTTPException(418, "the reason")


class _Odd(Refusal):
    """Of a kind that the door does not know."""


@pytest.fixture
async def odd(carrel: Stand, owner: Caller) -> AsyncIterator[Caller]:
    """The owner before a door with a route that fails."""
    app = create_app(lambda: nullcontext(carrel.app), routes=[*ROUTES, *broken.routes])
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://carrel.test") as client:
            yield Caller(client, owner.key, owner.tenant)


async def test_every_answer_has_the_security_headers(nobody: Caller, owner: Caller) -> None:
    for caller, path in ((nobody, "/health/live"), (nobody, "/v1/x"), (nobody, "/v1/bots"), (owner, "/v1/bots")):
        answer = await caller("GET", path)
        for name, value in HEADERS:
            assert answer.headers[name] == value
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers


async def test_a_request_id_is_new_each_time_and_never_the_senders(nobody: Caller) -> None:
    mine = uuid.uuid4().hex
    answers = [await nobody("GET", "/health/live", headers={"X-Request-Id": mine}) for _ in range(2)]
    ids = {answer.headers["X-Request-Id"] for answer in answers}
    assert len(ids) == 2
    assert mine not in ids


async def test_a_mistake_of_ours_is_500_without_its_reason_and_logged_once(odd: Caller) -> None:
    with structlog.testing.capture_logs() as logs:
        answer = await odd("GET", "/v1/broken")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "reason" not in answer.json()["detail"]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Request-Id"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert [entry["event"] for entry in logs] == ["http.failed", "http.request"]


async def test_a_refusal_of_no_known_kind_is_a_mistake_of_ours(odd: Caller) -> None:
    answer = await odd("GET", "/v1/odd")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "reason" not in answer.json()["detail"]


async def test_what_does_not_fit_into_a_path_is_404(odd: Caller) -> None:
    assert (await odd("GET", "/v1/numbers/5")).text == "5"
    assert (await odd("GET", "/v1/numbers/five")).json()["code"] == "not_found"


async def test_whatever_the_framework_complains_about_is_a_problem(odd: Caller) -> None:
    answer = await odd("GET", "/v1/teapot")
    assert (answer.status_code, answer.headers["Content-Type"]) == (418, "application/problem+json")
    assert "the reason" not in answer.text


async def test_the_log_has_one_line_for_each_request_and_no_content(owner: Caller, nobody: Caller) -> None:
    source = await owner.source()
    with structlog.testing.capture_logs() as logs:
        await owner("PUT", f"/v1/sources/{source}/documents/secret-plan.txt", content=b"swordfish")
        await owner("POST", "/v1/search", json={"query": "swordfish"})
        await nobody("GET", "/v1/swordfish?key=swordfish")
    lines = [entry for entry in logs if entry["event"] == "http.request"]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("PUT", "/v1/sources/{source_id}/documents/{key}", 202),
        ("POST", "/v1/search", 200),
        ("GET", None, 404),
    ]
    assert "swordfish" not in str(lines)
    assert "secret-plan" not in str(lines)


async def test_the_id_of_one_request_is_not_bound_in_the_next(nobody: Caller, owner: Caller) -> None:
    await owner("GET", "/v1/bots")
    await nobody("GET", "/health/live")
    assert structlog.contextvars.get_contextvars().keys().isdisjoint({"request_id", "tenant", "credential"})


async def test_health_says_whether_it_lives_and_is_ready(nobody: Caller) -> None:
    assert (await nobody("GET", "/health/live")).json() == {"status": "live"}
    assert (await nobody("GET", "/health/ready")).json() == {"status": "ready"}


async def test_an_application_that_is_not_ready_is_503_with_reasons(carrel: Stand) -> None:
    class Unready:
        async def ready(self) -> Readiness:
            return Readiness(False, ("The database does not answer.",))

    unready = replace(carrel.app, health=Unready())  # type: ignore[arg-type]
    app = create_app(lambda: nullcontext(unready))
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://carrel.test") as client:
            answer = await client.get("/health/ready")
            assert (await client.get("/health/live")).status_code == 200
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert answer.json()["reasons"] == ["The database does not answer."]
    assert answer.headers["Retry-After"]


def _unguarded() -> APIRouter:
    router = APIRouter(route_class=GuardedRoute)
    router.add_api_route("/v1/open", lambda: None, name="open")
    return router


def _plain() -> APIRouter:
    async def guarded_by_hand(principal: Annotated[Principal, Depends(Requires(Permission.METADATA))]) -> None:
        """The dependency alone is not enough: only the route's class reads the credential before the body."""

    router = APIRouter()
    router.add_api_route("/v1/plain", guarded_by_hand)
    return router


@pytest.mark.parametrize("make", [_unguarded, _plain])
def test_an_application_with_an_unguarded_route_does_not_start(make: object) -> None:
    assert callable(make)
    router = make()
    with pytest.raises(UnguardedRouteError):
        create_app(nullcontext, routes=[*ROUTES, *router.routes])  # type: ignore[arg-type]


async def test_head_is_answered_as_get_is_without_the_content(owner: Caller, nobody: Caller) -> None:
    document = await owner.put(await owner.source(), "boats.md", "# Boats\n\nBoats float on water.")
    paths = ["/health/live", "/openapi.json", "/v1/sources", f"/v1/documents/{document['id']}/content"]
    for path in [*paths, f"/v1/bots/{uuid.uuid4()}"]:
        whole, head = await owner("GET", path), await owner("HEAD", path)
        assert (head.status_code, head.content) == (whole.status_code, b"")
        assert head.headers["Content-Length"] == whole.headers["Content-Length"] == str(len(whole.content))
        assert head.headers["Content-Type"] == whole.headers["Content-Type"]
    assert (await nobody("HEAD", "/v1/sources")).status_code == 401
    refused = await owner("HEAD", "/v1/search")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")


async def test_a_line_break_at_the_end_makes_another_path(owner: Caller) -> None:
    for path in ("/health/live", "/v1/sources", "/openapi.json", f"/v1/sources/{await owner.source()}"):
        assert (await owner("GET", f"{path}%0A")).status_code == 404
