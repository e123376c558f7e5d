"""The pace of those that want more than they may."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from carrel.domain.limits import Limit, Standing

_LONGEST_GAP: Final = 1.0  # seconds; also how long a refusal is believed before the limiter is asked again
_LONGEST_SPELL: Final = 60.0
_Whose = tuple[Limit, tuple[str, ...]]


@dataclass(slots=True)
class _Held:
    """By the monotonic clock: until when nobody is let through, what they are told of it, and when it is forgotten."""

    closed: float
    told: float
    forgotten: float


class Pace:
    """After a call for which nothing was left, room comes back evenly: for one call in the time that the limit has for
    one, a second at most. Whoever waits finds the room for all of that time.

    A window alone would let calls in as they came before: ten at once, every second anew. It ends when nothing was
    refused for as long as the window is, a minute at most. What is kept here is this process's own.
    """

    def __init__(self) -> None:
        self._held: OrderedDict[_Whose, _Held] = OrderedDict()  # longest unused first

    def refusal(self, limit: Limit, key: tuple[str, ...]) -> Standing | None:
        """None lets this call through to the limiter."""
        now = time.monotonic()
        self._forget(now)
        held = self._held.get((limit, key))
        if held is None or held.forgotten <= now:
            return None
        if held.closed > now:
            self._hold(limit, key, held.closed, held.told)
            return Standing(limit, allowed=False, remaining=0, wait=held.told - now)
        held.closed = held.told = held.closed + min(limit.seconds / limit.amount, _LONGEST_GAP)
        return None

    def note(self, standing: Standing, key: tuple[str, ...]) -> None:
        """What the limiter said."""
        if not standing.allowed and not standing.remaining:
            now = time.monotonic()
            self._hold(standing.limit, key, now + min(standing.wait, _LONGEST_GAP), now + standing.wait)

    def clear(self) -> None:
        """Nobody is held any more."""
        self._held.clear()

    def _hold(self, limit: Limit, key: tuple[str, ...], closed: float, told: float) -> None:
        self._held[limit, key] = _Held(closed, told, closed + min(limit.seconds, _LONGEST_SPELL))
        self._held.move_to_end((limit, key))

    def _forget(self, now: float) -> None:
        """Two at a time: more than come in."""
        for _ in range(2):
            oldest = next(iter(self._held), None)
            if oldest is None or self._held[oldest].forgotten > now:
                return
            del self._held[oldest]
