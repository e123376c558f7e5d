"""The door on a real socket: limits, signals, and clients that leave."""

import asyncio
import gc
import json
import os
import signal
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace

import httpx2
import pytest

from api.callers import Caller, CallerMaker
from carrel.adapters.models.single import OnlyModel
from carrel.api.app import create_app
from carrel.api.server import BoundedProtocol, Patience, serve
from carrel.domain.answers import Usage
from carrel.ports.model import Draft, Prompt
from carrel.wiring import Application, assemble
from support.doors import serving
from support.stand import Stand

MB = 1024 * 1024


@pytest.fixture
async def address(carrel: Stand) -> AsyncIterator[tuple[str, int]]:
    async with serving(create_app(lambda: nullcontext(carrel.app))) as found:
        yield found


@pytest.fixture
async def far(address: tuple[str, int], owner: Caller) -> AsyncIterator[Caller]:
    """The owner, over TCP."""
    host, port = address
    async with httpx2.AsyncClient(base_url=f"http://{host}:{port}", timeout=30) as client:
        yield Caller(client, owner.key, owner.tenant)


async def raw(address: tuple[str, int], sent: bytes) -> bytes:
    """All that comes back until the connection ends."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(sent)
    try:
        return await asyncio.wait_for(reader.read(), 30)
    except ConnectionResetError:  # it did not even read to the end
        return b""
    finally:
        writer.close()


async def test_it_serves_and_says_nothing_of_itself(far: Caller) -> None:
    answer = await far("GET", "/health/live")
    assert answer.json() == {"status": "live"}
    assert "server" not in answer.headers


async def test_the_body_of_an_answer_does_not_wait_until_its_head_was_acknowledged(far: Caller) -> None:
    await far("GET", "/health/live")
    protocols = [one for one in gc.get_objects() if isinstance(one, BoundedProtocol) and not one.transport.is_closing()]
    sockets = [one.transport.get_extra_info("socket") for one in protocols]
    assert sockets
    assert all(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in sockets)


async def test_a_body_that_is_too_large_gets_its_answer(far: Caller) -> None:
    answer = await far("POST", "/v1/search", json={"query": "x" * (2 * MB)})
    assert answer.status_code == 413
    put = await far("PUT", f"/v1/sources/{await far.source()}/documents/a.txt", content=b"x" * (51 * MB))
    assert put.status_code == 413
    assert (await far("GET", "/v1/sources")).status_code == 200


async def test_a_key_is_utf_8(far: Caller) -> None:
    path = f"/v1/sources/{await far.source()}/documents"
    refused = await far("PUT", f"{path}/caf%E9.txt", content=b"x")
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_key")
    for name in ("caf%C3%A9.txt", "%ef%bf%bd.txt"):
        assert (await far("PUT", f"{path}/{name}", content=b"x")).status_code == 202


async def test_who_may_not_gets_the_answer_before_the_body_is_sent(far: Caller, address: tuple[str, int]) -> None:
    head = b"POST /v1/sources/x/documents HTTP/1.1\r\nHost: x\r\nContent-Length: 500000000\r\n\r\n"
    reader, writer = await asyncio.open_connection(*address)
    writer.write(head)
    assert (await asyncio.wait_for(reader.readline(), 30)).startswith(b"HTTP/1.1 401")
    writer.close()


async def test_a_head_without_end_is_cut_off(address: tuple[str, int]) -> None:
    for head in (b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000, b"GET /" + b"a" * 200_000):
        received = await raw(address, head)
        assert not received or received.startswith(b"HTTP/1.1 400")


async def test_two_requests_of_one_connection_both_have_room_for_their_heads(far: Caller) -> None:
    for _ in range(3):
        answer = await far("GET", "/v1/sources", headers={"X-Long": "a" * 40_000})
        assert answer.status_code == 200


@pytest.fixture
async def hurried(carrel: Stand) -> AsyncIterator[tuple[str, int]]:
    """Heads have a third of a second, and so have the gaps in a body."""
    app = create_app(lambda: nullcontext(carrel.app))
    async with serving(app, Patience(head=0.3, body=0.3)) as found:
        yield found


LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n", LIVE + b"\r\n", LIVE + b"GET /"])
async def test_who_does_not_end_a_head_is_shut_out_soon(hurried: tuple[str, int], sent: bytes) -> None:
    reader, writer = await asyncio.open_connection(*hurried)
    for piece in (sent[:-2], sent[-2:]):
        writer.write(piece)
        await asyncio.sleep(0.1)
    received = await asyncio.wait_for(reader.read(), 8)
    assert received.startswith(b"HTTP/1.1 200") if sent.startswith(LIVE) else not received
    writer.close()


async def test_a_head_that_drips_has_no_more_time(hurried: tuple[str, int]) -> None:
    reader, writer = await asyncio.open_connection(*hurried)
    dripping = asyncio.create_task(_drip(writer, b"GET / HTTP/1.1\r\nX: " + b"a" * 100))
    assert await asyncio.wait_for(reader.read(), 8) == b""
    dripping.cancel()
    writer.close()


async def _drip(writer: asyncio.StreamWriter, text: bytes) -> None:
    for number in range(len(text)):
        writer.write(text[number : number + 1])
        await asyncio.sleep(0.1)


async def test_a_body_that_stops_is_broken_off_and_a_slow_one_is_not(hurried: tuple[str, int], owner: Caller) -> None:
    head = (
        f"POST /v1/search HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {owner.key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 15\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(*hurried)
    writer.write(head.encode())
    await _drip(writer, b'{"query": "xy"}')
    assert (await asyncio.wait_for(reader.readline(), 8)).startswith(b"HTTP/1.1 200")
    writer.close()
    assert await asyncio.wait_for(raw(hurried, head.encode() + b'{"query"'), 8) == b""


async def test_an_upload_that_breaks_off_leaves_nothing(far: Caller, address: tuple[str, int], owner: Caller) -> None:
    source = await owner.source()
    head = (
        f"PUT /v1/sources/{source}/documents/a.txt HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {owner.key}\r\n"
        "Content-Length: 1000000\r\n\r\n"
    )
    _, writer = await asyncio.open_connection(*address)
    writer.write(head.encode() + b"x" * 1000)
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.close()
    await asyncio.sleep(0.2)
    assert (await owner("GET", f"/v1/documents?source_id={source}")).json()["items"] == []


class _Slow:
    """A model that says a word, and the rest when it may."""

    name = "slow"
    follows_instructions = False
    context_tokens = 8_000

    def __init__(self) -> None:
        self.go, self.left = asyncio.Event(), asyncio.Event()

    async def write(self, prompt: Prompt) -> AsyncGenerator[Draft]:  # noqa: ARG002 - the port names it
        try:
            yield Draft("Boats")
            await self.go.wait()
            yield Draft(" float [1].", Usage(5, 7, self.name))
        finally:
            self.left.set()


@asynccontextmanager
async def a_slow_carrel(
    carrel: Stand, a_caller: CallerMaker
) -> AsyncIterator[tuple[_Slow, Application, Caller, httpx2.AsyncClient]]:
    """With a document, and a client whose connections can be broken off."""
    owner, model = await a_caller(), _Slow()
    await owner.put(await owner.source(), "boats.md", "# Boats\n\nBoats float on water.")
    app = assemble(replace(carrel.parts, models=OnlyModel(model)))
    async with (
        serving(create_app(lambda: nullcontext(app))) as (host, port),
        httpx2.AsyncClient(base_url=f"http://{host}:{port}", timeout=30) as client,
    ):
        yield model, app, Caller(client, owner.key), client


async def test_what_models_need_is_prepared_while_it_runs_already(carrel: Stand) -> None:
    class Models(OnlyModel):
        prepared, may_end = asyncio.Event(), asyncio.Event()

        async def prepare(self) -> None:
            self.prepared.set()
            await self.may_end.wait()

    models = Models(_Slow())
    app = assemble(replace(carrel.parts, models=models))
    async with (
        serving(create_app(lambda: nullcontext(app))) as (host, port),
        httpx2.AsyncClient(base_url=f"http://{host}:{port}", timeout=30) as client,
    ):
        await models.prepared.wait()
        assert (await client.get("/health/live")).status_code == 200


async def left_after_a_word(client: httpx2.AsyncClient, key: str | None) -> None:
    body = {"message": "Do boats float on water?", "stream": True}
    async with client.stream("POST", "/v1/chat", json=body, headers={"Authorization": f"Bearer {key}"}) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data:") and "text" in json.loads(line[5:]):
                return


async def test_a_client_that_leaves_finds_its_answer_in_the_chat(carrel: Stand, a_caller: CallerMaker) -> None:
    async with a_slow_carrel(carrel, a_caller) as (model, app, far, client):
        await left_after_a_word(client, far.key)
        async with asyncio.timeout(120):
            while not app.turns.unread:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)
        assert not model.left.is_set()
        model.go.set()
        await app.turns.drain(20)
        (chat,) = (await far("GET", "/v1/chats")).json()["items"]
        (message,) = (await far("GET", f"/v1/chats/{chat['id']}/messages")).json()["items"]
    assert (message["answer"], message["status"]) == ("Boats float [1].", "answered")


async def test_a_server_that_stops_finishes_what_nobody_reads_any_more(carrel: Stand, a_caller: CallerMaker) -> None:
    async with a_slow_carrel(carrel, a_caller) as (model, app, far, client):
        await left_after_a_word(client, far.key)
        asyncio.get_running_loop().call_later(1.5, model.go.set)
    assert (model.left.is_set(), app.turns.unread) == (True, 0)
    who = await app.principals.authenticate(far.key or "")
    (chat,) = (await app.chats.listed(who)).items
    assert [message.answer for message in (await app.chats.messages(who, chat.id)).items] == ["Boats float [1]."]


async def test_a_signal_stops_it_after_the_requests_that_run(carrel: Stand, owner: Caller) -> None:
    listener, stop, ready = socket.create_server(("127.0.0.1", 0)), asyncio.Event(), asyncio.Event()
    app = create_app(lambda: nullcontext(carrel.app))
    running = asyncio.create_task(serve(app, listener, stop=stop, ready=ready.set))
    await ready.wait()
    host, port = listener.getsockname()
    async with httpx2.AsyncClient(base_url=f"http://{host}:{port}", timeout=30) as client:
        far = Caller(client, owner.key)
        source = await far.source()
        put = asyncio.create_task(far("PUT", f"/v1/sources/{source}/documents/a.txt?wait=true", content=b"Boats."))
        await asyncio.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)
        assert (await put).status_code == 201
    await asyncio.wait_for(running, 30)
    assert stop.is_set()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((host, port), timeout=1)


async def test_at_the_end_a_kept_connection_is_answered_once_more_and_then_nobody_is_let_in(carrel: Stand) -> None:
    listener, stop, ready = socket.create_server(("127.0.0.1", 0)), asyncio.Event(), asyncio.Event()
    app = create_app(lambda: nullcontext(carrel.app))
    running = asyncio.create_task(serve(app, listener, stop=stop, ready=ready.set))
    await ready.wait()
    host, port = listener.getsockname()
    async with httpx2.AsyncClient(base_url=f"http://{host}:{port}", timeout=30) as client:
        before = await client.get("/health/live")
        stop.set()
        await asyncio.sleep(0.3)
        last = await client.get("/health/live")
    await asyncio.wait_for(running, 30)

    assert "connection" not in before.headers
    assert (last.status_code, last.headers["connection"]) == (200, "close")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((host, port), timeout=1)
