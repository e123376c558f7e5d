"""The walls around a parser's process: what the kernel keeps it from. Imported by the zygote only."""

import ctypes
import math
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from carrel.adapters.parsers import seccomp

_NOBODY = 65534
_DEATH_SIGNAL, _DUMPABLE, _SECCOMP, _NO_NEW_PRIVILEGES = 1, 4, 22, 38  # prctl
_FILTER_MODE = 2
_NEW_USER, _NEW_NET = 0x10000000, 0x40000000  # unshare
_CAPABILITIES_3 = 0x20080522
_FILE_BYTES = 64 << 20

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


@dataclass(frozen=True, slots=True)
class Walls:
    """`uid` is the forks' user unless it is the `server`'s; `filter` the seccomp program where the kernel takes one."""

    memory: int
    seconds: float
    server: int
    uid: int | None
    filter: bytes | None
    network: bool

    def raise_(self, zygote: int) -> None:
        """For good, in the calling process. Raises OSError when one of them does not stand."""
        with suppress(OSError):  # the kernel's choice when memory runs out: a parser before the server
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
        if self.uid is not None:
            os.setgroups([])
            os.setresgid(self.uid, self.uid, self.uid)
            os.setresuid(self.uid, self.uid, self.uid)
        _drop_capabilities()
        self._limit()
        _prctl(_DUMPABLE, 0)
        _prctl(_DEATH_SIGNAL, signal.SIGKILL)  # after setresuid, which clears it
        if os.getppid() != zygote:
            raise ProcessLookupError("The zygote is gone.")
        _prctl(_NO_NEW_PRIVILEGES, 1)
        if self.filter:
            _install(self.filter)

    def _limit(self) -> None:
        cpu = max(1, math.ceil(self.seconds))
        resource.setrlimit(resource.RLIMIT_AS, (self.memory, self.memory))
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # Zero: what the fork needs is open, and no further file or socket can be.
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
        # Compared at fork with the user's processes, so zero forbids it whoever the user is.
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))

    def sentences(self) -> list[tuple[bool, str]]:
        """Whether each wall stands, and a sentence about it."""
        return [
            (True, "Every document is parsed in a process of its own, without environment, open files or secrets."),
            (True, f"A parser may use {self.memory >> 20} MB of memory and {self.seconds:g} s of processor time."),
            (True, "A parser can open no file and no socket and start no process (resource limits)."),
            (self.uid is not None, self._user()),
            (
                self.network,
                "Parsers live in a network namespace without any interface."
                if self.network
                else "This host allows no network namespace for parsers.",
            ),
            (
                self.filter is not None,
                "A seccomp filter allows a parser to compute, and refuses every other system call."
                if self.filter
                else "This host allows no seccomp filter for parsers.",
            ),
        ]

    def _user(self) -> str:
        if self.uid is not None:
            return f"Parsers run as the user {self.uid}, who owns nothing."
        return f"Parsers run as the server's own user {self.server}; only a server that starts as root can change that."


def build(memory: int, seconds: float) -> Walls:
    """The strongest walls that this host allows, each tried in a process that ends. Leaves the network, if it may.

    Raises OSError when not even the least of them stands.
    """
    server, root = os.getuid(), os.geteuid() == 0  # asked now: a new user namespace has other numbers
    network = _leave_network(root=root)
    most = Walls(memory, seconds, server, _NOBODY if root else None, seccomp.program(), network)
    for walls in _weaker(most):
        if _stands(walls):
            return walls
    raise OSError("No wall stands around a parser's process.")


def _weaker(most: Walls) -> Iterator[Walls]:
    yield most
    yield replace(most, filter=None)
    yield replace(most, uid=None)
    yield replace(most, uid=None, filter=None)


def _leave_network(*, root: bool) -> bool:
    """For the zygote and so for all its forks: it costs them nothing."""
    left = bool(_libc.unshare(_NEW_NET if root else _NEW_USER | _NEW_NET) == 0)
    if left and not root:
        _drop_capabilities()  # a new user namespace comes with all of them
    return left


def _stands(walls: Walls) -> bool:
    zygote = os.getpid()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            walls.raise_(zygote)
            code = 1 if _can_open() else 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def _can_open() -> bool:
    try:
        os.open("/", os.O_RDONLY)
    except OSError:
        return False
    return True


def _prctl(option: int, value: int) -> None:
    _checked(_libc.prctl(option, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3))


def _install(steps: bytes) -> None:
    program = _Program(len(steps) // 8, steps)
    _checked(_libc.prctl(_SECCOMP, ctypes.c_ulong(_FILTER_MODE), ctypes.byref(program)))


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0)
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)()))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
