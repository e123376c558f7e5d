"""The official client of OpenAI's API before Carrel's door, over HTTP."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from openai import AsyncOpenAI

from api.callers import Caller

Speaker = Callable[..., AsyncOpenAI]
"""Gives a client for a caller; it tries nothing twice unless `max_retries` says so."""


@asynccontextmanager
async def speaking(address: tuple[str, int]) -> AsyncIterator[Speaker]:
    """All its clients are closed in the end."""
    host, port = address
    async with AsyncExitStack() as stack:
        clients: list[AsyncOpenAI] = []

        def speak(caller: Caller, **options: Any) -> AsyncOpenAI:
            known = {"api_key": caller.key or "none", "base_url": f"http://{host}:{port}/openai/v1", "max_retries": 0}
            clients.append(AsyncOpenAI(**{**known, **options}))
            stack.push_async_callback(clients[-1].close)
            return clients[-1]

        yield speak
