"""The API as a process: `python -m carrel.api --listener FD --url URL`. `carrel serve` starts it on its own port."""

import argparse
import gc
import socket
import sys
from contextlib import nullcontext

import uvloop

from carrel import wiring
from carrel.api.app import create_app
from carrel.api.server import serve
from carrel.domain.errors import Refusal


async def _serve(settings: wiring.Settings, listener: socket.socket, url: str) -> None:
    async with wiring.running(settings) as application:
        key = await application.keys.first_operator()
        if key is not None:
            _show_once(key.reveal(), url)
        app = create_app(lambda: nullcontext(application))
        gc.collect()
        gc.freeze()  # what the start made stays: to look through it again and again would hold every stream up
        await serve(app, listener)


def _show_once(key: str, url: str) -> None:
    said = (
        f"The operator key, shown this once: {key}",
        "It makes organisations; `carrel keys create --operator` makes another. For example:",
        f"  curl {url}/v1/tenants -H 'Authorization: Bearer {key}' \\",
        "       -H 'Content-Type: application/json' -d '{\"name\": \"Acme\"}'",
    )
    sys.stderr.write("\n".join(said) + "\n")


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m carrel.api")
    options.add_argument("--listener", type=int, required=True, help="the descriptor of a listening socket")
    options.add_argument("--url", required=True, help="where clients reach it")
    given = options.parse_args()
    try:
        settings = wiring.load()
        wiring.configure(settings.log_level)
        uvloop.run(_serve(settings, socket.socket(fileno=given.listener), given.url))
    except Refusal as refusal:
        sys.stderr.write(f"error: {refusal.detail} ({refusal.code})\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
