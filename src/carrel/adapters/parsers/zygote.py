"""The process that parsers are forked from: single-threaded, without secrets, its formats imported once.

It is started with `python -I` and an empty environment, and ends when its control socket does. Messages are JSON, one
per packet: `{"parse": id, "type", "key"}` with two descriptors, and `{"kill": id}`; answered by `{"ready": walls}` or
`{"broken": reason}` once, then `{"ended": id, "status", "peak"}` per document.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from carrel.adapters.parsers import recognise, walls, wire
from carrel.domain.errors import Unreadable
from carrel.domain.text import ParsedDocument

_READ = 1 << 20
_GROUP = Path("/proc/self/autogroup")
_TRIES, _PAUSE = 5, 0.11

Format = Callable[..., ParsedDocument]
Parse = Callable[[bytes], ParsedDocument]


@dataclass(frozen=True, slots=True)
class Config:
    """`formats` maps a media type to `module:function`; a module's `prepare()`, if it has one, runs before any fork.

    `ocr` names the folder and the languages of text recognition, if there is any.
    """

    control: int
    formats: Mapping[str, str]
    memory: int
    seconds: float
    ocr: Mapping[str, str] | None = None


def main(config: str) -> None:
    given = Config(**json.loads(config))
    control = socket.socket(fileno=given.control)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the server's end is ours too, but its running documents come first
    os.chdir("/")
    os.closerange(3, given.control)  # uvloop leaves some of its own open in what it starts
    os.closerange(given.control + 1, os.sysconf("SC_OPEN_MAX"))
    _yield_as_a_session()
    try:
        if given.ocr:
            recognise.load(**given.ocr)
        zygote = Zygote(control, _loaded(given.formats), walls.build(given.memory, given.seconds))
    except (ImportError, AttributeError, OSError) as error:
        control.send(json.dumps({"broken": repr(error)}).encode())
        return
    zygote.run()


def _yield_as_a_session() -> None:
    """To the kernel, a session may be a group that yields only when told so, whatever its processes do (sched(7)).

    Unless it is root, the kernel lets one write in a tenth of a second through, and says to try again (EAGAIN).
    """
    for _ in range(_TRIES if os.nice(0) > 0 else 0):
        try:
            _GROUP.write_text(str(os.nice(0)), "ascii")
        except BlockingIOError:
            time.sleep(_PAUSE)
        except OSError:
            return
        else:
            return


def _loaded(formats: Mapping[str, str]) -> dict[str, Format]:
    loaded = {}
    for media_type, name in formats.items():
        module_name, function = name.split(":")
        module = importlib.import_module(module_name)
        getattr(module, "prepare", lambda: None)()
        loaded[media_type] = getattr(module, function)
    return loaded


class Zygote:
    """Nothing of a document is read here: descriptors go to the fork unread, and the fork answers the server itself."""

    def __init__(self, control: socket.socket, formats: Mapping[str, Format], around: walls.Walls) -> None:
        self._control = control
        self._formats = formats
        self._walls = around
        self._pid = os.getpid()
        self._forks: dict[int, int] = {}  # process id: the server's id

    def run(self) -> None:
        woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()  # so that a fork's collector does not copy our pages
        self._answer({"ready": self._walls.sentences()})
        with suppress(ConnectionError):
            while self._turn(woken):
                pass
        for process in self._forks:
            _kill(process)
            os.waitpid(process, 0)  # or the server gets a zombie, where it is the container's first process

    def _turn(self, woken: int) -> bool:
        ready, _, _ = select.select([self._control.fileno(), woken], [], [])
        if woken in ready:
            with suppress(BlockingIOError):
                os.read(woken, wire.PACKET)
            self._reap()
        return self._control.fileno() not in ready or self._obey()

    def _obey(self) -> bool:
        packet, descriptors, _, _ = socket.recv_fds(self._control, wire.PACKET, 2)
        if not packet:
            return False
        match json.loads(packet):
            case {"parse": int(number), "type": str(media_type), "key": str(key)}:
                self._fork(number, descriptors, lambda content: self._formats[media_type](content, key=key))
            case {"kill": int(number)}:
                for process in [process for process, fork in self._forks.items() if fork == number]:
                    _kill(process)
        return True

    def _fork(self, number: int, descriptors: list[int], parse: Parse) -> None:
        try:
            process = os.fork()
        except OSError:
            self._answer({"ended": number, "status": wire.UNFIT << 8, "peak": 0})
        else:
            if process == 0:
                _live(*descriptors, raise_walls=lambda: self._walls.raise_(self._pid), parse=parse)
            self._forks[process] = number
        for descriptor in descriptors:
            os.close(descriptor)

    def _reap(self) -> None:
        while self._forks and (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
            _kill(ended.si_pid)  # what it may have left in its group, while the dead leader still holds the name
            process, status, usage = os.wait4(ended.si_pid, 0)
            number = self._forks.pop(process, None)
            if number is not None:
                self._answer({"ended": number, "status": status, "peak": usage.ru_maxrss << 10})

    def _answer(self, message: dict[str, Any]) -> None:
        self._control.send(json.dumps(message).encode())


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)


def _live(source: int, sink: int, *, raise_walls: Callable[[], None], parse: Parse) -> NoReturn:
    """The whole life of a fork. Its exit code says how it ended, since after an exhausted memory little else can.

    A group of its own is killed with all that is in it; its leader can leave it for no other session.
    """
    code = wire.UNFIT
    try:
        os.setpgid(0, 0)
        os.dup2(source, 0)
        os.dup2(sink, 1)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        raise_walls()
        code = wire.CRASHED
        _work(parse)
        code = 0
    except MemoryError:
        code = wire.EXHAUSTED
    finally:  # whatever a parser raised ends here: nothing of a document goes back into the zygote's loop
        os._exit(code)


def _work(parse: Parse) -> None:
    content = b"".join(iter(lambda: os.read(0, _READ), b""))
    try:
        for line in wire.lines_of(parse(content)):
            _write(line)
    except Unreadable as error:
        _write(wire.refused(error.code))


def _write(line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[os.write(1, rest) :]
