"""The server's end of a zygote: starts it, hands documents over, hears how they ended."""

import asyncio
import json
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carrel.adapters.parsers.wire import PACKET
from carrel.domain.errors import Unavailable

_START_SECONDS = 20.0
_STOP_SECONDS = 5.0
_ROOT = Path(__file__).parents[3]  # the folder that holds `carrel`; `python -I` looks only where it was installed
_BOOT = "import sys; sys.path.extend(sys.argv[2:]); from carrel.adapters.parsers.zygote import main; main(sys.argv[1])"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a fork ended: the status as `waitpid` gives it, and the most memory that it held, in bytes."""

    status: int
    peak: int


class ZygoteProcess:
    """Made by `start`. `alive` turns false for good when the process ends; waiting documents then get Unavailable."""

    def __init__(self, process: Process, control: socket.socket) -> None:
        self.alive = True
        self.pid = process.pid
        self.walls: tuple[tuple[bool, str], ...] = ()
        self._process = process
        self._control = control
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Ended]] = {}
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def start(cls, config: Mapping[str, Any], *, paths: Sequence[Path] = ()) -> "ZygoteProcess":
        """Raises Unavailable with the reason."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs, ExitStack() as undo:
            undo.callback(ours.close)
            process = await _spawned(config, theirs, paths)
            undo.pop_all()
        zygote = cls(process, ours)
        await zygote._prepare()
        return zygote

    async def _prepare(self) -> None:
        asyncio.get_running_loop().add_reader(self._control, self._hear)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._ready
        except TimeoutError as error:
            raise Unavailable("The parser does not start.") from error
        finally:
            if not self.walls:
                await self.close()

    def fork(self, source: int, sink: int, *, media_type: str, key: str) -> tuple[int, "asyncio.Future[Ended]"]:
        """Starts a parser that reads `source` and writes `sink`; both stay the caller's to close."""
        self._number += 1
        packet = json.dumps({"parse": self._number, "type": media_type, "key": key}).encode()
        try:
            socket.send_fds(self._control, [packet], [source, sink])
        except OSError as error:
            raise Unavailable("The parser does not answer.") from error
        ended = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = ended
        return self._number, ended

    def forget(self, number: int) -> None:
        """Kills the parser if it still lives, and with it whatever it started."""
        ended = self._waiting.pop(number, None)
        if ended and not ended.done() and self.alive:
            with suppress(OSError):
                self._control.send(json.dumps({"kill": number}).encode())

    async def close(self) -> None:
        """Returns when the process and all its forks are gone."""
        self._lose()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def _hear(self) -> None:
        try:
            packet = self._control.recv(PACKET)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._lose()
            return
        match json.loads(packet):
            case {"ready": list(walls)}:
                self.walls = tuple((bool(stands), str(sentence)) for stands, sentence in walls)
                self._ready.set_result(None)
            case {"broken": str(reason)}:
                self._ready.set_exception(Unavailable(f"The parser cannot be started: {reason}."))
            case {"ended": int(number), "status": int(status), "peak": int(peak)}:
                if (ended := self._waiting.get(number)) and not ended.done():
                    ended.set_result(Ended(status, peak))

    def _lose(self) -> None:
        if not self.alive:
            return
        self.alive = False
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()
        futures: list[asyncio.Future[Any]] = [self._ready, *self._waiting.values()]
        for future in futures:
            if not future.done():
                future.set_exception(Unavailable("The parser's process ended."))
                future.exception()  # seen: nobody may be waiting any more


async def _spawned(config: Mapping[str, Any], control: socket.socket, paths: Sequence[Path]) -> Process:
    """In a session of its own, so that a terminal's Ctrl-C reaches only the server."""
    given = json.dumps({**config, "control": control.fileno()})
    folders = [os.fspath(path) for path in (_ROOT, *paths)]
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-B", "-c", _BOOT, given, *folders),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=DEVNULL,
            env={},
            pass_fds=[control.fileno()],
            start_new_session=True,
        )
    except OSError as error:
        raise Unavailable(f"The parser cannot be started: {error}.") from error
