"""The stream of events: what it says while the model is silent, and what happens when its reader leaves."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from carrel.api.openai.chat import _Line
from carrel.api.openai.chat_shapes import CompletionChunk
from carrel.api.streaming import EventStream, _event
from carrel.ask.answer import Delta
from carrel.ask.pipeline import Event, Evidence
from carrel.ask.turns import RunningTurns
from carrel.domain.errors import Unauthenticated, Unavailable

_ALONE = pytest.mark.asyncio(loop_scope="function")  # A loop in which no fixture's tasks come and go.


async def played(stream: EventStream[Event], *, leave: asyncio.Event | None = None) -> bytes:
    """All that is sent until the end, or until the client leaves."""
    sent: list[Message] = []
    never = asyncio.Event()

    async def receive() -> Message:
        await (leave or never).wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async with asyncio.timeout(120):
        await stream({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)
    assert sent[0]["type"] == "http.response.start"
    return b"".join(message["body"] for message in sent[1:])


def frames(said: bytes) -> list[str]:
    return [frame.partition("\n")[0] for frame in said.decode().strip().split("\n\n")]


class Work:
    """Says a word, and then waits for `go`; `left` is set when it ends in any way, `whole` when it came to its end."""

    def __init__(self) -> None:
        self.go, self.left = asyncio.Event(), asyncio.Event()
        self.whole = False

    async def events(self) -> AsyncGenerator[Event]:
        try:
            yield Delta("second")
            await self.go.wait()
            yield Delta("third")
            self.whole = True
        finally:
            self.left.set()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(120):
        while not true():  # noqa: ASYNC110 - what the tests wait for has no event
            await asyncio.sleep(0.005)


async def test_a_comment_fills_the_silence_and_nothing_else() -> None:
    pause = asyncio.Event()

    async def events() -> AsyncGenerator[Event]:
        yield Delta("second")
        await pause.wait()
        yield Delta("third")

    sent: list[bytes] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))
        if sent.count(b": ping\n\n") == 2:
            pause.set()

    stream = EventStream(Delta("first"), events(), silence=0.05)
    async with asyncio.timeout(120):
        await stream({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)
    kinds = frames(b"".join(sent))
    assert kinds[:2] == ["event: delta"] * 2
    assert kinds[2:4] == [": ping"] * 2
    assert kinds[-1] == "event: delta"


async def test_a_reader_that_leaves_does_not_end_the_work() -> None:
    turns, work, leave = RunningTurns(), Work(), asyncio.Event()
    reading = asyncio.create_task(played(await EventStream.begin(turns.begin(work.events())), leave=leave))
    await asyncio.sleep(0)
    leave.set()
    assert frames(await reading) == ["event: delta"]
    assert (turns.unread, work.left.is_set()) == (1, False)
    work.go.set()
    await turns.drain()
    assert (turns.unread, work.whole) == (0, True)


async def test_only_so_many_go_on_that_nobody_reads() -> None:
    turns, works = RunningTurns(most=2), [Work() for _ in range(4)]
    for work in works:
        events = turns.begin(work.events())
        await anext(events)
        await events.aclose()
    assert [work.left.is_set() for work in works] == [False, False, True, True]
    assert turns.unread == 2
    for work in works:
        work.go.set()
    await turns.drain()
    assert [work.whole for work in works] == [True, True, False, False]


async def test_at_the_end_what_takes_too_long_is_ended_and_its_reader_told() -> None:
    turns, work = RunningTurns(), Work()
    events = turns.begin(work.events())
    assert await anext(events) == Delta("second")
    await turns.drain(0.01)
    assert (work.left.is_set(), work.whole) == (True, False)
    with pytest.raises(Unavailable):
        await anext(events)


@_ALONE
async def test_who_may_no_longer_ask_sees_the_stream_end_with_the_reason() -> None:
    turns, work, asked = RunningTurns(), Work(), 0

    async def check() -> None:
        nonlocal asked
        asked += 1
        if asked > 2:
            raise Unauthenticated("Out.", code="tenant_inactive")

    before = asyncio.all_tasks()
    said = await played(await EventStream.begin(turns.begin(work.events(), check=check, look=0.01)))
    assert frames(said) == ["event: delta", "event: error"]
    assert b'"code":"tenant_inactive"' in said
    await turns.drain()
    assert (work.left.is_set(), work.whole) == (True, False)
    assert asyncio.all_tasks() == before


async def test_who_may_no_longer_ask_does_not_have_it_finished_behind_their_back() -> None:
    turns, work, out = RunningTurns(), Work(), asyncio.Event()

    async def check() -> None:
        if out.is_set():
            raise Unauthenticated("Out.", code="tenant_inactive")

    events = turns.begin(work.events(), check=check, look=0.01)
    await anext(events)
    await events.aclose()
    assert turns.unread == 1
    out.set()
    await asyncio.wait_for(work.left.wait(), 20)
    await turns.drain()
    assert not work.whole


async def test_a_check_that_fails_because_the_answer_has_ended_takes_nothing_of_it_away() -> None:
    turns, work, looking = RunningTurns(), Work(), asyncio.Event()

    async def check() -> None:
        looking.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise Unavailable("Ended while it looked.") from None

    events = turns.begin(work.events(), check=check, look=0)
    assert await anext(events) == Delta("second")
    await looking.wait()
    work.go.set()
    await turns.drain()
    assert [event async for event in events] == [Delta("third")]


@_ALONE
@pytest.mark.parametrize("leaves", [False, True], ids=["read to the end", "left half-way"])
async def test_a_stream_that_is_looked_after_leaves_nobody_behind(*, leaves: bool) -> None:
    async def check() -> None:
        pass

    turns, work, leave = RunningTurns(), Work(), asyncio.Event()
    before = asyncio.all_tasks()
    stream = await EventStream.begin(turns.begin(work.events(), check=check, look=0.001))
    reading = asyncio.create_task(played(stream, leave=leave))
    await asyncio.sleep(0.02)
    (leave if leaves else work.go).set()
    said = await reading
    work.go.set()
    await turns.drain()
    assert frames(said) == ["event: delta"] * (1 if leaves else 2)
    assert asyncio.all_tasks() == before


async def test_what_goes_wrong_reaches_the_reader_after_what_was_said() -> None:
    async def events() -> AsyncGenerator[Event]:
        yield Evidence(())
        yield Delta("a word")
        raise Unavailable("gone")

    read = RunningTurns().begin(events())
    assert [await anext(read), await anext(read)] == [Evidence(()), Delta("a word")]
    with pytest.raises(Unavailable, match="gone"):
        await anext(read)


async def test_words_that_wait_come_as_one_piece() -> None:
    """A reader that is slow, or a machine that is busy, gets fewer frames and every letter."""

    async def events() -> AsyncGenerator[Event]:
        yield Evidence(())
        for n in range(100):
            yield Delta(f"{n} ")
        yield Evidence(())

    read = [event async for event in RunningTurns().begin(events())]
    texts = [event.text for event in read if isinstance(event, Delta)]
    assert len(texts) < 5
    assert "".join(texts) == "".join(f"{n} " for n in range(100))
    assert isinstance(read[0], Evidence)
    assert isinstance(read[-1], Evidence)


@given(st.text())
def test_a_delta_is_one_line_of_json(text: str) -> None:
    """Surrogates apart, which no text of ours holds."""
    clean = text.encode("utf-8", "ignore").decode()
    frame = _event(Delta(clean)).decode()
    event, data, *rest = frame.split("\n")
    assert (event, rest) == ("event: delta", ["", ""])
    assert "\r" not in frame
    assert json.loads(data.removeprefix("data: ")) == {"text": clean}


@given(st.text(), st.text())
def test_a_piece_of_a_completion_is_one_line_of_json(text: str, model: str) -> None:
    """Written by hand, and as the schema says."""
    clean, name = (one.encode("utf-8", "ignore").decode() for one in (text, model.replace("\x00", "")))
    (frame,) = _Line(name, tells_usage=True)._event(Delta(clean))
    assert "\n" not in frame.decode().removesuffix("\n\n")
    chunk = CompletionChunk.model_validate_json(frame.removeprefix(b"data: "))
    assert (chunk.model, [choice.delta.content for choice in chunk.choices]) == (name, [clean])
