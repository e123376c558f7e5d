"""The worker's ears: what sources' places tell of, beside the jobs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from carrel.ingest.listen import Listening


@asynccontextmanager
async def listening(ears: Listening) -> AsyncIterator[None]:
    """Until the end; what was not settled by then is told again."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ears.run())
        try:
            yield
        finally:
            task.cancel()
