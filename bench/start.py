"""The start, what an idle Carrel keeps in memory, and what its installation takes."""

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

import httpx2

from bench.context import Bench
from bench.machine import Memory, family, memory_of, parent_of
from bench.rows import Row
from bench.served import Served, postmaster_of, served

_FIRST, _SECOND = 5.0, 3.0  # seconds
_IDLE: Final = 400.0  # MB
_SETTLED: Final = 10.0  # seconds without any work before memory is read
_REQUIREMENTS: Final = Path(__file__).parents[1] / "requirements"
_MB: Final = 1e6


async def run(bench: Bench) -> list[Row]:
    """Three homes and three second starts, of which the slowest count."""
    homes = [bench.home(f"start-{number}") for number in range(bench.pick(3, 1))]
    firsts = [await _start(home) for home in homes]
    seconds = [await _start(home) for home in homes]
    idle, postgres = await _idle(homes[0], bench.pick(_SETTLED, 2.0))
    return [
        _row("first start", firsts, _FIRST, "a new home: the database is made, the model quantized, a key made"),
        _row("second start", seconds, _SECOND, "the same homes again"),
        Row(
            "idle memory without PostgreSQL",
            f"{idle.rss / _MB:.0f} MB",
            f"< {_IDLE:.0f} MB",
            idle.rss / _MB < _IDLE,
            f"resident memory of every process of Carrel added up, shared pages counted in each; with shared pages"
            f" divided (PSS) {idle.pss / _MB:.0f} MB; PostgreSQL itself has {postgres.pss / _MB:.0f} MB (PSS)",
        ),
        _installed(),
    ]


@dataclass(frozen=True, slots=True)
class _Start:
    """`seconds` from the command to the first 200 of `/health/ready`; `cpu` of all processes until then, in seconds."""

    seconds: float
    cpu: float


async def _start(home: Path) -> _Start:
    began = time.perf_counter()
    async with served(home) as carrel:
        await _ready(carrel)
        return _Start(time.perf_counter() - began, carrel.tree.cpu().whole)


async def _ready(carrel: Served) -> None:
    async with httpx2.AsyncClient(base_url=carrel.url) as client:
        while (await client.get("/health/ready")).status_code != httpx2.codes.OK:  # noqa: ASYNC110 - another process knows it
            await asyncio.sleep(0.01)


def _row(name: str, found: list[_Start], hold: float, note: str) -> Row:
    slowest = max(start.seconds for start in found)
    each = ", ".join(f"{start.seconds:.2f} s ({start.cpu:.1f} s CPU)" for start in found)
    return Row(name, f"{slowest:.2f} s", f"< {hold:.0f} s", slowest < hold, f"to /health/ready; {note}; {each}")


async def _idle(home: Path, settled: float) -> tuple[Memory, Memory]:
    """Of Carrel, the guard of the embedded database included since it is ours, and of PostgreSQL."""
    async with served(home) as carrel:
        await _ready(carrel)
        await asyncio.sleep(settled)
        postmaster = postmaster_of(home)
        guard = parent_of(postmaster)
        ours = [*carrel.tree.carrel_pids(), *([guard] if guard else [])]
        return memory_of(ours), memory_of(family([postmaster]))


def _installed() -> Row:
    sizes = {found.name: _size(found) for found in _named()}
    largest = sorted(sizes, key=lambda name: sizes[name], reverse=True)[:4]
    return Row(
        "installed size",
        f"{sum(sizes.values()) / _MB:.0f} MB",
        note=f"{len(sizes)} packages of requirements/carrel.txt, most of it "
        + ", ".join(f"{name} {sizes[name] / _MB:.0f} MB" for name in largest),
    )


def _named() -> Iterator[Distribution]:
    """The packages of requirements/carrel.txt; those for another Python or system are not installed."""
    pins = (_REQUIREMENTS / "carrel.txt").read_text("utf-8")
    for name in re.findall(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==", pins, re.MULTILINE | re.IGNORECASE):
        with suppress(PackageNotFoundError):
            yield distribution(name)


def _size(installed: Distribution) -> int:
    paths = (Path(str(file.locate())) for file in installed.files or ())
    return sum(path.stat().st_size for path in paths if path.is_file())
