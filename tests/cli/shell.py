"""A terminal for tests: commands as processes, in a home of their own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cli.warm import Warm

CARREL = [sys.executable, "-P", "-m", "carrel.cli"]


@cache
def warm() -> Warm:
    """One for all commands of a test process. Where coverage counts it loads with each command what it counts."""
    return Warm.start()


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """Standard output as the one JSON value that it must be."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Shell:
    """`environment` is all that the commands know of Carrel; whatever the tester's own environment says is left out.

    Each command has a session of its own, so the kernel shares the cores between the commands and the tests (sched(7),
    autogroup), as between services: a worker yields to its own API, and would hardly come on beside four other tests.
    """

    home: Path
    environment: Mapping[str, str]

    def __call__(self, *arguments: str | Path, seconds: float = 120, stdin: str = "", **settings: str) -> Said:
        command, variables = [*map(str, arguments)], self._variables(settings)
        if "COVERAGE_PROCESS_CONFIG" not in os.environ:
            return Said(*warm().run(command, environment=variables, folder=self.home, stdin=stdin, seconds=seconds))
        done = subprocess.run(
            [*CARREL, *command],
            env=variables,
            cwd=self.home,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            start_new_session=True,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def begin(self, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        """A command that goes on; its stdout and stderr are pipes. It hears Ctrl-C also where the tests do not."""
        return subprocess.Popen(
            [*CARREL, *arguments],
            env=self._variables(settings),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - one call, and no lock
        )

    def _variables(self, settings: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CARREL_")}
        return {**kept, "CARREL_HOME": str(self.home), **self.environment, **settings}


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def children_of(pid: int) -> list[int]:
    """Those that live, of this process and of its children."""
    try:
        direct = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [*direct, *(below for child in direct for below in children_of(child))]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def lives(pid: int) -> bool:
    return command_of(pid) != ""


def until(true: Callable[[], bool], *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "It did not come true in time."
        time.sleep(0.05)


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> Said:
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return Said(process.returncode, out, err)
