"""A wrong clock: with this folder on PYTHONPATH every Python process lives TEST_CLOCK_SHIFT seconds later.

It stands in no package, because the interpreter looks for it under this name before it runs anything else.
"""

import datetime as dt
import os
import time
from typing import Any

SHIFT = float(os.environ.get("TEST_CLOCK_SHIFT", "0"))

_Real = dt.datetime
_seconds, _nanoseconds = time.time, time.time_ns


class _LikeReal(type(_Real)):  # type: ignore[misc]  # a class of classes that is found at run time
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _Real)


class Shifted(_Real, metaclass=_LikeReal):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Any:
        return _Real.now(tz) + dt.timedelta(seconds=SHIFT)


time.time = lambda: _seconds() + SHIFT
time.time_ns = lambda: _nanoseconds() + int(SHIFT * 1e9)
dt.datetime = Shifted  # type: ignore[misc]
