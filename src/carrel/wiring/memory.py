"""Memory that a process needs no more goes back to the system: the C library would keep it."""

import ctypes
import gc
import mmap
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from carrel.ingest.pipeline import Work

Task = Callable[[Work], Awaitable[None]]

_HOARD: Final = 8 << 20  # bytes
_ARENAS: Final = -8  # M_ARENA_MAX of malloc.h
_OWN_PAGES: Final = -3  # M_MMAP_THRESHOLD
_LARGE: Final = 256 << 10  # bytes


def allocate_in_one_place() -> None:
    """A worker's threads take turns, and an allocator for each of them would only keep more.

    What is large has pages of its own, which go back with it: else glibc would take larger and larger things from the
    heap, where a small thing behind them keeps all of it.
    """
    with suppress(AttributeError):  # glibc's own
        libc = ctypes.CDLL(None)
        libc.mallopt(_ARENAS, 1)
        libc.mallopt(_OWN_PAGES, _LARGE)


def returning(task: Task) -> Task:
    """What documents and tenants needed goes back while others are in hand, once it is much.

    Measured from the last return, not from the job's begin: jobs overlap, and many small hoards are a large one.
    """
    last = resident()

    async def run(work: Work) -> None:
        nonlocal last
        try:
            await task(work)
        finally:
            if resident() > last + _HOARD:
                give_back()
                last = resident()

    return run


def rest() -> None:
    """A pause of some milliseconds, for when nobody waits. What is kept then is kept for nobody.

    Before Python 3.13 a pattern such as `case str(x)` makes the name `__match_args__` anew each time, and the cache of
    lookups keeps some thousand of them: each may hold a page of what a large document had.
    """
    gc.collect()
    if sys.version_info < (3, 13):
        sys._clear_type_cache()  # noqa: SLF001 - it has no public name
    give_back()


def give_back() -> None:
    """Every page that is free. Also what only the start needed: 10 MB in each process."""
    with suppress(AttributeError):  # glibc's own
        ctypes.CDLL(None).malloc_trim(0)


def resident() -> int:
    """Bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE
