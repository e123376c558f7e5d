"""Language models at providers: four wires against a real server, and everything that may go wrong on the way."""

import asyncio
import gzip
import json
import logging
import os
import socket
import subprocess
import sys
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import chain

import httpx2
import pytest
import structlog

from carrel.adapters.lexical.analyzer import EnglishAnalyzer
from carrel.adapters.models.breaker import Circuits, Rules
from carrel.adapters.models.calls import Account
from carrel.adapters.models.clients import Clients
from carrel.adapters.models.extractive import Extractive
from carrel.adapters.models.providers import Own, Providers
from carrel.adapters.models.remote import Patience, Remote
from carrel.adapters.models.ways import Ways
from carrel.adapters.web import Allowed, JudgedTransport
from carrel.adapters.web import Rules as WebRules
from carrel.domain.access import TenantGrant, console, enter
from carrel.domain.answers import Usage
from carrel.domain.errors import Conflict, ModelFailed, NotFound
from carrel.domain.ids import CredentialId, TenantId
from carrel.domain.models import Offer
from carrel.domain.providers import ProviderAccess
from carrel.domain.rights import Permission
from carrel.domain.secret import Secret
from carrel.ports.model import Draft, Message, Model, ModelWish, Prompt, Speaker, weight
from support.model_server import Hold, ModelServer, Page, Script, a_model_server
from support.model_server.http import Connection, Reply, Request
from support.model_server.scripts import Fault

KEY = "sk-a-secret-that-nobody-may-see"
SAID = "[1] The bridge is 300 m long. It was built in 1890.\n\nHow long is the bridge?"
PROMPT = Prompt(
    "How long is the bridge?",
    (),
    messages=(Message(Speaker.SYSTEM, "Answer from the passages."), Message(Speaker.USER, SAID)),
    most_tokens=60,
)
SHORT = Patience(connect=5.0, first_token=0.4, whole=0.8)
FOR_WORDS = Patience(connect=5.0, first_token=3.0, whole=3.0)  # the first of them come in time, also on a busy machine
LONG = Patience(connect=30.0, first_token=60.0, whole=120.0)
WIRES = ("openai", "anthropic", "ollama", "bedrock")
CREDENTIAL = CredentialId(uuid.uuid4())

Maker = Callable[..., Remote]


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with a_model_server() as standing:
        yield standing


@pytest.fixture
async def make(server: ModelServer) -> AsyncIterator[Maker]:
    """Models of the deployment's own account at the server."""
    made: list[Clients] = []

    def build(
        wire: str, model: str, *, patience: Patience = LONG, base_url: str | None = None, **more: object
    ) -> Remote:
        account = Account(wire, base_url or address(server, wire), secret(wire), is_ours=True)
        clients = Clients(Ways(never, patience, region="eu-central-1").to)
        made.append(clients)
        circuit = Circuits().of(model, name=wire)
        return Remote(account, model, clients, circuit, context_tokens=8_000, patience=patience, **more)  # type: ignore[arg-type]

    yield build
    for clients in made:
        await clients.close()


def address(server: ModelServer, wire: str) -> str:
    return server.openai if wire == "openai" else server.url


def secret(wire: str) -> Secret | None:
    return None if wire == "bedrock" else Secret(KEY)


def never(*_: object) -> httpx2.AsyncBaseTransport:
    raise AssertionError("the deployment's own address is not judged")


async def written(model: Model) -> tuple[str, Usage]:
    text, usage = "", Usage(0, 0, model.name)
    async with aclosing(model.write(PROMPT)) as drafts:
        async for draft in drafts:
            text, usage = text + draft.text, draft.usage or usage
    return text, usage


async def failure(model: Model) -> ModelFailed:
    with pytest.raises(ModelFailed) as failed:
        await written(model)
    return failed.value


# What goes well


@pytest.mark.parametrize("wire", WIRES)
async def test_an_answer_is_streamed_and_counted(server: ModelServer, make: Maker, wire: str) -> None:
    text, usage = await written(make(wire, "cite"))

    assert text == "The bridge is 300 m long. [1]"
    assert usage == Usage(server.heard[-1].input_tokens, server.heard[-1].output_tokens, f"{wire}:cite")


