"""Load over HTTP from a process of its own: at fixed times (open loop), or by clients that wait (closed loop).

In an open loop a request has its time of arrival whether or not the former one is answered, and its latency counts
from that time: a server that stalls cannot hide the requests that nobody could send meanwhile.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import uvloop

from bench.percentiles import percentile

_PATIENCE: Final = 60.0  # seconds for one answer
_OK: Final = range(200, 300)


@dataclass(frozen=True, slots=True)
class Call:
    """One request; the calls of a run are made in turn, again and again."""

    path: str
    key: str
    body: dict[str, Any]
    method: str = "POST"

    def head_and_body(self, host: str) -> bytes:
        body = json.dumps(self.body).encode()
        head = (
            f"{self.method} {self.path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass(frozen=True, slots=True)
class Open:
    """`rate` requests in a second, evenly spaced; with a seed at random times, as people come (a Poisson process).

    Two evenly spaced loads would keep the phase that they happened to begin with: the same of their requests would
    meet, again and again.
    """

    rate: float
    seconds: float
    seed: int | None = None

    def arrivals(self) -> list[float]:
        """In seconds from the beginning, `rate * seconds` of them."""
        number = round(self.rate * self.seconds)
        if self.seed is None:
            return [one / self.rate for one in range(number)]
        drawn = random.Random(self.seed)  # noqa: S311 - times, not secrets
        return sorted(drawn.uniform(0.0, self.seconds) for _ in range(number))


@dataclass(frozen=True, slots=True)
class Closed:
    """So many clients, each asking as soon as it is answered."""

    clients: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """Latencies of good answers in milliseconds, in the order of their ends; `errors` by reason."""

    latencies: tuple[float, ...]
    errors: dict[str, int]
    seconds: float

    def at(self, percent: float) -> float:
        """The latency in milliseconds that so many percent do not exceed. Raises ValueError without answers."""
        return percentile(self.latencies, percent)

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    @property
    def sentence(self) -> str:
        return f"p50 {self.at(50):.1f}, p95 {self.at(95):.1f}, p99 {self.at(99):.1f} ms"


class DriverError(Exception):
    """The process that makes the load ended by itself."""


async def drive(url: str, calls: Sequence[Call], load: Open | Closed) -> Outcome:
    """In another process, whose processor time is not the server's. Raises DriverError."""
    order = {"url": url, "calls": [asdict(call) for call in calls], type(load).__name__.lower(): asdict(load)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.openloop", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate(json.dumps(order).encode())
    if process.returncode:
        raise DriverError(f"The load generator ended with code {process.returncode}.")
    found = json.loads(said)
    return Outcome(tuple(found["latencies"]), found["errors"], found["seconds"])


@dataclass(slots=True)
class _Tally:
    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    async def note(self, asked: Awaitable[int], since: float) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                status = await asked
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            self.errors[type(error).__name__] += 1
            return
        if status in _OK:
            self.latencies.append((time.perf_counter() - since) * 1000)
        else:
            self.errors[str(status)] += 1


class _Door:
    """Kept-alive connections to one server, as many as are used at once."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host = f"{parts.hostname}:{parts.port}"
        self._place = parts.hostname, parts.port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, request: bytes) -> int:
        async with self._connection() as (reader, writer):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_length(head))
            return int(head[9:12])

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        pair = self._idle() or await asyncio.open_connection(*self._place)
        try:
            yield pair
        except BaseException:
            pair[1].close()
            raise
        self._free.append(pair)

    def _idle(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """One that the server has not closed meanwhile: it does not keep what nobody uses."""
        while self._free:
            reader, writer = self._free.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None

    async def close(self) -> None:
        for _, writer in self._free:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def _open(load: Open, ask: Callable[[int], Awaitable[int]], tally: _Tally) -> None:
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number, arrival in enumerate(load.arrivals()):
            due = began + arrival
            await asyncio.sleep(due - time.perf_counter())
            group.create_task(tally.note(ask(number), due))


async def _closed(load: Closed, ask: Callable[[int], Awaitable[int]], tally: _Tally) -> None:
    end = time.perf_counter() + load.seconds

    async def client(first: int) -> None:
        number = first
        while (now := time.perf_counter()) < end:
            await tally.note(ask(number), now)
            number += load.clients

    async with asyncio.TaskGroup() as group:
        for first in range(load.clients):
            group.create_task(client(first))


async def _run(order: dict[str, Any]) -> dict[str, Any]:
    door, tally = _Door(order["url"]), _Tally()
    requests = [Call(**call).head_and_body(door.host) for call in order["calls"]]

    async def ask(number: int) -> int:
        return await door.ask(requests[number % len(requests)])

    began = time.perf_counter()
    if "open" in order:
        await _open(Open(**order["open"]), ask, tally)
    else:
        await _closed(Closed(**order["closed"]), ask, tally)
    seconds = time.perf_counter() - began
    await door.close()
    return {"latencies": tally.latencies, "errors": tally.errors, "seconds": seconds}


def main() -> None:
    found = uvloop.run(_run(json.loads(sys.stdin.buffer.read())))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
