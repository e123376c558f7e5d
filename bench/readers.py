"""People who read streamed answers, each on a connection of its own, in a process of their own.

A reader asks, reads to the end and asks again. The first ask of each comes at its own moment of the time that one
answer takes, so that answers do not begin together; what began before all are under way is read and not measured.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, cast
from urllib.parse import urlsplit

import uvloop

from bench.openloop import Call, DriverError
from bench.percentiles import percentile

_PATIENCE: Final = 60.0  # seconds for one answer
_KEPT: Final = 256  # bytes of what came before: a mark may come in two pieces
_END: Final = b"0\r\n\r\n"
_OK: Final = "200"


@dataclass(frozen=True, slots=True)
class Signs:
    """How the first token and a good end look on the wire."""

    first: str
    good: str


@dataclass(frozen=True, slots=True)
class Reading:
    """So many at once, for so long; `answer` is about how many seconds an answer takes."""

    readers: int
    seconds: float
    answer: float


@dataclass(frozen=True, slots=True)
class Read:
    """Of the answers that were measured: milliseconds to the first token, and to the end.

    `answers` are all good ones, `errors` all others by reason, in the time before the measurement too.
    """

    first: tuple[float, ...]
    whole: tuple[float, ...]
    answers: int
    errors: dict[str, int]

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    def at(self, percent: float) -> float:
        """Milliseconds to the first token that so many percent do not exceed. Raises ValueError without answers."""
        return percentile(self.first, percent)


async def read(url: str, calls: Sequence[Call], signs: Signs, reading: Reading) -> Read:
    """Raises DriverError."""
    order = {"url": url, "calls": [asdict(call) for call in calls], "signs": asdict(signs), "reading": asdict(reading)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.readers", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate(json.dumps(order).encode())
    if process.returncode:
        raise DriverError(f"The readers ended with code {process.returncode}.")
    found = json.loads(said)
    return Read(tuple(found["first"]), tuple(found["whole"]), found["answers"], found["errors"])


class _Line(asyncio.Protocol):
    """One connection, one answer at a time. A chunked body ends with its empty chunk."""

    def __init__(self, signs: Signs) -> None:
        self._first, self._good = signs.first.encode(), signs.good.encode()
        self._tail = b""
        self.first: float | None = None
        self.is_good = False
        self.status = ""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes) -> None:
        self._tail, self.first, self.is_good, self.status = b"", None, False, ""
        self.ended = asyncio.get_running_loop().create_future()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if not self.status:
            self.status = data[9:12].decode()
        seen = self._tail + data
        if self.first is None and self._first in seen:
            self.first = time.perf_counter()
        self.is_good = self.is_good or self._good in seen
        self._tail = seen[-_KEPT:]
        if (seen.endswith(_END) or self.status != _OK) and not self.ended.done():
            self.ended.set_result(None)

    def connection_lost(self, _: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(ConnectionResetError())

    def close(self) -> None:
        self._transport.close()


@dataclass(slots=True)
class _Tally:
    since: float
    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    answers: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def note(self, asked: float, line: _Line) -> None:
        if not line.is_good or line.first is None:
            self.errors["not answered" if line.status == _OK else f"status {line.status}"] += 1
            return
        self.answers += 1
        if asked >= self.since:
            self.first.append((line.first - asked) * 1000)
            self.whole.append((time.perf_counter() - asked) * 1000)


class _Crowd:
    def __init__(self, order: dict[str, Any]) -> None:
        self._place = urlsplit(order["url"])
        self._requests = [Call(**call).head_and_body(self._place.netloc) for call in order["calls"]]
        self._signs = Signs(**order["signs"])
        self._reading = Reading(**order["reading"])
        self._began = time.perf_counter()
        self.tally = _Tally(self._began + self._reading.answer)

    async def live(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self._reading.readers):
                group.create_task(self._reader(number))

    async def _reader(self, number: int) -> None:
        await asyncio.sleep(self._reading.answer * number / self._reading.readers)
        line = await self._line()
        while time.perf_counter() < self._began + self._reading.answer + self._reading.seconds:
            asked = time.perf_counter()
            try:
                line.ask(self._requests[number % len(self._requests)])
                async with asyncio.timeout(_PATIENCE):
                    await line.ended
            except (OSError, TimeoutError) as error:
                self.tally.errors[type(error).__name__] += 1
                line.close()
                line = await self._line()
            else:
                self.tally.note(asked, line)
            number += self._reading.readers
        line.ended.cancel()
        line.close()

    async def _line(self) -> _Line:
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(lambda: _Line(self._signs), self._place.hostname, self._place.port)
        return line


async def _run(order: dict[str, Any]) -> dict[str, Any]:
    crowd = _Crowd(order)
    await crowd.live()
    tally = crowd.tally
    return {"first": tally.first, "whole": tally.whole, "answers": tally.answers, "errors": dict(tally.errors)}


def main() -> None:
    found = uvloop.run(_run(json.loads(sys.stdin.buffer.read())))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
