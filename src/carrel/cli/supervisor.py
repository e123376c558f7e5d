"""The light process above the API and the worker: starts them, starts them again, stops them in order.

`carrel serve` becomes this process by exec, so it imports next to nothing: it idles at a tenth of its children's size.
The port is bound before and handed to every API process. Whichever is free takes the next connection, and a request
that comes while none lives waits.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from carrel.cli import children

_FAREWELL: Final = 40.0  # seconds from the first signal to the last resort; the API gives its requests 30
_AHEAD: Final = 5.0  # of which the worker may take these while the API still answers
_URGED: Final = 3.0  # asked twice, the worker may take these to give back what it has
_STEADY: Final = 60.0  # a child that lived this long may be started again at once
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0
_LOOK: Final = 1.0
_NICENESS: Final = 10
_STOP: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_KNOCK: Final = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Plan:
    """What to run, with so many API `processes`.

    `guest` is a module with arguments that runs once when the API answers; `stay`: then serve on.
    """

    def __init__(
        self,
        *,
        listener: int,
        url: str,
        worker: bool,
        processes: int = 1,
        guest: tuple[str, ...] = (),
        stay: bool = True,
        tell: bool = False,
    ) -> None:
        self.listener, self.url, self.worker, self.processes = listener, url, worker, processes
        self.guest, self.stay, self.tell = tuple(guest), stay, tell

    def text(self) -> str:
        return json.dumps(vars(self))


class Child:
    """One process that should always live; after a crash it comes back, later each time."""

    def __init__(self, name: str, launch: Callable[[], subprocess.Popen[bytes]]) -> None:
        self.name, self._launch = name, launch
        self._process: subprocess.Popen[bytes] | None = None
        self._pause, self._began = _FIRST_PAUSE, 0.0
        self._due: float | None = None

    @property
    def lives(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        self._due, self._began = None, time.monotonic()
        self._process = self._launch()

    def start_if_due(self) -> None:
        if self._due is not None and time.monotonic() >= self._due:
            self.start()

    def ended(self) -> int | None:
        """The exit code, once; then it is due again after a pause."""
        code = None if self._process is None else self._process.poll()
        if code is None:
            return None
        self._process, now = None, time.monotonic()
        self._pause = _FIRST_PAUSE if now - self._began > _STEADY else self._pause
        self._due, self._pause = now + self._pause, min(self._pause * 2, _LONGEST_PAUSE)
        return code

    def signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)


class Supervisor:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._listener = socket.socket(fileno=plan.listener)
        self._apis = [Child("An API process", self._launch_api) for _ in range(plan.processes)]
        self._worker = Child("The worker", lambda: children.start("carrel.worker", niceness=_NICENESS))
        self._guest = Child("The guest", lambda: children.start(*plan.guest, stdout=None))
        self._knock: socket.socket | None = None
        self._ready = False
        self._asked = 0
        self._wake = self._hear_signals()

    def run(self) -> int:
        """The exit code: 0 after a stop that was asked for, else that of what failed."""
        try:
            return self._serve()
        finally:
            self._stop()

    def _serve(self) -> int:
        self._apis[0].start()  # alone: it brings the database up, and on the first run says the operator's key
        self._knock = self._knocked()
        while not self._asked:
            self._sleep(_LOOK)
            self._listen_at_the_door()
            code = self._tend()
            if code is not None:
                return code
        return 0

    def _tend(self) -> int | None:
        """Bring back what died. An exit code when there is nothing to go on with."""
        for child in (*self._apis, self._worker):
            if (code := child.ended()) is None:
                continue
            if not self._ready:  # it has said why
                return max(code, 1)
            _note(f"{child.name} ended ({_how(code)}) and is started again.")
        if (code := self._guest.ended()) is not None and not self._plan.stay:
            return code if code >= 0 else 1
        for child in (*self._apis, self._worker):
            child.start_if_due()
        return None

    def _listen_at_the_door(self) -> None:
        """A request for /health/live waits in the port's queue until an API process takes it."""
        if self._knock is None or not select.select([self._knock], [], [], 0)[0]:
            return
        with contextlib.suppress(OSError), self._knock:
            self._ready = b" 200 " in self._knock.recv(64)
        self._knock = None if self._ready else self._knocked()
        if self._ready:
            self._welcome()

    def _welcome(self) -> None:
        _note(f"Carrel serves on {self._plan.url}")
        if self._plan.tell:
            sys.stdout.write(json.dumps({"url": self._plan.url, "pid": os.getpid()}) + "\n")
            sys.stdout.flush()
        for api in self._apis[1:]:
            api.start()
        if self._plan.worker:
            self._worker.start()
        if self._plan.guest:
            self._guest.start()

    def _knocked(self) -> socket.socket:
        host, port = self._listener.getsockname()[:2]
        door = socket.create_connection(({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port), timeout=5)  # noqa: S104 - the host that we listen on
        door.sendall(_KNOCK)
        return door

    def _launch_api(self) -> subprocess.Popen[bytes]:
        arguments = ("--listener", str(self._plan.listener), "--url", self._plan.url)
        return children.start("carrel.api", *arguments, keep=[self._plan.listener])

    def _hear_signals(self) -> int:
        """The end of a pipe that becomes readable at each signal, also when a child ends."""
        heard, written = os.pipe()
        os.set_blocking(heard, False)
        os.set_blocking(written, False)
        for number in _STOP:
            signal.signal(number, self._count)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(written, warn_on_full_buffer=False)
        return heard

    def _count(self, *_: object) -> None:
        self._asked += 1

    def _sleep(self, seconds: float) -> None:
        waiting: list[int | socket.socket] = [self._wake] if self._knock is None else [self._wake, self._knock]
        select.select(waiting, [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)

    def _stop(self) -> None:
        """The worker first, so that requests are answered while it finishes the documents in hand; then the API.

        No new request from then on, and those that run are finished, unless we are asked twice.
        """
        everybody = (self._guest, *self._apis, self._worker)
        for child in (self._guest, self._worker):
            child.signal(signal.SIGTERM)
        began, before, closed = time.monotonic(), self._asked, False
        last = began + _FAREWELL
        while any(child.lives for child in everybody):
            for child in everybody:
                child.ended()
            if (hurry := self._asked > max(before, 1)) and last > time.monotonic() + _URGED:
                last = time.monotonic() + _URGED
                self._worker.signal(signal.SIGTERM)
            if not closed and (hurry or not self._worker.lives or time.monotonic() > began + _AHEAD):
                closed = True
                self._turn_away()
            if time.monotonic() > last or (hurry and not self._worker.lives):
                for child in everybody:
                    child.signal(signal.SIGKILL)
            self._sleep(0.1)

    def _turn_away(self) -> None:
        self._listener.close()
        for api in self._apis:
            api.signal(signal.SIGTERM)


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"code {code}"


def _note(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


def main() -> None:
    given: dict[str, Any] = json.loads(sys.argv[1])
    sys.exit(Supervisor(Plan(**given)).run())


if __name__ == "__main__":
    main()
