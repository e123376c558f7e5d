"""One API process from its start to its end. The door is put together while the database and the embedder start."""

import asyncio
import gc
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext

import uvloop

from carrel import wiring
from carrel.domain.errors import Refusal

Serve = Callable[[wiring.Application], Awaitable[None]]


def run(listener: socket.socket, url: str) -> int:
    """The exit code; why it is not 0 is said on stderr."""
    try:
        settings = wiring.load()
        wiring.configure(settings.log_level)
        uvloop.run(_serve(settings, listener, url))
    except Refusal as refusal:
        sys.stderr.write(f"error: {refusal.detail} ({refusal.code})\n")
        return 1
    return 0


async def _serve(settings: wiring.Settings, listener: socket.socket, url: str) -> None:
    async with _doors(listener) as doors, wiring.running(settings) as application:
        key = await application.keys.first_operator()
        if key is not None:
            _show_once(key.reveal(), url)
        serve = await doors
        await serve(application)


@asynccontextmanager
async def _doors(listener: socket.socket) -> AsyncIterator["asyncio.Task[Serve]"]:
    """A third of what this process imports is the door's: nobody waits for it while PostgreSQL starts."""
    task = asyncio.create_task(asyncio.to_thread(_door, listener))
    try:
        yield task
    finally:
        await task


def _door(listener: socket.socket) -> Serve:
    from carrel.api.app import create_app
    from carrel.api.server import serve

    async def serving(application: wiring.Application) -> None:
        app = create_app(lambda: nullcontext(application))
        gc.collect()
        gc.freeze()  # what the start made stays: to look through it again and again would hold every stream up
        gc.enable()
        await serve(app, listener)

    return serving


def _show_once(key: str, url: str) -> None:
    said = (
        f"The operator key, shown this once: {key}",
        "It makes organisations; `carrel keys create --operator` makes another. For example:",
        f"  curl {url}/v1/tenants -H 'Authorization: Bearer {key}' \\",
        "       -H 'Content-Type: application/json' -d '{\"name\": \"Acme\"}'",
    )
    sys.stderr.write("\n".join(said) + "\n")
