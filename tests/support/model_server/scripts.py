"""How a model behaves: what it says, how fast, where it stands still, and how it ends."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from support.model_server.voices import Voice, cites, cites_wrongly, echoes, obeys, rambles, talks

BEFORE: Final = -1
"""Of a hold: before even the head of the response; 0 is after the head and before the first token."""


class Signal:
    """Set once, from any thread; waited for in any event loop."""

    def __init__(self) -> None:
        self._future: Future[None] = Future()

    def set(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    @property
    def is_set(self) -> bool:
        return self._future.done()

    async def wait(self) -> None:
        await asyncio.shield(asyncio.wrap_future(self._future))


@dataclass(frozen=True)
class Hold:
    """Says so many tokens, then nothing until `release` is set; `reached` tells that one stands there."""

    after: int = 0
    reached: Signal = field(default_factory=Signal)
    release: Signal = field(default_factory=Signal)


class Fault(Enum):
    """What a provider says no with; each wire has its own status, code and words for it."""

    KEY = auto()
    FORBIDDEN = auto()
    MODEL = auto()
    QUOTA = auto()
    PAYMENT = auto()
    THROTTLE = auto()
    TOO_LONG = auto()
    INPUT = auto()
    BROKEN = auto()
    OVERLOADED = auto()


class Ending(Enum):
    """WHOLE is as it should be. UNFINISHED closes well, but never says why it stopped and tells no usage."""

    WHOLE = auto()
    CUT = auto()
    UNFINISHED = auto()
    FAULT = auto()
    GARBLED = auto()


@dataclass(frozen=True)
class Page:
    """Said in place of an answer, whatever the wire."""

    content: bytes
    media_type: str = "text/html; charset=utf-8"
    status: int = 200
    location: str = ""


@dataclass(frozen=True)
class Script:
    """`after` so many tokens comes an ending that is not WHOLE.

    `fault` refuses the first `times` requests of this model, all if None; `retry_after` in seconds goes with it.
    `first_token` in seconds and `rate` in tokens per second are the server's where None. `usage_each` tells the usage
    so far with every piece, also if the request does not ask for that. `spoils` changes vectors before they are sent
    back.
    """

    says: Voice = cites
    first_token: float | None = None
    rate: float | None = None
    hold: Hold | None = None
    ends: Ending = Ending.WHOLE
    after: int = 5
    fault: Fault | None = None
    times: int | None = None
    retry_after: float | None = None
    page: Page | None = None
    usage_each: bool = False
    spoils: Callable[[list[list[float]]], list[list[float]]] | None = None


_MAINTENANCE: Final = b"<!doctype html><title>Maintenance</title><h1>We will be back soon</h1>"


def by_name() -> dict[str, Script]:
    """What each name stands for, with holds of its own; a name that is not among a server's is an unknown model."""
    return {
        "cite": Script(),
        "echo": Script(echoes),
        "obey": Script(obeys),
        "miscite": Script(cites_wrongly),
        "flood": Script(rambles),
        "talk": Script(talks),
        "stall": Script(hold=Hold()),
        "stall-unheard": Script(hold=Hold(BEFORE)),
        "stall-midway": Script(hold=Hold(5)),
        "cut": Script(ends=Ending.CUT),
        "cut-at-once": Script(ends=Ending.CUT, after=0),
        "unfinished": Script(ends=Ending.UNFINISHED),
        "fault-midway": Script(ends=Ending.FAULT),
        "garbled": Script(ends=Ending.GARBLED),
        "html": Script(page=Page(_MAINTENANCE)),
        "html-502": Script(page=Page(_MAINTENANCE, status=502)),
        "not-json": Script(page=Page(b'{"choices": [', "application/json")),
        "other-json": Script(page=Page(b'{"hello": ["world"]}', "application/json")),
        "throttle": Script(fault=Fault.THROTTLE, retry_after=1),
        "throttle-once": Script(fault=Fault.THROTTLE, times=1, retry_after=0),
        "throttle-twice": Script(fault=Fault.THROTTLE, times=2, retry_after=0),
        "key-refused": Script(fault=Fault.KEY),
        "forbidden": Script(fault=Fault.FORBIDDEN),
        "missing": Script(fault=Fault.MODEL),
        "quota": Script(fault=Fault.QUOTA),
        "payment": Script(fault=Fault.PAYMENT),
        "too-long": Script(fault=Fault.TOO_LONG),
        "input-refused": Script(fault=Fault.INPUT),
        "broken": Script(fault=Fault.BROKEN),
        "broken-once": Script(fault=Fault.BROKEN, times=1),
        "overloaded": Script(fault=Fault.OVERLOADED),
        "overloaded-once": Script(fault=Fault.OVERLOADED, times=1, retry_after=0),
        "embed": Script(),
    }
