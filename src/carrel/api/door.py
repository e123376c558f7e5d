"""The door: takes connections from a listening socket that several processes may share."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

_PAUSE: Final = 1.0  # seconds before the next look when this process can open no more files


class Door:
    """One connection in each round of the event loop, so that a process with much in hand leaves the others to its kin.

    The loop's own server takes all that wait at once: of sixteen clients that came together one process got them all.
    """

    def __init__(self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        """Open at once, until `close`; the socket is the caller's. Make it inside the running loop."""
        self._loop = asyncio.get_running_loop()
        self._listener, self._protocol = listener, protocol
        self._entering: set[asyncio.Task[Any]] = set()
        self._open = True
        listener.setblocking(False)
        self._watch()

    @property
    def is_passed(self) -> bool:
        """Somebody was let in whom the protocol does not know yet."""
        return bool(self._entering)

    def close(self) -> None:
        """Who waits is still let in, and nobody after them."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._listener)
            while self._take():
                pass

    def _watch(self) -> None:
        if self._open:
            self._loop.add_reader(self._listener, self._take)

    def _take(self) -> bool:
        """False when there is nobody, or no place."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):  # another process was faster, or it left
            return False
        except OSError:
            self._loop.remove_reader(self._listener)
            self._loop.call_later(_PAUSE, self._watch)
            return False
        connection.setblocking(False)
        entering = self._loop.create_task(self._loop.connect_accepted_socket(self._protocol, connection))
        self._entering.add(entering)
        entering.add_done_callback(self._entering.discard)
        return True
