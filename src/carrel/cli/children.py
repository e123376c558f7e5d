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


# A worker meets texts of all sizes. The C library gives back every page that is free, Python's own allocator a megabyte
# once nothing is left in it: with that one a worker begins with 40 MB more, and keeps more of what documents took.
_BEGINS_WITH: Final = {"carrel.worker": {"PYTHONMALLOC": "malloc"}}


def command(module: str, *arguments: str) -> list[str]:
    """A module of ours in this environment; the working directory (`-P`) can slip in no module of its own."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment_of(module: str) -> dict[str, str]:
    """Ours, and what a module of ours begins with; what the operator has set stays."""
    return {**_BEGINS_WITH.get(module, {}), **os.environ}


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
        env={**environment_of(module), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
    )
