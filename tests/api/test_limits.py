"""Rate limits, quotas and usage at the door."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from api.callers import Caller, CallerMaker
from carrel.adapters.limits.memory import MemoryLimiter
from carrel.adapters.limits.redis import RedisLimiter
from carrel.adapters.models.single import OnlyModel
from carrel.api.app import create_app
from carrel.domain.limits import Limit, Rates, RouteClass
from carrel.ports.limits import Limiter
from carrel.ports.model import Draft, Model, Prompt
from carrel.tenancy import pace
from carrel.tenancy.limits import Gate
from carrel.wiring import assemble
from support.brakes import RenewableLimiter
from support.redis_server import a_redis
from support.stand import Stand

Door = Callable[..., AbstractAsyncContextManager[httpx2.AsyncClient]]
NO_LIMITS: Any = {"quotas": {}, "rates": {"each": {}, "together": {}, "streams": None}}
SEARCH: Any = {"query": "boats"}


@pytest.fixture
def a_door(carrel: Stand) -> Door:
    """A client of a door with rates of its own."""

    @asynccontextmanager
    async def door(
        rates: Rates, limiter: Limiter | None = None, *, model: Model | None = None
    ) -> AsyncIterator[httpx2.AsyncClient]:
        gate = Gate(carrel.database, limiter or MemoryLimiter(), rates)
        inside = assemble(replace(carrel.parts, models=OnlyModel(model))) if model else carrel.app
        app = create_app(lambda: nullcontext(replace(inside, gate=gate)))
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://carrel.test") as client,
        ):
            yield client

    return door


def each(kind: RouteClass, amount: int) -> Rates:
    return Rates(each={kind: Limit(amount, 3600)})


def told(answer: httpx2.Response) -> tuple[str | None, str | None]:
    return answer.headers.get("RateLimit-Limit"), answer.headers.get("RateLimit-Remaining")


async def test_a_call_too_many_is_429_and_says_when_to_come_back(a_door: Door, owner: Caller) -> None:
    async with a_door(each(RouteClass.SEARCH, 2)) as client:
        caller = Caller(client, owner.key)
        answers = [await caller("POST", "/v1/search", json=SEARCH) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [told(answer) for answer in answers] == [("2", "1"), ("2", "0"), ("2", "0")]
    assert all(0 < int(answer.headers["RateLimit-Reset"]) <= 3600 for answer in answers)
    refused = answers[-1]
    assert refused.json()["code"] == "rate_limited"
    assert 0 < int(refused.headers["Retry-After"]) <= 3600
    assert refused.headers["X-Request-Id"]


async def test_each_class_of_route_and_each_principal_has_a_limit_of_its_own(
    a_door: Door, owner: Caller, a_caller: CallerMaker
) -> None:
    colleague = await a_caller(of=owner)
    async with a_door(each(RouteClass.SEARCH, 1)) as client:
        caller, other = Caller(client, owner.key), Caller(client, colleague.key)
        assert (await caller("POST", "/v1/search", json=SEARCH)).status_code == 200
        assert (await caller("POST", "/v1/search", json=SEARCH)).status_code == 429
        assert (await other("POST", "/v1/search", json=SEARCH)).status_code == 200
        unlimited = await caller("GET", "/v1/sources")
        assert (unlimited.status_code, told(unlimited)) == (200, (None, None))


async def test_all_of_a_tenant_together_have_a_limit_and_other_tenants_another(
    a_door: Door, owner: Caller, a_caller: CallerMaker
) -> None:
    colleague, stranger = await a_caller(of=owner), await a_caller()
    async with a_door(Rates(together={RouteClass.SEARCH: Limit(2, 3600)})) as client:
        statuses = [
            (await Caller(client, who.key)("POST", "/v1/search", json=SEARCH)).status_code
            for who in (owner, colleague, owner, colleague, stranger)
        ]
    assert statuses == [200, 200, 429, 429, 200]


async def test_what_a_principal_is_refused_does_not_use_up_what_its_tenant_may(
    a_door: Door, owner: Caller, a_caller: CallerMaker
) -> None:
    colleague = await a_caller(of=owner)
    rates = Rates({RouteClass.SEARCH: Limit(1, 3600)}, {RouteClass.SEARCH: Limit(2, 3600)})
    async with a_door(rates) as client:
        for _ in range(5):
            await Caller(client, owner.key)("POST", "/v1/search", json=SEARCH)
        assert (await Caller(client, colleague.key)("POST", "/v1/search", json=SEARCH)).status_code == 200


async def test_a_call_is_counted_after_its_permission_and_before_its_body(
    a_door: Door, owner: Caller, a_caller: CallerMaker
) -> None:
    reader = await a_caller("search", of=owner)
    async with a_door(each(RouteClass.ASK, 1)) as client:
        denied = await Caller(client, reader.key)("POST", "/v1/chat", json={"message": "x"})
        assert (denied.status_code, told(denied)) == (403, (None, None))
        wrong = await Caller(client, owner.key)("POST", "/v1/chat", content=b"no json")
        assert (wrong.status_code, told(wrong)) == (422, ("1", "0"))
        assert (await Caller(client, owner.key)("POST", "/v1/chat", content=b"no json")).status_code == 429


async def test_whoever_wanted_more_than_it_may_comes_in_evenly(
    a_door: Door, owner: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, limiter = SimpleNamespace(monotonic=lambda: 0.0), RenewableLimiter()
    monkeypatch.setattr(pace, "time", clock)
    async with a_door(Rates(together={RouteClass.OTHER: Limit(2, 60)}), limiter) as client:
        caller = Caller(client, owner.key)
        statuses = [(await caller("GET", "/v1/sources")).status_code for _ in range(3)]
        limiter.renew()  # the window is empty, and would let two in at once
        clock.monotonic = lambda: 1.1
        statuses += [(await caller("GET", "/v1/sources")).status_code for _ in range(3)]
    assert statuses == [200, 200, 429, 200, 429, 429]


async def test_when_the_limiter_is_away_calls_are_let_through_and_it_counts_again_by_itself(
    a_door: Door, owner: Caller, tmp_path: Path
) -> None:
    with a_redis(tmp_path) as server, capture_logs() as log:
        limiter = RedisLimiter(server.url)
        async with a_door(each(RouteClass.SEARCH, 1), limiter) as client:
            caller = Caller(client, owner.key)
            assert (await caller("POST", "/v1/search", json=SEARCH)).status_code == 200
            assert (await caller("POST", "/v1/search", json=SEARCH)).status_code == 429
            server.stop()
            await asyncio.sleep(1)  # for so long a refusal is believed
            for _ in range(3):
                uncounted = await caller("POST", "/v1/search", json=SEARCH)
                assert (uncounted.status_code, told(uncounted)) == (200, (None, None))
            server.start()
            async with asyncio.timeout(60):
                while (await caller("POST", "/v1/search", json=SEARCH)).status_code == 200:  # noqa: ASYNC110 - a server
                    await asyncio.sleep(0.1)
        await limiter.close()
    events = [entry for entry in log if entry["event"].startswith("limits.")]
    assert [entry["event"] for entry in events] == ["limits.uncounted", "limits.counting_again"]
    assert events[-1]["uncounted"] >= 3


async def test_an_operator_sets_the_rates_of_one_tenant(
    a_door: Door, an_operator: Caller, owner: Caller, a_caller: CallerMaker
) -> None:
    assert owner.tenant is not None
    path, stranger = f"/v1/tenants/{owner.tenant.id}", await a_caller()
    wish = {"each": {"search": "1/hour"}, "together": {"search": "9/day"}, "streams": 3}
    made = await an_operator("PUT", f"{path}/rates", json=wish)
    assert (made.status_code, made.json()["rates"]) == (200, wish)
    assert (await an_operator("GET", f"{path}/limits")).json() == made.json()
    async with a_door(each(RouteClass.SEARCH, 100)) as client:
        answers = [await Caller(client, owner.key)("POST", "/v1/search", json=SEARCH) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        assert told(await Caller(client, stranger.key)("POST", "/v1/search", json=SEARCH)) == ("100", "99")
    assert (await an_operator("PUT", f"{path}/rates", json={})).json() == NO_LIMITS


async def test_so_many_answers_are_streamed_at_once_and_no_more(a_door: Door, owner: Caller) -> None:
    await owner.put(await owner.source(), "boats.md", "# Boats\n\nBoats float on water.")
    thoughtful = Thoughtful()
    async with a_door(Rates(streams=1), model=thoughtful) as client:
        caller, body = Caller(client, owner.key), {"message": "Do boats float?", "stream": True}
        first = asyncio.create_task(caller("POST", "/v1/chat", json=body))
        await thoughtful.asked.wait()
        for _ in range(3):
            refused = await caller("POST", "/v1/chat", json=body)
            assert refused.status_code == 429
            assert (refused.json()["code"], refused.headers["Retry-After"]) == ("rate_limited", "5")
        thoughtful.may_go_on.set()
        assert (await first).status_code == 200
        assert (await caller("POST", "/v1/chat", json=body)).status_code == 200


class Thoughtful:
    """A model that answers when it is told to."""

    name = "thoughtful"
    follows_instructions = False
    context_tokens = 8_000

    def __init__(self) -> None:
        self.asked, self.may_go_on = asyncio.Event(), asyncio.Event()

    async def write(self, _prompt: Prompt) -> AsyncGenerator[Draft]:
        self.asked.set()
        await self.may_go_on.wait()
        yield Draft("They float [1].")


@pytest.mark.parametrize(
    ("what", "body", "code"),
    [
        ("rates", {"each": {"search": "60"}}, "invalid_rate"),
        ("rates", {"each": {"search": "0/minute"}}, "invalid_rate"),
        ("rates", {"each": {"search": "6/week"}}, "invalid_rate"),
        ("rates", {"each": {"search": 60}}, "invalid_type"),
        ("rates", {"each": {"chat": "6/day"}}, "unknown_field"),
        ("rates", {"streams": 0}, "out_of_range"),
        ("quotas", {"documents": {"hard": -1}}, "out_of_range"),
        ("quotas", {"documents": {"hard": "9"}}, "invalid_type"),
        ("quotas", {"documents": {"hard": 5, "soft": 6}}, "soft_above_hard"),
        ("quotas", {"pages": {"hard": 5}}, "unknown_field"),
    ],
)
async def test_limits_that_are_none_are_422(  # noqa: PLR0917 - pytest calls it by name
    an_operator: Caller, owner: Caller, what: str, body: dict[str, Any], code: str
) -> None:
    assert owner.tenant is not None
    answer = await an_operator("PUT", f"/v1/tenants/{owner.tenant.id}/{what}", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, code)


# Quotas


async def give(operator: Caller, owner: Caller, **quotas: Any) -> None:
    assert owner.tenant is not None
    answer = await operator("PUT", f"/v1/tenants/{owner.tenant.id}/quotas", json=quotas)
    assert answer.status_code == 200, answer.text


async def levels(owner: Caller) -> dict[str, dict[str, Any]]:
    answer = await owner("GET", "/v1/usage")
    assert answer.status_code == 200, answer.text
    return {one["quota"]: one for one in answer.json()["quotas"]}


async def test_a_question_too_many_is_429_until_the_month_ends(an_operator: Caller, owner: Caller) -> None:
    await give(an_operator, owner, questions={"hard": 2})
    answers = [await owner("POST", "/v1/chat", json={"message": "boats?"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].json()["code"] == "quota_exceeded"
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 31 * 86_400
    stream = await owner("POST", "/v1/chat", json={"message": "boats?", "stream": True})
    assert (stream.status_code, stream.json()["code"]) == (429, "quota_exceeded")
    standing = (await levels(owner))["questions"]
    assert (standing["used"], standing["held"], standing["hard"]) == (2, 0, 2)
    assert standing["resets_at"]


async def test_a_document_too_many_is_429_before_its_bytes_and_a_known_one_may_be_replaced(
    an_operator: Caller, owner: Caller
) -> None:
    source = await owner.source()
    await give(an_operator, owner, documents={"hard": 1})
    path = f"/v1/sources/{source}/documents"
    document = await owner.put(source, "a.txt", "One.")
    for again in ("One.", "Two."):
        assert (await owner("PUT", f"{path}/a.txt", content=again)).status_code == 202
    refused = await owner("PUT", f"{path}/b.txt", content="Three.")
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert refused.headers["Retry-After"] == "3600"
    assert (await owner("DELETE", f"/v1/documents/{document['id']}")).status_code == 204
    assert (await owner("PUT", f"{path}/b.txt", content="Three.")).status_code == 202
    assert (await levels(owner))["documents"]["used"] == 1


async def test_of_many_files_those_are_taken_for_which_there_is_room(an_operator: Caller, owner: Caller) -> None:
    path = f"/v1/sources/{await owner.source()}/documents"
    await give(an_operator, owner, documents={"hard": 2})
    files = [("files", (f"{n}.txt", f"File {n}.".encode())) for n in range(4)]
    once = {"Idempotency-Key": "the-files"}
    taken = await owner("POST", path, files=files, headers=once)
    assert taken.status_code == 202
    results = taken.json()["results"]
    assert [result["outcome"] for result in results] == ["created", "created", "rejected", "rejected"]
    assert results[-1]["problem"]["code"] == "quota_exceeded"
    assert (await owner("POST", path, files=files[2:])).status_code == 429
    await give(an_operator, owner, documents={"hard": 4})
    again = await owner("POST", path, files=files, headers=once)
    assert [result["outcome"] for result in again.json()["results"]] == ["unchanged", "unchanged", "created", "created"]


async def test_bytes_are_judged_by_what_the_sender_says_or_by_what_comes(an_operator: Caller, owner: Caller) -> None:
    path = f"/v1/sources/{await owner.source()}/documents"
    await give(an_operator, owner, bytes={"hard": 5_000_000})

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(60):
            yield b"words " * 16_384

    for content in (b"words " * 1_000_000, endless()):
        refused = await owner("PUT", f"{path}/a.txt", content=content)
        assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert (await owner("PUT", f"{path}/a.txt", content=b"words")).status_code == 202
    standing = (await levels(owner))["bytes"]
    assert (standing["used"], standing["held"]) == (5, 0)


async def test_beyond_the_soft_limit_answers_warn_and_the_log_says_it_once(
    an_operator: Caller, owner: Caller, carrel: Stand
) -> None:
    await give(an_operator, owner, questions={"soft": 2, "hard": 9}, tokens={"soft": 1_000_000})
    answers = [await owner("POST", "/v1/chat", json={"message": "boats?"}) for _ in range(4)]
    warnings = [answer.headers.get("Carrel-Quota-Warning") for answer in answers]
    assert warnings == [None, None, "questions=2/9", "questions=3/9"]
    events = (await owner("GET", "/v1/audit?action=quota.warned")).json()["items"]
    assert [event["facts"] for event in events] == [{"quota": "questions", "soft": 2}]


async def test_usage_is_told_by_day_and_bot(an_operator: Caller, owner: Caller) -> None:
    source = await owner.source()
    bot = (await owner.made("/v1/bots", {"name": "Bot", "source_ids": [source]}))["id"]
    await owner.put(source, "boats.md", "# Boats\n\nBoats float on water.")
    for more in ({}, {"bot_id": bot}, {"bot_id": bot}):
        await owner("POST", "/v1/chat", json={"message": "Do boats float?", **more})
    whole = (await owner("GET", "/v1/usage")).json()
    events = {(line["kind"], line["bot_id"]): line["events"] for line in whole["items"]}
    assert events == {("document", None): 1, ("question", None): 1, ("question", bot): 2}
    assert {line["day"] for line in whole["items"]} == {whole["to"]}
    by_day = (await owner("GET", f"/v1/usage?from={whole['from']}&to={whole['to']}&group=day")).json()["items"]
    assert {(line["kind"], line["bot_id"], line["events"]) for line in by_day} == {
        ("document", None, 1),
        ("question", None, 3),
    }
    assert (await owner("GET", "/v1/usage?from=2020-01-01&to=2020-01-31")).json()["items"] == []


@pytest.mark.parametrize(
    "query", ["from=yesterday", "from=2024-01-01&to=2023-01-01", "from=2020-01-01&to=2024-01-01", "group=week", "x=1"]
)
async def test_usage_of_no_period_is_422(owner: Caller, query: str) -> None:
    assert (await owner("GET", f"/v1/usage?{query}")).status_code == 422


async def test_a_limited_key_sees_no_usage_and_an_owner_sets_no_limits(owner: Caller, a_caller: CallerMaker) -> None:
    assert owner.tenant is not None
    reader = await a_caller("search", "ask", "ingest", of=owner)
    assert (await reader("GET", "/v1/usage")).status_code == 403
    for what in ("quotas", "rates"):
        answer = await owner("PUT", f"/v1/tenants/{owner.tenant.id}/{what}", json={})
        assert (answer.status_code, answer.json()["code"]) == (403, "operator_required")


async def test_limits_of_a_tenant_that_is_not_there_are_404(an_operator: Caller) -> None:
    nowhere = "/v1/tenants/00000000-0000-4000-8000-000000000000"
    for method, path, body in (("GET", "limits", None), ("PUT", "quotas", {}), ("PUT", "rates", {})):
        answer = await an_operator(method, f"{nowhere}/{path}", **({} if body is None else {"json": body}))
        assert answer.status_code == 404, json.dumps(answer.json())
