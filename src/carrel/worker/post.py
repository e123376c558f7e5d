"""The worker's mail and its webhooks: looked for each second, beside the jobs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from carrel.domain.errors import Unavailable
from carrel.tenancy.dispatch import Dispatch
from carrel.tenancy.mailroom import Mailroom

log = structlog.get_logger(__name__)

_POLL: Final = 1.0


@asynccontextmanager
async def sending(mailroom: Mailroom, *, seconds: float = _POLL) -> AsyncIterator[None]:
    """Until the end; a letter that is on its way then is due again when its lease is over."""
    async with asyncio.TaskGroup() as group:
        rounds = group.create_task(_rounds(mailroom, seconds))
        try:
            yield
        finally:
            rounds.cancel()


@asynccontextmanager
async def telling(dispatch: Dispatch) -> AsyncIterator[None]:
    """Until the end; what is told to a webhook then is told again when its lease is over."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(dispatch.run())
        try:
            yield
        finally:
            task.cancel()


async def _rounds(mailroom: Mailroom, seconds: float) -> None:
    while True:
        try:
            await mailroom.work()
        except Unavailable as problem:
            log.warning("mail.waits", problem=problem.detail)
        except Exception:  # a letter that cannot be written must not take the worker's documents with it
            log.exception("mail.stumbled")
        await asyncio.sleep(seconds)
