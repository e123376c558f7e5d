"""A filter for system calls: what a process that only computes needs, and nothing that opens, sends or starts."""

import errno
import platform
import struct

# name: (x86_64, aarch64). No open, no socket, no fork, no exec, no kill, no ptrace, no path at all.
_ALLOWED = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "lseek": (8, 62),
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "mremap": (25, 216),
    "madvise": (28, 233), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132), "restart_syscall": (219, 128), "futex": (202, 98), "rseq": (334, 293),
    "sched_yield": (24, 124), "getpid": (39, 172), "gettid": (186, 178), "getrusage": (98, 165),
    "gettimeofday": (96, 169), "clock_gettime": (228, 113), "nanosleep": (35, 101), "clock_nanosleep": (230, 115),
    "getrandom": (318, 278), "exit": (60, 93), "exit_group": (231, 94),
}  # fmt: skip
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, AUDIT_ARCH

_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_CALL, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM


def program() -> bytes | None:
    """The filter as BPF instructions, None for a machine whose call numbers we do not know. Refused calls get EPERM."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return None
    column, architecture = machine
    calls = sorted(numbers[column] for numbers in _ALLOWED.values())
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),  # 32-bit calls have other numbers
        (_LOAD, 0, 0, _CALL),
        *((_JUMP_EQUAL, len(calls) - place, 0, call) for place, call in enumerate(calls)),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
