"""Circuit breakers: a provider that fails again and again is left alone for a while, for that tenant and that key.

Michael T. Nygard, Release It! (2007), chapter 5. After a pause one call tries; what it meets decides for the others.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from carrel.domain.errors import ModelFailed

log = structlog.get_logger(__name__)

_TROUBLE: Final = frozenset(
    {
        "model_broke_off",
        "model_failed",
        "model_key_refused",
        "model_quota_exhausted",
        "model_throttled",
        "model_timeout",
        "model_unreachable",
    }
)
_LONGEST: Final = 300.0


@dataclass(frozen=True, slots=True)
class Rules:
    """So many failures in a row open a circuit, for so many seconds; so many circuits are remembered."""

    failures: int = 5
    pause: float = 30.0
    most: int = 4096


class Circuit:
    def __init__(self, rules: Rules, clock: Callable[[], float], name: str) -> None:
        self._rules = rules
        self._clock = clock
        self._name = name
        self._failures = 0
        self._alone_until = 0.0
        self._is_tried = False

    @property
    def is_idle(self) -> bool:
        """Nothing would be lost if it were forgotten."""
        return self._failures == 0 and not self._is_tried

    @contextmanager
    def call(self) -> Iterator["Circuit"]:
        """Raises ModelFailed `model_paused`. What the call raises is noted; a caller that leaves says nothing."""
        self._demand()
        try:
            yield self
        except ModelFailed as failure:
            if failure.code in _TROUBLE:
                self._fail(failure.wait)
            else:
                self._succeed()
            raise
        except BaseException:
            self._is_tried = False
            raise
        else:
            self._succeed()

    def speaks(self) -> None:
        """The first word came: others may call again, though one more failure would close the way at once."""
        if self._is_tried:
            self._is_tried = False
            self._failures = self._rules.failures - 1
            self._tell_that_it_resumes()

    def _demand(self) -> None:
        if self._failures < self._rules.failures:
            return
        wait = self._alone_until - self._clock()
        if wait > 0 or self._is_tried:
            raise ModelFailed(
                "The provider of the model failed repeatedly and is left alone for a moment.",
                code="model_paused",
                wait=max(wait, 1.0),
            )
        self._is_tried = True

    def _fail(self, wait: float | None) -> None:
        self._failures += 1
        self._is_tried = False
        if self._failures >= self._rules.failures:
            self._alone_until = self._clock() + min(max(self._rules.pause, wait or 0.0), _LONGEST)
            log.warning("model.paused", provider=self._name, failures=self._failures)

    def _succeed(self) -> None:
        if self._failures >= self._rules.failures:
            self._tell_that_it_resumes()
        self._failures, self._is_tried = 0, False

    def _tell_that_it_resumes(self) -> None:
        log.info("model.resumed", provider=self._name)


class Circuits:
    """One for each key. Of more than may be remembered, the longest unused that has nothing to remember goes first."""

    def __init__(self, rules: Rules | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules = rules or Rules()
        self._clock = clock
        self._circuits: OrderedDict[Hashable, Circuit] = OrderedDict()

    def of(self, key: Hashable, *, name: str) -> Circuit:
        found = self._circuits.get(key)
        if found is None:
            self._make_room()
            found = self._circuits[key] = Circuit(self._rules, self._clock, name)
        self._circuits.move_to_end(key)
        return found

    def _make_room(self) -> None:
        if len(self._circuits) >= self._rules.most:
            oldest = next(iter(self._circuits))
            del self._circuits[next((key for key, one in self._circuits.items() if one.is_idle), oldest)]
