"""A crowd: a hundred users of fifty tenants at once, and a restart in the middle of it.

The restart is an operator's: SIGTERM, and `carrel serve` again on the same port as soon as the former one has ended.
Between the two nobody listens, so connections are refused; that and nothing else may happen, for three seconds.
"""

import asyncio
import socket
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.context import Bench
from bench.percentiles import percentile
from bench.rows import Row
from bench.search import filled_with
from bench.served import served
from bench.stand import a_stand
from bench.texts import library
from bench.uploads import a_shelf
from bench.users import Audit, Tally, User, audit, users

_GRACE: Final = 3.0  # seconds after the new start in which connections may be refused


@dataclass(frozen=True, slots=True)
class _Size:
    tenants: int
    users: int
    chunks: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Restart:
    """By the clock of `time.monotonic`: SIGTERM, the end of the former process, and the new one's first answer."""

    asked: float
    ended: float
    answered: float


async def run(bench: Bench) -> list[Row]:
    size = bench.pick(_Size(50, 100, 200, 300.0), _Size(5, 10, 60, 16.0))
    found, home, tally = library(bench.data), bench.home("crowd"), Tally()
    async with a_stand(home) as stand:
        rooms = (await filled_with(stand, bench, found, tenants=size.tenants, chunks=size.chunks)).rooms
    port = _a_free_port()
    async with AsyncExitStack() as stack:
        everybody = await users(stack, f"http://127.0.0.1:{port}", rooms, found.questions, most=size.users)
        restart, audited = await _lived(home, port, everybody, tally=tally, seconds=size.seconds)
    return _rows(size, tally, restart, audited)


async def _lived(
    home: Path, port: int, everybody: Sequence[User], *, tally: Tally, seconds: float
) -> tuple[_Restart, Audit]:
    async with served(home, port=port):
        crowd = asyncio.create_task(_crowd(everybody, tally, time.monotonic() + seconds))
        await asyncio.sleep(seconds / 2)
        asked = time.monotonic()
    ended = time.monotonic()
    async with served(home, port=port) as carrel:
        restart = _Restart(asked, ended, time.monotonic())
        await crowd
        for room in {user.room.slug: user.room for user in everybody}.values():
            async with a_shelf(carrel.url, room) as shelf:
                await shelf.settled()
        return restart, await audit(everybody)


async def _crowd(everybody: Sequence[User], tally: Tally, end: float) -> None:
    async with asyncio.TaskGroup() as group:
        for user in everybody:
            group.create_task(user.live(end, tally))


def _a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def _rows(size: _Size, tally: Tally, restart: _Restart, audited: Audit) -> list[Row]:
    untimely = [moment for moment in tally.refused if not restart.asked <= moment <= restart.ended + _GRACE]
    errors = tally.errors.total() + len(untimely)
    answered = len(tally.all)
    name = f"crowd: {size.users} users of {size.tenants} tenants"
    reasons = "; ".join(f"{count} x {reason}" for reason, count in tally.errors.most_common(5))
    return [
        Row(
            f"{name}: errors",
            f"{errors} of {answered + errors:,} requests; {len(tally.refused)} connections refused",
            f"0 but connections refused until {_GRACE:.0f} s after the new start",
            errors == 0,
            f"{size.seconds:.0f} s with a restart in the middle: {restart.ended - restart.asked:.1f} s from SIGTERM to"
            f" the end, {restart.answered - restart.ended:.1f} s to the new one's first answer; refused after"
            f" {_GRACE:.0f} s: {len(untimely)}{'; ' if reasons else ''}{reasons}",
        ),
        Row(
            f"{name}: acknowledged writes lost",
            f"{len(audited.lost)} of {tally.writes:,}",
            "0",
            not audited.lost and not audited.unread,
            f"at the end the bytes under each of {audited.checked} keys are compared with what its last acknowledged"
            f" write left; {audited.unread} kept and not ready",
        ),
        Row(f"{name}: latency", f"p95 {percentile(tally.all, 95):.0f} ms", note=_each(tally, size)),
    ]


def _each(tally: Tally, size: _Size) -> str:
    parts = ", ".join(
        f"{wish} {percentile(found, 50):.0f} and {percentile(found, 95):.0f} ms"
        for wish, found in tally.latencies.items()
        if found
    )
    rate = len(tally.all) / size.seconds
    return (
        f"{rate:.0f} req/s, at times drawn by chance and kept, restart included; p50 and p95: {parts}; search over"
        f" {size.chunks} chunks and what the users bring"
    )
