"""What a worker does now and then, beside its jobs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog

from carrel.domain.errors import Unavailable
from carrel.operate.seal import Sealer

log = structlog.get_logger(__name__)

_HOUR: Final = 3600.0
_MINUTE: Final = 60.0


@asynccontextmanager
async def sealing(sealer: Sealer) -> AsyncIterator[None]:
    """Every minute what is new in the audit log is sealed; every hour the heads of the chains are told."""
    async with hourly(sealer.run, seconds=_MINUTE), hourly(sealer.tell):
        yield


@asynccontextmanager
async def hourly(chore: Callable[[], Awaitable[None]], *, seconds: float = _HOUR) -> AsyncIterator[None]:
    """At once and then every hour until the end; what was not possible is tried again the next time."""
    async with asyncio.TaskGroup() as group:
        rounds = group.create_task(_repeat(chore, seconds))
        try:
            yield
        finally:
            rounds.cancel()


async def _repeat(chore: Callable[[], Awaitable[None]], seconds: float) -> None:
    while True:
        try:
            await chore()
        except Unavailable as problem:
            log.warning("chore.waits", problem=problem.detail)
        await asyncio.sleep(seconds)
