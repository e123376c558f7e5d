"""Processes that this one starts, and that never outlive it."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

_PDEATHSIG: Final = 1
_STDERR: Final = 2
_libc = ctypes.CDLL(None)


def command(module: str, *arguments: str) -> list[str]:
    """A module of ours in this environment; the working directory (`-P`) can slip in no module of its own."""
    return [sys.executable, "-P", "-m", module, *arguments]


def start(
    module: str,
    *arguments: str,
    niceness: int = 0,
    environment: Mapping[str, str] | None = None,
    keep: Sequence[int] = (),
    stdout: int | None = _STDERR,
) -> subprocess.Popen[bytes]:
    """Call it from a thread that lives as long as this process: the kernel ends the child with that thread.

    What it prints goes to stderr, since stdout is the command's answer; None lets it answer itself.
    A process group of its own keeps the terminal's Ctrl-C from the child: we tell it when to stop, in our order.
    """
    parent = os.getpid()

    def prepare() -> None:
        _libc.prctl(_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
        os.nice(niceness)

    return subprocess.Popen(
        command(module, *arguments),
        preexec_fn=prepare,  # noqa: PLW1509 - it takes no lock
        process_group=0,
        pass_fds=keep,
        env=None if environment is None else {**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
    )
