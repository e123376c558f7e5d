"""Formats that misbehave, for the sandbox to hold. The zygote imports them by name; they open nothing at import."""

import ctypes
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from carrel.domain.errors import Unreadable
from carrel.domain.text import Block, ParsedDocument


def a_document(text: str) -> ParsedDocument:
    return ParsedDocument(text, (Block(0, len(text), "paragraph"),))


def eats_memory(content: bytes, *, key: str) -> NoReturn:
    hoard = []
    while True:
        hoard.append(bytearray(1 << 20))


def eats_memory_and_hides_it(content: bytes, *, key: str) -> ParsedDocument:
    try:
        eats_memory(content, key=key)
    except MemoryError:
        return a_document("I am fine.")


def aborts_when_memory_ends(content: bytes, *, key: str) -> NoReturn:
    hoard = []
    with suppress(MemoryError):
        while True:
            hoard.append(bytearray(1 << 20))
    ctypes.string_at(0)
    raise AssertionError


def computes_for_ever(content: bytes, *, key: str) -> NoReturn:
    while True:
        pass


def sleeps(content: bytes, *, key: str) -> ParsedDocument:
    time.sleep(float(content))
    return a_document("Good morning.")


def crashes(content: bytes, *, key: str) -> NoReturn:
    ctypes.string_at(0)
    raise AssertionError


def raises(content: bytes, *, key: str) -> NoReturn:
    raise RuntimeError(content)


def recurses(content: bytes, *, key: str) -> ParsedDocument:
    return recurses(content, key=key)


def exits(content: bytes, *, key: str) -> NoReturn:
    os._exit(int(content))


def refuses(content: bytes, *, key: str) -> NoReturn:
    raise Unreadable("The attacker's sentence.", code=content.decode())


def writes_its_content(content: bytes, *, key: str) -> NoReturn:
    """The test says what a parser that was taken over sends."""
    view = memoryview(content)
    while view:
        view = view[os.write(1, view) :]
    os._exit(0)


def never_ends_a_line(content: bytes, *, key: str) -> NoReturn:
    while True:
        os.write(1, b"x" * 65536)


def never_ends_its_text(content: bytes, *, key: str) -> NoReturn:
    os.write(1, b'{"title":null}\n')
    while True:
        writes(b'{"text":"' + b"x" * 65536 + b'"}\n')


def writes(line: bytes) -> None:
    view = memoryview(line)
    while view:
        view = view[os.write(1, view) :]


def gives_too_much_text(content: bytes, *, key: str) -> ParsedDocument:
    return a_document("x" * (33 << 20))


def gives_its_environment(content: bytes, *, key: str) -> ParsedDocument:
    return a_document(str(dict(os.environ)))


def gives_its_key(content: bytes, *, key: str) -> ParsedDocument:
    return a_document(key)


def tries_everything(content: bytes, *, key: str) -> ParsedDocument:
    """One line per attempt: its name, and what came of it."""
    libc = ctypes.CDLL(None, use_errno=True)
    attempts: dict[str, Callable[[], Any]] = {
        "read a secret": lambda: Path("/etc/shadow").read_bytes(),
        "read anything": lambda: Path("/etc/hostname").read_bytes(),
        "write": lambda: Path("/tmp/carrel-escaped").write_text("x"),
        "delete": lambda: Path(content.decode()).unlink(),
        "look": lambda: Path(content.decode()).stat(),
        "socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "unix socket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        "pipe": os.pipe,
        "fork": os.fork,
        "signal the zygote": lambda: os.kill(os.getppid(), 0),  # 0 asks for the right and harms nobody
        "signal everybody": lambda: os.kill(-1, 0),
        "ptrace": lambda: _called(libc.ptrace(16, os.getppid(), 0, 0)),
        "become root": lambda: os.setuid(0),
        "new user namespace": lambda: _called(libc.unshare(0x10000000)),
        "leave the session": os.setsid,
        "another import": lambda: __import__("sqlite3"),
        "exec": lambda: os.execv("/bin/true", ["true"]),
    }
    return a_document("\n".join(f"{name}: {_outcome(attempt)}" for name, attempt in attempts.items()))


def _called(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")


def _outcome(attempt: Callable[[], Any]) -> str:
    try:
        attempt()
    except (OSError, ImportError):
        return "refused"
    return "DONE"
