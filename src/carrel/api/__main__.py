"""The API as a process: `python -m carrel.api --listener FD --url URL`. `carrel serve` starts it on its own port."""

import argparse
import gc
import socket
import sys


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m carrel.api")
    options.add_argument("--listener", type=int, required=True, help="the descriptor of a listening socket")
    options.add_argument("--url", required=True, help="where clients reach it")
    given = options.parse_args()
    gc.disable()  # what the start makes stays: looking through it again and again is an eighth of all imports
    from carrel.api.process import run

    sys.exit(run(socket.socket(fileno=given.listener), given.url))


if __name__ == "__main__":
    main()
