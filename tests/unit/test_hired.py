"""The worker of one command: what it does when it cannot start."""

import asyncio
import subprocess
import sys
from typing import Any, cast

import pytest

from carrel.cli import children, hired
from carrel.domain.errors import Refusal, Unavailable
from carrel.ingest.desk import Desk

REFUSED = 'print(\'{"error": {"code": "schema", "detail": "Run it."}}\'); raise SystemExit(1)'


class _Lonely:
    """A queue that nobody else works."""

    async def is_attended(self) -> bool:
        return False


LONELY = cast("Desk", _Lonely())


async def waited_for_ever() -> None:
    async with hired.hired(LONELY) as worker:
        worker.need()
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("program", "code", "sentence"),
    [(REFUSED, "schema", "Run it."), ("raise SystemExit(1)", "unavailable", "its own words stand above.")],
    ids=["with a sentence", "without"],
)
async def test_a_worker_that_cannot_start_ends_the_waiting(
    monkeypatch: pytest.MonkeyPatch, program: str, code: str, sentence: str
) -> None:
    started: list[int] = []

    def start(*_arguments: str, **_named: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        started.append(process.pid)
        return process

    monkeypatch.setattr(children, "start", start)
    monkeypatch.setattr(hired, "_LOOK", 0.3)
    with pytest.raises(Unavailable) as refusal:
        await asyncio.wait_for(waited_for_ever(), 30)
    assert (refusal.value.code, len(started)) == (code, 1)
    assert refusal.value.detail == f"No worker can start here: {sentence}"


async def test_what_goes_wrong_inside_comes_out_as_it_is() -> None:
    with pytest.raises(Refusal, match="mine"):
        async with hired.hired(LONELY):
            raise Refusal("mine")
