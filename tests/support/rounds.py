"""How long a sweep goes on: a few rounds among the tests, all of them in the proof, the same code in both."""

import os


def rounds(short: int, full: int) -> int:
    """`full` in `make proof` (the variable FULL_ROUNDS is set), else `short`."""
    return full if os.environ.get("FULL_ROUNDS") else short
