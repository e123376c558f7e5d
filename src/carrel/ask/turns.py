"""Turns that run: each answer in the making is a task of its own, so that whoever reads it may leave without ending it.

A turn that nobody reads any more is finished and kept, and can be read again. There are only so many of these; beyond
that number a turn ends with its reader. What the asker is refused meanwhile ends a turn in any case, at once.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

import structlog

from carrel.ask.answer import Delta
from carrel.ask.pipeline import Event
from carrel.domain.errors import Refusal, Unavailable

log = structlog.get_logger(__name__)

Check = Callable[[], Awaitable[object]]

_LOOK: Final = 4.0
_MOST_UNREAD: Final = 100
_GRACE: Final = 8.0  # seconds; the supervisor gives an API process 40, of which its requests have 30


class RunningTurns:
    """Those of this process. `most` is how many may go on that nobody reads."""

    def __init__(self, *, most: int = _MOST_UNREAD) -> None:
        self._most = most
        self._running: set[_Turn] = set()

    @property
    def unread(self) -> int:
        """How many go on that nobody reads."""
        return sum(turn.is_unread for turn in self._running)

    def begin(
        self, events: AsyncGenerator[Event], *, check: Check | None = None, look: float = _LOOK
    ) -> AsyncGenerator[Event]:
        """The events as they come; those that wait come together, and texts that follow each other as one.

        `check` is asked every `look` seconds, also when nobody reads; what it raises ends the turn. Raises what it
        raises, and what `events` raises. The turn starts when the first event is asked for.
        """
        return self._read(_Turn(events, check, look))

    async def drain(self, grace: float = _GRACE) -> None:
        """Waits for what still runs, and ends what takes longer. Nothing may begin after this."""
        tasks = {turn.task for turn in self._running if turn.task is not None}
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=grace)
        if late:
            log.warning("turns.ended", count=len(late))
            for task in late:
                task.cancel()
            await asyncio.wait(late)

    async def _read(self, turn: "_Turn") -> AsyncGenerator[Event]:
        self._running.add(turn)
        turn.start(done=self._running.discard)
        try:
            while (waiting := await turn.waiting()) is not None:
                for event in _joined(waiting):
                    yield event
        finally:
            turn.is_unread = not turn.has_ended
            if self.unread > self._most:
                turn.stop()
            if turn.is_stopped or turn.is_whole:
                await turn.gone()


class _Turn:
    """One task that brings events, and a line in which they wait for their reader."""

    def __init__(self, events: AsyncGenerator[Event], check: Check | None, look: float) -> None:
        self._events = events
        self._check = check
        self._look = look
        self._line: list[Event] = []
        self._news = asyncio.Event()
        self._failure: Exception | None = None
        self._gone = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.has_ended = False
        self.is_unread = False
        self.is_stopped = False

    def start(self, *, done: Callable[["_Turn"], None]) -> None:
        def settle(_: object) -> None:
            done(self)
            self._gone.set()

        self.task = asyncio.create_task(self._run())
        self.task.add_done_callback(settle)

    def stop(self) -> None:
        self.is_stopped = True
        if self.task is not None:
            self.task.cancel()

    @property
    def is_whole(self) -> bool:
        return self.has_ended and self._failure is None

    async def gone(self) -> None:
        """Until the task has put everything in order."""
        await self._gone.wait()

    async def waiting(self) -> list[Event] | None:
        """What has come since, once there is any; None at the end. Raises what ended the turn."""
        while not self._line:
            if self.has_ended:
                if self._failure is not None:
                    raise self._failure
                return None
            self._news.clear()
            await self._news.wait()
        waiting, self._line = self._line, []
        return waiting

    async def _run(self) -> None:
        async with _looking(self._check, self._look, self._refused):
            try:
                async with aclosing(self._events) as events:
                    async for event in events:
                        if not self.is_unread:
                            self._line.append(event)
                            self._news.set()
                self._end()
            except asyncio.CancelledError:
                self._end(Unavailable("The answer was ended."))
            except Exception as failure:  # its reader raises it, or nobody would hear of it
                if self.is_unread and not isinstance(failure, Refusal):
                    log.exception("turn.failed")
                self._end(failure)

    def _refused(self, failure: Exception) -> None:
        """Nothing more is read, not even what waits; and its reader hears of it before everything is in order.

        An answer that is whole already stays so: the check that it ended may fail by that very end.
        """
        if self.has_ended:
            return
        self._line.clear()
        self._end(failure)
        if self.task is not None:
            self.task.cancel()

    def _end(self, failure: Exception | None = None) -> None:
        if not self.has_ended:
            self.has_ended, self._failure = True, failure
            self._news.set()


@asynccontextmanager
async def _looking(check: Check | None, look: float, refused: Callable[[Exception], None]) -> AsyncIterator[None]:
    async def keep_looking(check: Check) -> None:
        try:
            while True:
                await asyncio.sleep(look)
                await check()
        except Exception as failure:  # noqa: BLE001 - whatever it is: who cannot be looked up is not admitted
            refused(failure)

    if check is None:
        yield
        return
    task = asyncio.create_task(keep_looking(check))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def _joined(events: Iterable[Event]) -> Iterator[Event]:
    texts: list[str] = []
    for event in events:
        if isinstance(event, Delta):
            texts.append(event.text)
            continue
        if texts:
            yield Delta("".join(texts))
            texts = []
        yield event
    if texts:
        yield Delta("".join(texts))