@pytest.mark.parametrize("wire", WIRES)
async def test_it_is_told_the_prompt_with_a_low_temperature_and_a_bound(
    server: ModelServer, make: Maker, wire: str
) -> None:
    await written(make(wire, "flood"))

    heard = server.heard[-1]
    body = heard.body
    assert dict(heard.told.messages) == {"system": "Answer from the passages.", "user": SAID}
    options = body.get("options") or body.get("inferenceConfig") or body
    assert options["temperature"] == 0.2
    assert heard.told.most_tokens == heard.output_tokens == 60
    assert wire != "ollama" or options["num_ctx"] == 8_000


@pytest.mark.parametrize("wire", WIRES)
async def test_pieces_come_while_the_model_still_speaks(server: ModelServer, make: Maker, wire: str) -> None:
    hold = Hold(after=3)
    server.scripts["slow"] = Script(hold=hold)

    async with aclosing(make(wire, "slow").write(PROMPT)) as drafts:
        text = ""
        while len(text) < 8:
            text += (await anext(drafts)).text
        assert not server.heard[-1].ended.is_set
        hold.release.set()
        async for draft in drafts:
            text += draft.text

    assert text == "The bridge is 300 m long. [1]"


@pytest.mark.parametrize("wire", WIRES)
async def test_one_that_stands_still_does_not_hold_up_another(server: ModelServer, make: Maker, wire: str) -> None:
    hold = Hold(after=2)
    server.scripts["slow"] = Script(hold=hold)
    slow = asyncio.create_task(written(make(wire, "slow")))
    await hold.reached.wait()

    assert (await written(make(wire, "cite")))[0]

    hold.release.set()
    assert (await slow)[0] == "The bridge is 300 m long. [1]"


@pytest.mark.parametrize("wire", WIRES)
async def test_who_leaves_takes_the_connection_along(server: ModelServer, make: Maker, wire: str) -> None:
    server.scripts["slow"] = Script(hold=Hold(after=3))
    drafts = make(wire, "slow").write(PROMPT)
    while not (await anext(drafts)).text:
        pass

    await drafts.aclose()

    await server.heard[-1].ended.wait()
    assert server.heard[-1].left


# Failures


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    "expected",
    [
        ("key-refused", "model_key_refused"),
        ("forbidden", "model_key_refused"),
        ("missing", "model_unknown"),
        ("quota", "model_quota_exhausted"),
        ("payment", "model_quota_exhausted"),
        ("too-long", "context_too_long"),
        ("input-refused", "model_refused_input"),
        ("cut", "model_broke_off"),
        ("unfinished", "model_broke_off"),
        ("fault-midway", "model_broke_off"),
        ("garbled", "model_broke_off"),
    ],
)
async def test_a_failure_has_a_code_and_is_not_tried_again(
    server: ModelServer, make: Maker, wire: str, expected: tuple[str, str]
) -> None:
    name, code = expected

    assert (await failure(make(wire, name))).code == code
    assert len(server.heard) == 1


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("name", ["html", "not-json", "other-json"])
async def test_what_is_no_answer_is_not_taken_for_one(make: Maker, wire: str, name: str) -> None:
    assert (await failure(make(wire, name))).code in {"model_failed", "model_broke_off"}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("name", ["stall-unheard", "stall", "stall-midway"])
async def test_nobody_is_waited_for_without_end(make: Maker, wire: str, name: str) -> None:
    has_words = name == "stall-midway"

    failed = await failure(make(wire, name, patience=FOR_WORDS if has_words else SHORT))

    assert failed.code == "model_timeout"
    assert ("finish" if has_words else "begin") in failed.detail


