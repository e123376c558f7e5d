"""The model server as a process: prints its address in a line of JSON, and serves until it is stopped."""

import argparse
import json
import sys

import uvloop

from support.model_server.server import ModelServer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m support.model_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (%(default)s)")
    parser.add_argument("--first-token-ms", type=float, default=0.0, help="before the first token (%(default)s)")
    parser.add_argument("--tokens-per-second", type=float, default=None, help="as fast as it is heard if not given")
    given = parser.parse_args()
    server = ModelServer(given.port, given.first_token_ms / 1000, given.tokens_per_second, remembers=False)
    uvloop.run(_serve(server))


async def _serve(server: ModelServer) -> None:
    listening = await server.start()
    sys.stdout.write(json.dumps({"url": server.url, "openai": server.openai}) + "\n")
    sys.stdout.flush()
    await listening.serve_forever()


if __name__ == "__main__":
    main()
