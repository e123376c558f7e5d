"""A file that appears whole or not at all, however many processes want to write it."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def placing(target: Path) -> Iterator[Path]:
    """Alone with `target`: what is written to the path given replaces it at the end, if nothing was raised.

    Others wait until then. A killed writer leaves a `.part`, which the next one overwrites, and never half a `target`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    with target.with_name(f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # given back by the system when the process dies
        part.unlink(missing_ok=True)
        try:
            yield part
            _replace(part, target)
        finally:
            part.unlink(missing_ok=True)


def copy(source: Path, target: Path) -> None:
    with placing(target) as part:
        shutil.copyfile(source, part)


def _replace(part: Path, target: Path) -> None:
    if part.exists():
        with part.open("rb") as written:
            os.fsync(written.fileno())  # or a power cut could leave the new name with no content
        part.replace(target)
