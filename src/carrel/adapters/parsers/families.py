"""Formats that share a zygote. It is started when the first document of its family comes, and ended when none does."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from carrel.adapters.parsers.zygote_process import ZygoteProcess

log = structlog.get_logger(__name__)

REST = 60.0  # seconds without a document after which a zygote is ended: it holds tens of megabytes


class Family:
    """`formats` as the zygote loads them. A zygote that died is replaced by the next document."""

    def __init__(
        self, formats: Mapping[str, str], limits: Mapping[str, Any], *, paths: Sequence[Path], rest: float = REST
    ) -> None:
        self.formats = formats
        self.zygote: ZygoteProcess | None = None
        self._config = {"formats": dict(formats), **limits}
        self._paths = paths
        self._rest = rest
        self._starting = asyncio.Lock()
        self._busy = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._leaving: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def working(self) -> AsyncIterator[ZygoteProcess]:
        """The zygote, which is not ended meanwhile. Raises Unavailable."""
        self._busy += 1
        self._silence()
        try:
            yield await self._started()
        finally:
            self._busy -= 1
            if not self._busy:
                self._alarm = asyncio.get_running_loop().call_later(self._rest, self._retire)

    async def close(self) -> None:
        """Ends the zygote and its forks; documents that are being read get Unavailable."""
        self._silence()
        async with self._starting:
            await self._end()

    async def _started(self) -> ZygoteProcess:
        async with self._starting:
            if self.zygote and not self.zygote.alive:
                log.error("parser.process_died", pid=self.zygote.pid)
                await self._end()
            if self.zygote is None:
                self.zygote = await ZygoteProcess.start(self._config, paths=self._paths)
            return self.zygote

    def _retire(self) -> None:
        self._leaving = asyncio.get_running_loop().create_task(self._leave())

    async def _leave(self) -> None:
        async with self._starting:
            if not self._busy:
                await self._end()

    async def _end(self) -> None:
        if self.zygote:
            await self.zygote.close()
            self.zygote = None

    def _silence(self) -> None:
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