@pytest.mark.parametrize("wire", WIRES)
async def test_where_nobody_listens_the_provider_is_unreachable(make: Maker, wire: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

    assert (await failure(make(wire, "cite", base_url=f"http://127.0.0.1:{port}", sleep=at_once))).code == (
        "model_unreachable"
    )


@pytest.mark.parametrize("wire", WIRES)
async def test_a_connection_that_does_not_come_about_is_given_up(make: Maker, wire: str, crowd: str) -> None:
    patience = Patience(connect=0.3, first_token=30.0, whole=60.0)

    failed = await failure(make(wire, "cite", patience=patience, base_url=crowd))

    assert (failed.code, "connected" in failed.detail) == ("model_timeout", True)


@pytest.fixture
def crowd() -> Iterator[str]:
    """An address whose queue is full: the next connection waits."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        place = listening.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(place)
        yield f"http://127.0.0.1:{place[1]}"
        for one in waiting:
            one.close()


@pytest.mark.parametrize("wire", WIRES)
async def test_what_a_broken_stream_cost_is_known_as_far_as_it_came(
    server: ModelServer, make: Maker, wire: str
) -> None:
    told: list[Draft] = []
    with pytest.raises(ModelFailed):
        await into(told, make(wire, "cut"))

    heard, usage = server.heard[-1], told[-1].usage
    assert usage is not None
    assert usage.output_tokens == heard.output_tokens == 5
    estimate = sum(weight(message.text) for message in PROMPT.messages)
    assert usage.input_tokens == (heard.input_tokens if wire in {"openai", "anthropic"} else estimate)
    assert estimate >= heard.input_tokens


async def into(told: list[Draft], model: Model) -> None:
    async for draft in model.write(PROMPT):
        told.append(draft)  # noqa: PERF401 - what was told before a failure is wanted too


async def test_a_model_that_does_not_stop_is_stopped(server: ModelServer, make: Maker) -> None:
    server.scripts["deaf"] = Script(lambda _: (" " + "word" * 40 for _ in iter(int, 1)))

    assert (await failure(make("openai", "deaf"))).code == "model_failed"


async def test_an_answer_without_end_of_line_is_not_collected(server: ModelServer, make: Maker) -> None:
    server.scripts["line"] = Script(page=Page(b"data: " + b"x" * (3 << 20), "text/event-stream"))

    assert (await failure(make("openai", "line"))).code == "model_failed"


@pytest.mark.parametrize("wire", ["openai", "anthropic", "ollama"])
async def test_a_flood_of_events_that_say_nothing_is_not_waded_through(
    make: Maker, wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("events", "wires"):
        monkeypatch.setattr(f"carrel.adapters.models.{module}.MOST", 50)
    silent = b'{"message": {"role": "assistant", "content": ""}}\n' if wire == "ollama" else b"data: {}\n\n"
    for flood in (silent * 100, *([] if wire == "ollama" else [b": \n" * 500])):
        async with a_provider(Whole(flood, {})) as url:
            found = await failure(make(wire, "any", base_url=url))
        assert found.detail == "What the provider answered cannot be understood."


async def test_a_packed_answer_is_refused(make: Maker) -> None:
    async with a_provider(Whole(gzip.compress(b"data: " + bytes(1 << 20)), {"Content-Encoding": "gzip"})) as url:
        assert (await failure(make("openai", "any", base_url=url))).code == "model_failed"


async def test_an_endless_answer_is_not_read_to_its_end(make: Maker) -> None:
    async with a_provider(Whole(b": nothing but a comment\n\n" * (1 << 20), {})) as url:
        assert (await failure(make("openai", "any", base_url=url))).code == "model_failed"


@dataclass(frozen=True)
class Whole:
    """Answers this, whatever it is asked."""

    content: bytes
    headers: dict[str, str]

    async def __call__(self, _: Request, reply: Reply) -> None:
        await reply.whole(200, self.content, "text/event-stream", **self.headers)


@asynccontextmanager
async def a_provider(answer: Callable[[Request, Reply], Awaitable[None]]) -> AsyncIterator[str]:
    """Its address."""
    connections: set[Connection] = set()
    listening = await asyncio.get_running_loop().create_server(lambda: Connection(answer, connections), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    finally:
        listening.close()
        for connection in connections:
            connection.close()


# Trying again


async def at_once(_: float) -> None:
    pass


class Sleep:
    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("name", ["throttle-once", "throttle-twice", "broken-once", "overloaded-once"])
async def test_before_the_first_word_a_passing_failure_is_tried_again(
    server: ModelServer, make: Maker, wire: str, name: str
) -> None:
    text, usage = await written(make(wire, name, sleep=at_once))

    assert text == "The bridge is 300 m long. [1]"
    assert usage.output_tokens == sum(one.output_tokens for one in server.heard)


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
async def test_it_waits_for_as_long_as_the_provider_says(server: ModelServer, make: Maker, wire: str) -> None:
    server.scripts["busy"] = Script(fault=Fault.THROTTLE, times=2, retry_after=7)
    sleep = Sleep()

    await written(make(wire, "busy", sleep=sleep))

    assert sleep.slept == [7.0, 7.0]


async def test_a_wait_beyond_the_limit_is_told_instead(server: ModelServer, make: Maker) -> None:
    server.scripts["busy"] = Script(fault=Fault.THROTTLE, retry_after=3600)

    failed = await failure(make("openai", "busy"))

    assert (failed.code, failed.wait, len(server.heard)) == ("model_throttled", 3600.0, 1)


async def test_without_a_word_of_the_provider_each_wait_is_twice_the_last(make: Maker) -> None:
    sleep = Sleep()

    assert (await failure(make("openai", "broken", sleep=sleep))).code == "model_failed"

    first, second = sleep.slept
    assert 0.4 <= first <= 0.6
    assert 0.8 <= second <= 1.2


@pytest.mark.parametrize("said", ["temperature", "continuous_usage_stats", "max_tokens", "stream_options"])
async def test_what_an_address_does_not_take_is_left_out_from_then_on(said: str, make: Maker) -> None:
    strict = Strict(said)
    async with a_provider(strict) as url:
        model = make("openai", "any", base_url=url)
        await written(model)
        await written(model)

    assert [f'"{said}"' in body for body in strict.bodies] == [True, False, False]


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
async def test_two_who_learn_at_once_what_an_address_does_not_take_are_both_answered(make: Maker, wire: str) -> None:
    strict = Strict("temperature", together=2)
    async with a_provider(strict) as url:
        model = make(wire, "any", base_url=url)
        both = await asyncio.gather(written(model), written(model))

    assert [text for text, _ in both] == ["Yes. [1]", "Yes. [1]"]
    assert ['"temperature"' in body for body in strict.bodies] == [True, True, False, False]


class Strict:
    """Refuses a request in which something stands, as newer models refuse a temperature.

    The first refusals wait until there are so many of them `together`.
    """

    def __init__(self, unknown: str, *, together: int = 1) -> None:
        self._unknown = unknown
        self._all = asyncio.Barrier(together)
        self.bodies: list[str] = []

    async def __call__(self, request: Request, reply: Reply) -> None:
        self.bodies.append(request.content.decode())
        if f'"{self._unknown}"' in self.bodies[-1]:
            await self._all.wait()
            error = {"message": f"Unsupported parameter: {self._unknown}", "param": None, "code": "unsupported"}
            await reply.whole(400, json.dumps({"error": error}).encode())
            return
        await reply.begin("text/event-stream")
        said = _SAID_BY_ANTHROPIC if request.path.endswith("/messages") else _SAID_BY_OPENAI
        await reply.chunk(b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in said))
        await reply.end()


_SAID_BY_OPENAI = ({"choices": [{"delta": {"content": "Yes. [1]"}, "finish_reason": "stop"}]},)
_SAID_BY_ANTHROPIC = (
    {"type": "content_block_delta", "delta": {"text": "Yes. [1]"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
)


# Circuits


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def fails(circuits: Circuits, key: str, *, code: str = "model_unreachable", wait: float | None = None) -> None:
    with pytest.raises(ModelFailed), circuits.of(key, name="x").call():
        raise ModelFailed("no", code=code, wait=wait)


def is_paused(circuits: Circuits, key: str) -> bool:
    try:
        with circuits.of(key, name="x").call():
            return False
    except ModelFailed as failed:
        return failed.code == "model_paused" and bool(failed.wait)


def test_repeated_failures_pause_the_calls_and_a_good_one_resumes_them() -> None:
    clock = Clock()
    circuits = Circuits(Rules(failures=3, pause=30.0), clock=clock)
    for _ in range(3):
        fails(circuits, "a")

    assert is_paused(circuits, "a")
    assert not is_paused(circuits, "b")
    clock.now += 31
    fails(circuits, "a")
    assert is_paused(circuits, "a")
    clock.now += 31
    assert not is_paused(circuits, "a")
    fails(circuits, "a")
    assert not is_paused(circuits, "a")


def test_a_good_call_forgives_the_failures_before_it() -> None:
    circuits = Circuits(Rules(failures=2))
    for _ in range(5):
        fails(circuits, "a")
        assert not is_paused(circuits, "a")


def test_a_question_that_is_refused_is_no_trouble_of_the_provider() -> None:
    circuits = Circuits(Rules(failures=2))
    for _ in range(5):
        fails(circuits, "a", code="context_too_long")

    assert not is_paused(circuits, "a")


def test_after_the_pause_one_call_tries_and_the_others_wait_for_its_first_word() -> None:
    clock = Clock()
    circuits = Circuits(Rules(failures=1, pause=30.0), clock=clock)
    fails(circuits, "a")
    clock.now += 31

    with structlog.testing.capture_logs() as events, circuits.of("a", name="x").call() as trying:
        assert is_paused(circuits, "a")
        trying.speaks()
        assert not is_paused(circuits, "a")

    assert [event["event"] for event in events] == ["model.resumed"]


def test_who_leaves_while_it_tries_lets_another_try() -> None:
    clock = Clock()
    circuits = Circuits(Rules(failures=1, pause=30.0), clock=clock)
    fails(circuits, "a")
    clock.now += 31
    with pytest.raises(GeneratorExit), circuits.of("a", name="x").call():
        raise GeneratorExit

    assert not is_paused(circuits, "a")


def test_a_pause_is_as_long_as_the_provider_asks_for_within_reason() -> None:
    clock = Clock()
    circuits = Circuits(Rules(failures=1, pause=30.0), clock=clock)
    fails(circuits, "a", code="model_throttled", wait=100.0)
    fails(circuits, "b", code="model_throttled", wait=86_400.0)
    clock.now += 99
    assert is_paused(circuits, "a")
    clock.now += 202
    assert not is_paused(circuits, "b")


def test_only_so_many_circuits_are_remembered_and_the_troubled_ones_longest() -> None:
    circuits = Circuits(Rules(failures=1, most=10))
    fails(circuits, "bad")
    for number in range(50):
        circuits.of(f"good {number}", name="x")

    assert is_paused(circuits, "bad")
    assert len(circuits._circuits) == 10


# Choosing


class Kept:
    """Where tenants' credentials are kept: by id."""

    def __init__(self) -> None:
        self.access_of: dict[CredentialId, ProviderAccess | Exception] = {}

    async def access(self, _: TenantGrant, credential: CredentialId) -> ProviderAccess:
        found = self.access_of.get(credential, NotFound())
        if isinstance(found, Exception):
            raise found
        return found


def a_grant() -> TenantGrant:
    return enter(console(TenantId(uuid.uuid4())), Permission.ASK)


@asynccontextmanager
async def some_providers(
    server: ModelServer,
    *,
    allowed: str = "127.0.0.0/8",
    own: Own | None = None,
    circuits: Circuits | None = None,
    access: ProviderAccess | Exception | None = None,
) -> AsyncIterator[Providers]:
    kept = Kept()
    if access is not None:
        kept.access_of[CREDENTIAL] = access
    rules = WebRules(Allowed.read(allowed), frozenset({80, 443, server.port}))
    ways = Ways(lambda trust, _: JudgedTransport(rules, trust, kept=4), LONG)
    providers = Providers(
        Extractive(EnglishAnalyzer()), kept, ways, own=own, patience=LONG, circuits=circuits or Circuits()
    )
    try:
        yield providers
    finally:
        await providers.close()


def own_account(server: ModelServer) -> Own:
    account = Account("openai", server.openai, Secret(KEY), is_ours=True)
    return Own(account, Offer("cite", ("echo",)), context_tokens=9_000)


async def refused(providers: Providers, wish: ModelWish) -> str:
    with pytest.raises(ModelFailed) as failed:
        await providers.of(a_grant(), wish)
    return failed.value.code


async def test_without_settings_and_wishes_the_extractive_model_writes(server: ModelServer) -> None:
    async with some_providers(server) as providers:
        assert (await providers.of(a_grant(), ModelWish())).name == "extractive"
        assert await refused(providers, ModelWish("gpt-5-mini")) == "model_credential_missing"


async def test_the_deployments_models_are_for_all_and_no_other_ones(server: ModelServer) -> None:
    async with some_providers(server, own=own_account(server)) as providers:
        models = [await providers.of(a_grant(), ModelWish(name)) for name in (None, "echo", "extractive")]
        assert [model.name for model in models] == ["openai:cite", "openai:echo", "extractive"]
        assert [model.follows_instructions for model in models] == [True, True, False]
        assert models[0].context_tokens == 9_000
        assert await refused(providers, ModelWish("obey")) == "model_credential_missing"


@pytest.mark.parametrize(
    ("access", "code"),
    [
        (NotFound(), "model_credential_missing"),
        (Conflict("x", code="secret_unreadable"), "model_credential_missing"),
        (ProviderAccess("mistral", None, Secret(KEY)), "model_credential_missing"),
        (ProviderAccess("ollama", None, Secret(KEY)), "model_credential_missing"),
        (ProviderAccess("bedrock", "https://10.0.0.1", Secret(KEY)), "model_credential_missing"),
        (ProviderAccess("openai", None, Secret("sk-with\nX-Other: header")), "model_key_refused"),
        (ProviderAccess("openai", None, Secret("schlüssel")), "model_key_refused"),
    ],
)
async def test_a_credential_that_calls_nobody_is_told_before_a_call(
    server: ModelServer, access: ProviderAccess | Exception, code: str
) -> None:
    async with some_providers(server, access=access) as providers:
        assert await refused(providers, ModelWish("cite", CREDENTIAL)) == code


@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama", "mistral"])
async def test_a_tenants_credential_calls_its_own_provider(server: ModelServer, provider: str) -> None:
    url = address(server, "openai" if provider == "mistral" else provider)
    async with some_providers(server, access=ProviderAccess(provider, url, Secret(KEY))) as providers:
        model = await providers.of(a_grant(), ModelWish("cite", CREDENTIAL))
        text, usage = await written(model)

    assert (text, usage.model) == ("The bridge is 300 m long. [1]", f"{provider}:cite")
    assert KEY in "".join(server.heard[-1].headers.values())


@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama"])
async def test_an_address_that_is_not_public_is_not_called(server: ModelServer, provider: str) -> None:
    access = ProviderAccess(provider, address(server, provider), Secret(KEY))
    async with some_providers(server, allowed="", access=access) as providers:
        failed = await failure(await providers.of(a_grant(), ModelWish("cite", CREDENTIAL)))

    assert failed.code == "model_unreachable"
    assert "public machines" in failed.detail
    assert server.heard == []


@pytest.mark.parametrize("wire", ["openai", "anthropic", "ollama"])
async def test_a_redirect_is_not_followed(server: ModelServer, make: Maker, wire: str) -> None:
    async with a_model_server() as other:
        server.scripts["moved"] = Script(page=Page(b"", status=307, location=f"{other.url}/v1/chat/completions"))

        assert (await failure(make(wire, "moved"))).code == "model_failed"
        assert other.heard == []


async def test_one_tenants_bad_key_pauses_nobody_else(server: ModelServer) -> None:
    server.keys = frozenset({"good"})
    circuits = Circuits(Rules(failures=3))
    async with some_providers(server, access=ProviderAccess("openai", server.openai, Secret("bad"))) as providers:
        providers._circuits = circuits
        grant = a_grant()
        model = await providers.of(grant, ModelWish("cite", CREDENTIAL))
        codes = [(await failure(model)).code for _ in range(5)]
        assert codes == ["model_key_refused"] * 3 + ["model_paused"] * 2
        assert len(server.heard) == 3

        other = await providers.of(a_grant(), ModelWish("cite", CREDENTIAL))
        assert (await failure(other)).code == "model_key_refused"
        providers._safe.access_of[CREDENTIAL] = ProviderAccess("openai", server.openai, Secret("good"))  # type: ignore[attr-defined]
        mended = await providers.of(grant, ModelWish("cite", CREDENTIAL))
        assert (await written(mended))[0]


# Secrets, and what is not ours to send


@pytest.mark.parametrize("wire", ["openai", "anthropic", "ollama"])
async def test_nothing_of_the_environment_is_sent(
    server: ModelServer, make: Maker, wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "OPENAI_API_KEY",
        "OPENAI_ADMIN_KEY",
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "OLLAMA_API_KEY",
    ):
        monkeypatch.setenv(name, "of-the-environment")
    for name in ("OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS"):
        monkeypatch.setenv(name, "X-Custom: of-the-environment\nAuthorization: of-the-environment")
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "OLLAMA_HOST", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    await written(make(wire, "cite"))

    headers = dict(server.heard[-1].headers)

    assert "of-the-environment" not in str(headers)
    assert [value for value in headers.values() if KEY in value] == [KEY if wire == "anthropic" else f"Bearer {KEY}"]
    assert not any(name.startswith("x-stainless") for name in headers)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("name", ["cite", "key-refused", "cut", "html-502", "garbled"])
async def test_a_key_and_a_prompt_stand_in_no_log_and_no_error(
    make: Maker, wire: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    told = []
    with structlog.testing.capture_logs() as events:
        try:
            await written(make(wire, name, sleep=at_once))
        except ModelFailed as failed:
            told = [repr(failed), failed.detail, *traceback.format_exception(failed)]

    everything = "\n".join(chain(told, map(str, events), (record.getMessage() for record in caplog.records)))
    assert KEY not in everything
    assert "bridge" not in everything


async def test_of_a_bedrock_key_nothing_of_the_machine_is_used(server: ModelServer) -> None:
    account = Account("bedrock", server.url, Secret(KEY), is_ours=True)
    clients = Clients(Ways(never, LONG, region="eu-central-1").to)
    model = Remote(account, "cite", clients, Circuits().of(1, name=""), context_tokens=8_000, patience=LONG)
    try:
        assert (await written(model))[0] == "The bridge is 300 m long. [1]"
    finally:
        await clients.close()

    (heard,) = server.heard
    assert "AKIDTEST" not in str(heard.headers)
    assert heard.headers["authorization"] == f"Bearer {KEY}"


async def test_a_machine_whose_aws_configuration_is_wrong_has_no_credential(
    make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    assert (await failure(make("bedrock", "cite"))).code == "model_credential_missing"


# Clients


class FakeWire:
    def __init__(self) -> None:
        self.is_closed = False

    async def close(self) -> None:
        self.is_closed = True


async def test_clients_are_shared_bounded_and_closed() -> None:
    made: list[FakeWire] = []

    async def make_wire(_: Account) -> FakeWire:
        made.append(FakeWire())
        return made[-1]

    clients = Clients(make_wire, most=2)  # type: ignore[arg-type]
    accounts = [Account("openai", None, Secret(f"key {number}")) for number in range(5)]
    async with clients.using(accounts[0]) as first:
        for account in (*accounts, replace(accounts[0], secret=Secret("key 0"))):
            async with clients.using(account):
                pass
        assert id(first) == id(made[0])
        assert len(made) == 5
        assert [wire.is_closed for wire in made] == [False, True, True, True, False]
    await clients.close()
    assert all(wire.is_closed for wire in made)


IMPORTS = """
import asyncio, sys, types
import carrel.api.app
from carrel.ports.model import ModelWish
from carrel.wiring import Settings
from carrel.wiring.providers import providers

THEIRS = {"any_llm", "openai", "anthropic", "ollama", "httpx", "boto3", "botocore", "aiobotocore"}

async def choose():
    async with providers(Settings(_env_file=None), None) as found:
        assert not THEIRS & sys.modules.keys()
        print((await found.of(types.SimpleNamespace(tenant=None), ModelWish())).name)
        await found.prepare()

asyncio.run(choose())
print(*sorted(THEIRS & sys.modules.keys()))
"""


def imported(**settings: str) -> list[str]:
    """The model that writes, and what of providers' libraries is there when it is prepared."""
    environment = {**os.environ, **{f"CARREL_MODEL__{name}": value for name, value in settings.items()}}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], stdout=subprocess.PIPE, text=True, check=True, env=environment
    )
    return done.stdout.split()


def test_without_a_model_elsewhere_nothing_of_a_provider_is_imported() -> None:
    assert imported() == ["extractive"]


def test_the_deployments_own_model_is_prepared_before_anybody_asks() -> None:
    model, *libraries = imported(KIND="openai", MODEL="gpt-5-mini", BASE_URL="http://127.0.0.1:9/v1")

    assert model == "openai:gpt-5-mini"
    assert {"any_llm", "openai"} <= set(libraries)


async def test_a_model_that_cannot_be_prepared_fails_when_it_should_write(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    own = Own(Account("bedrock", server.url, None, is_ours=True, region="eu-central-1"), Offer("cite"))
    async with some_providers(server, own=own) as providers:
        await providers.prepare()

        assert (await failure(await providers.of(a_grant(), ModelWish()))).code == "model_credential_missing"
