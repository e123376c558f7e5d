"""Looking names up, in threads of its own: a name that hangs holds up neither what the loop's threads do nor strangers.

The system looks a name up in its own time, and nobody can call it back. So it is waited for only so long; the thread
counts for whoever asked until it really ends. Each asker may have a few, and of all that wait who has the fewest is
next. The second half of the threads is for those that have none: so it takes as many askers as there are threads in a
half, and some more, all with names that hang, to keep a newcomer waiting. That is why there are many: a thread that
waits costs next to no memory, and yet there must be an end, for a process may have only so many.
"""

import asyncio
import errno
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from threading import Thread
from typing import Final

from carrel.adapters.web.addresses import Address

Resolve = Callable[[str, int], Awaitable[list[Address]]]
"""All that a name leads to, in the order in which to try. Raises OSError or UnicodeError as the system does."""
LookUp = Callable[[str, int], list[Address]]

MOST: Final = 128
EACH: Final = 4
PATIENCE: Final = 10.0


@dataclass(slots=True)
class _Asker:
    busy: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


def looked_up(host: str, port: int) -> list[Address]:
    """By the system, none twice, however long that takes."""
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(place[0]) for *_, place in found))


class Names:
    """`most` names are looked up at a time, `each` of one asker, and one when half of `most` are. One has `patience`
    seconds, its turn included.

    It belongs to one event loop. The threads end with the process, whatever they wait for.
    """

    def __init__(
        self, look_up: LookUp = looked_up, *, most: int = MOST, each: int = EACH, patience: float = PATIENCE
    ) -> None:
        self._look_up = look_up
        self._free = most
        self._reserve = most // 2
        self._each = each
        self._patience = patience
        self._askers: dict[Hashable, _Asker] = {}

    def of(self, asker: Hashable) -> Resolve:
        """For whom names are looked up: a tenant, mostly."""
        return partial(self._resolved, asker)

    async def _resolved(self, asker: Hashable, host: str, port: int) -> list[Address]:
        async with asyncio.timeout(self._patience):
            await self._turn(asker)
            return await self._begun(asker, host, port)

    async def _turn(self, asker: Hashable) -> None:
        """At its end one thread is the asker's, until `_ended`."""
        one, turn = self._askers.setdefault(asker, _Asker()), asyncio.get_running_loop().create_future()
        one.waiting.append(turn)
        self._call_next()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with suppress(ValueError):  # it was called in the very moment
                    one.waiting.remove(turn)
                self._forget(asker)
            else:
                self._ended(asker)
            raise

    def _call_next(self) -> None:
        while self._free:
            each = self._each if self._free > self._reserve else 1
            able = [one for one in self._askers.values() if one.waiting and one.busy < each]
            if not able:
                return
            one = min(able, key=lambda one: one.busy)
            turn = one.waiting.popleft()
            if not turn.cancelled():
                turn.set_result(None)
                one.busy += 1
                self._free -= 1

    async def _begun(self, asker: Hashable, host: str, port: int) -> list[Address]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Address]] = loop.create_future()

        def told(found: list[Address] | Exception) -> None:
            self._ended(asker)
            if answer.done():  # whoever asked has gone
                return
            if isinstance(found, Exception):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def ask() -> None:
            found: list[Address] | Exception = OSError(errno.EIO, "The name could not be looked up.")
            try:
                found = self._look_up(host, port)
            except (OSError, ValueError) as error:  # it is raised where it was asked for
                found = error
            finally:
                with suppress(RuntimeError):  # the loop is over
                    loop.call_soon_threadsafe(told, found)

        try:
            Thread(target=ask, name="names", daemon=True).start()
        except RuntimeError as error:
            self._ended(asker)
            raise OSError(errno.EAGAIN, "No thread is left.") from error
        return await answer

    def _ended(self, asker: Hashable) -> None:
        self._free += 1
        self._askers[asker].busy -= 1
        self._forget(asker)
        self._call_next()

    def _forget(self, asker: Hashable) -> None:
        one = self._askers.get(asker)
        if one is not None and not one.busy and not one.waiting:
            del self._askers[asker]
