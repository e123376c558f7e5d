"""The stream of events: what it says while the model is silent."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Message

from carrel.api.streaming import EventStream
from carrel.ask.answer import Delta
from carrel.ask.pipeline import Event
from carrel.domain.errors import Unauthenticated


async def played(stream: EventStream, *, seconds: float = 10) -> bytes:
    """All that is sent until the end, or until the client leaves after so many seconds."""
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(seconds)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await stream({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)
    assert sent[0]["type"] == "http.response.start"
    return b"".join(message["body"] for message in sent[1:])


async def test_a_comment_fills_the_silence_and_nothing_else() -> None:
    async def events() -> AsyncGenerator[Event]:
        for pause in (0.02, 0.02, 0.5):
            await asyncio.sleep(pause)
            yield Delta(f"after {pause}")

    said = await played(EventStream(Delta("first"), events(), silence=0.2))
    frames = said.decode().split("\n\n")
    assert [frame for frame in frames if frame.startswith(":")] == [": ping"] * 2
    assert [frame.partition("\n")[0] for frame in frames[:5]] == ["event: delta"] * 3 + [": ping"] * 2


async def test_a_client_that_leaves_in_a_silence_ends_the_work_at_once() -> None:
    left = asyncio.Event()

    async def events() -> AsyncGenerator[Event]:
        try:
            await asyncio.sleep(60)
            yield Delta("never")
        finally:
            left.set()

    before = asyncio.all_tasks()
    said = await asyncio.wait_for(played(EventStream(Delta("first"), events(), silence=0.1), seconds=0.35), 5)
    assert said.count(b": ping") == 3
    assert left.is_set()
    assert not [task for task in asyncio.all_tasks() - before if "_Line" in repr(task)]


async def test_who_may_no_longer_ask_sees_the_stream_end_with_the_reason() -> None:
    left, asked = asyncio.Event(), 0

    async def events() -> AsyncGenerator[Event]:
        try:
            yield Delta("second")
            await asyncio.Event().wait()
        finally:
            left.set()

    async def check() -> None:
        nonlocal asked
        asked += 1
        if asked > 2:
            raise Unauthenticated("Out.", code="tenant_inactive")

    before = asyncio.all_tasks()
    said = await asyncio.wait_for(played(EventStream(Delta("first"), events(), check=check, look=0.01)), 5)
    frames = said.decode().strip().split("\n\n")
    assert [frame.partition("\n")[0] for frame in frames] == ["event: delta", "event: delta", "event: error"]
    assert '"code":"tenant_inactive"' in frames[-1]
    assert left.is_set()
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("leaves", [False, True], ids=["read to the end", "left half-way"])
async def test_a_stream_that_is_looked_after_leaves_nobody_behind(*, leaves: bool) -> None:
    async def events() -> AsyncGenerator[Event]:
        yield Delta("second")
        await asyncio.sleep(60 if leaves else 0.02)

    async def check() -> None:
        pass

    before = asyncio.all_tasks()
    stream = EventStream(Delta("first"), events(), check=check, look=0.001)
    said = await asyncio.wait_for(played(stream, seconds=0.1 if leaves else 10), 5)
    assert said.count(b"event: delta") == 2
    assert asyncio.all_tasks() == before
