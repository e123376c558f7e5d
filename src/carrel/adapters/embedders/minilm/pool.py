"""Threads that take turns between flows."""

import asyncio
import os
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

from carrel.adapters.embedders.turns import Turns

__all__ = ["FairPool"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Wish(Generic[T]):
    call: Callable[[], T]
    future: Future[T] = field(default_factory=Future)

    def fulfil(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self.call())
        except BaseException as error:  # noqa: BLE001 - it is told to whoever waits
            self.future.set_exception(error)


class FairPool(Generic[T]):
    """A thread that becomes free takes what is next at that moment: nothing is promised to a thread before.

    In a process that yields to others (nice) its threads leave them every core that they want: the kernel then puts a
    question on a core where a text is embedded as if nobody were there, rather than beside another question.
    """

    def __init__(self, threads: int, *, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name, initializer=_yield_more)
        self._lock = Lock()
        self._turns: Turns[_Wish[T]] = Turns(lambda wish: wish.future.cancelled())

    def start(self, flow: Hashable, call: Callable[[], T]) -> asyncio.Future[T]:
        """Raises RuntimeError once the pool is closed."""
        wish = _Wish(call)
        with self._lock:
            self._threads.submit(self._next)
            self._turns.put(flow, wish)
        return asyncio.wrap_future(wish.future)

    def close(self) -> None:
        """Waits for what is running; what waits is cancelled."""
        self._threads.shutdown(cancel_futures=True)
        with self._lock:
            while wish := self._turns.take():
                wish.future.cancel()

    def _next(self) -> None:
        with self._lock:
            wish = self._turns.take()
        if wish is not None:
            wish.fulfil()


def _yield_more() -> None:
    """This thread alone (sched(7)): it holds no lock that others wait for, but the interpreter's for moments."""
    if os.nice(0) > 0 and hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
