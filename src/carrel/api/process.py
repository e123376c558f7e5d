"""One API process from its start to its end."""

import gc
import socket
import sys
from contextlib import nullcontext

import uvloop

from carrel import wiring
from carrel.api.app import create_app
from carrel.api.server import serve
from carrel.domain.errors import Refusal


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
    async with wiring.running(settings) as application:
        key = await application.keys.first_operator()
        if key is not None:
            _show_once(key.reveal(), url)
        app = create_app(lambda: nullcontext(application))
        gc.collect()
        gc.freeze()  # what the start made stays: to look through it again and again would hold every stream up
        gc.enable()
        await serve(app, listener)


def _show_once(key: str, url: str) -> None:
    said = (
        f"The operator key, shown this once: {key}",
        "It makes organisations; `carrel keys create --operator` makes another. For example:",
        f"  curl {url}/v1/tenants -H 'Authorization: Bearer {key}' \\",
        "       -H 'Content-Type: application/json' -d '{\"name\": \"Acme\"}'",
    )
    sys.stderr.write("\n".join(said) + "\n")
