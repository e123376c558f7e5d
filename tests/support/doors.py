"""The HTTP door on a real socket, in this process."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from carrel.api.server import Patience, serve


@asynccontextmanager
async def serving(app: ASGIApp, patience: Patience = Patience()) -> AsyncIterator[tuple[str, int]]:  # noqa: B008 - frozen
    """Gives host and port of an application that answers."""
    listener, stop, ready = socket.create_server(("127.0.0.1", 0)), asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(serve(app, listener, stop=stop, ready=ready.set, patience=patience))
    await asyncio.wait_for(ready.wait(), 30)
    try:
        yield listener.getsockname()
    finally:
        stop.set()
        await asyncio.wait_for(running, 30)
