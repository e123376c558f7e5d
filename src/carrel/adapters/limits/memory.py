"""Limits in this process's memory: for one process, since others count for themselves."""

import time
from collections import OrderedDict, deque

from limits.aio.storage import MemoryStorage

from carrel.adapters.limits.windows import WindowLimiter


class MemoryLimiter(WindowLimiter):
    def __init__(self) -> None:
        super().__init__(_Hits(), now=time.monotonic)


class _Hits(MemoryStorage):
    """The library's own moving window looks at every key after every hit, in threads: a hundred times the work.

    Here each hit forgets at most two keys that nobody uses any more, so that what is kept is what is in its window.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[int, OrderedDict[str, deque[float]]] = {}  # by the window's seconds, longest unused first

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        now = time.monotonic()
        self._forget(expiry, now)
        hits = self._live(key, expiry, now)
        if len(hits) + amount > limit:
            return False
        self._kept.setdefault(expiry, OrderedDict())[key] = hits
        self._kept[expiry].move_to_end(key)
        hits.extend([now] * amount)
        return True

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:  # noqa: ARG002
        now = time.monotonic()
        hits = self._live(key, expiry, now)
        return (hits[0], len(hits)) if hits else (now, 0)

    def _live(self, key: str, expiry: int, now: float) -> deque[float]:
        hits = self._kept.get(expiry, OrderedDict()).get(key) or deque()
        while hits and hits[0] <= now - expiry:
            hits.popleft()
        return hits

    def _forget(self, expiry: int, now: float) -> None:
        kept = self._kept.get(expiry, OrderedDict())
        for _ in range(2):
            longest_unused = next(iter(kept.values()), None)
            if longest_unused is None or (longest_unused and longest_unused[-1] > now - expiry):
                return
            kept.popitem(last=False)
