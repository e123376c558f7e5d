"""Where victims come from: one process that has imported everything forks them, so a kill costs no start of Python.

A victim is a process of its own, killed by the kernel as any other is, and shares nothing with the next. Messages are
JSON, one per packet: `{"fork": number, "role", "order"}`, for an API with its listening socket; answered by
`{"number", "pid"}` when it is forked, `{"number"}` when it is at work, `{"number", "status"}` when it has ended. The
first packet is an empty one: everything is imported.
"""

import asyncio
import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Literal, NoReturn

import uvloop

from support import crash_api, crash_walker, crash_worker
from support.fate import Order

Role = Literal["worker", "api", "walker"]

_PACKET: Final = 1 << 16
_TESTS: Final = Path(__file__).parents[1]


@dataclass(eq=False)
class Victim:
    """A process that was forked. `returncode` is as of `subprocess`: -9 for one that was killed.

    `took` is how many seconds passed until it was at work: how slow the machine is now.
    """

    pid: int = 0
    returncode: int | None = None
    took: float = 0.0
    _asked: float = field(default_factory=time.monotonic)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    _forked: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    def kill(self) -> None:
        """Unless it has ended before."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    async def forked(self) -> None:
        await self._forked.wait()

    def hear(self, said: dict[str, int]) -> None:
        match said:
            case {"pid": pid}:
                self.pid = pid
                self._forked.set()
            case {"status": status}:
                self.returncode = os.waitstatus_to_exitcode(status)
                self.ready.set()  # nobody waits for it any longer
                self._ended.set()
            case _:
                self.took = time.monotonic() - self._asked
                self.ready.set()


class Nursery:
    """The test's end. `a_nursery` makes one."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._victims: list[Victim] = []
        self._open = asyncio.Event()
        asyncio.get_running_loop().add_reader(control, self._hear)

    @asynccontextmanager
    async def victim(
        self, role: Role, order: object, *, listener: socket.socket | None = None
    ) -> AsyncIterator[Victim]:
        """Killed at the end, if it still lives. It is `ready` when it is at work, or has ended before."""
        victim, number = Victim(), len(self._victims)
        self._victims.append(victim)
        packet = json.dumps({"fork": number, "role": role, "order": asdict(order)}).encode()  # type: ignore[call-overload]
        socket.send_fds(self._control, [packet], [listener.fileno()] if listener else [])
        await victim.forked()
        try:
            yield victim
        finally:
            victim.kill()
            await victim.wait()

    async def opened(self) -> None:
        """When everything is imported."""
        await self._open.wait()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            packet = self._control.recv(_PACKET)
            self._open.set()
            if not packet:
                self._lose()
            elif said := json.loads(packet):
                self._victims[said.pop("number")].hear(said)

    def _lose(self) -> None:
        """The nursery has ended, and whoever it forked with it."""
        asyncio.get_running_loop().remove_reader(self._control)
        for victim in self._victims:
            if victim.returncode is None:
                victim.hear({"pid": victim.pid})
                victim.hear({"status": 1 << 8})


@asynccontextmanager
async def a_nursery(words: IO[bytes] | int = DEVNULL) -> AsyncIterator[Nursery]:
    """`words` gets what the victims say."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with theirs:
        process = await _started(theirs, words)
    nursery = Nursery(ours)
    try:
        await nursery.opened()
        yield nursery
    finally:
        nursery.close()
        await process.wait()


async def _started(control: socket.socket, words: IO[bytes] | int) -> Process:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # a thread would not live on in a fork
    command: Sequence[str] = (sys.executable, "-m", "support.nursery")
    return await asyncio.create_subprocess_exec(
        *command, cwd=_TESTS, env=environment, stdin=control.fileno(), stdout=words, stderr=words
    )


@dataclass(frozen=True)
class Forks:
    """The nursery's own end: who was forked and has not ended."""

    control: socket.socket
    alive: dict[int, int] = field(default_factory=dict)

    def run(self, woken: int) -> None:
        """Until the test is gone."""
        with suppress(ConnectionError):
            while self._turn(woken):
                self._reap()
        for process in self.alive:
            os.kill(process, signal.SIGKILL)

    def _turn(self, woken: int) -> bool:
        ready, _, _ = select.select([self.control.fileno(), woken], [], [])
        if woken in ready:
            with suppress(BlockingIOError):
                os.read(woken, _PACKET)
        return self.control.fileno() not in ready or self._obey()

    def _obey(self) -> bool:
        packet, descriptors, _, _ = socket.recv_fds(self.control, _PACKET, 1)
        if not packet:
            return False
        asked = json.loads(packet)
        _prepare(asked)
        if not (process := os.fork()):
            self._live(asked, descriptors)
        self.alive[process] = asked["fork"]
        self.say(number=asked["fork"], pid=process)
        for descriptor in descriptors:
            os.close(descriptor)
        return True

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self.say(number=self.alive.pop(ended[0]), status=ended[1])

    def _live(self, asked: dict[str, Any], descriptors: list[int]) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _act(asked, descriptors, lambda: self.say(number=asked["fork"]))
            code = 0
        except BaseException:  # noqa: BLE001 - nothing may return into the nursery
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)

    def say(self, **what: int) -> None:
        self.control.send(json.dumps(what).encode())


def _prepare(asked: dict[str, Any]) -> None:
    """What every victim would load again."""
    if asked["role"] != "walker":
        crash_worker.loaded(asked["order"]["models"])


def _act(asked: dict[str, Any], descriptors: list[int], tell: Callable[[], None]) -> None:
    random.seed()
    order = asked["order"]
    match asked["role"]:
        case "worker":
            asyncio.run(crash_worker.work(Order(**order), tell))
        case "api":
            uvloop.run(crash_api.answer(Order(**order), socket.socket(fileno=descriptors[0]), tell))
        case "walker":
            asyncio.run(crash_walker.work(crash_walker.Walk(**order)))


def main() -> None:
    for product in ("origins.bucket", "origins.folder", "origins.site", "web"):  # imported where they are needed
        importlib.import_module(f"carrel.adapters.{product}")
    control = socket.socket(fileno=os.dup(0))
    woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    gc.freeze()
    forks = Forks(control)
    forks.say()
    forks.run(woken)


if __name__ == "__main__":
    main()
