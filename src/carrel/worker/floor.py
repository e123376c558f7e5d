"""The floor where documents are read side by side; a suspect alone, so that it takes nobody with it if it kills.

A suspect is a document whose worker died while it was at work on it. Only one that is read alone can be blamed for a
second death, so of documents alone it holds: what reads strangers' bytes is what kills, and jobs that move rows, walks,
webhooks and letters are never blamed and never held up. Documents of all tenants wait while a suspect is read, also
those of others than its own, for each of them could be the one that kills. They wait in the queue, where any other
worker takes them: only those that this worker had taken before it knew wait here, and they take no place from jobs
that need not wait.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager


class Floor:
    """First come, first in: who waits to be alone holds up those behind it, or it would wait for ever."""

    def __init__(self) -> None:
        self._door = asyncio.Lock()
        self._inside = 0
        self._waiting = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def waiting(self) -> int:
        """How many stand at the door."""
        return self._waiting

    @asynccontextmanager
    async def entered(self, *, alone: bool) -> AsyncIterator[None]:
        async with AsyncExitStack() as door:
            with self._counted():
                await door.enter_async_context(self._door)
                if alone:
                    await self._empty.wait()
            if alone:
                yield
                return
            self._inside += 1
            self._empty.clear()
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def _leave(self) -> None:
        self._inside -= 1
        if not self._inside:
            self._empty.set()
