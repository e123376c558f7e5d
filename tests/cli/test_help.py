"""Every command explains itself, quickly."""

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from carrel.cli.__main__ import app

EXPECTED = {
    "serve", "work", "migrate", "demo", "ingest", "search", "ask", "doctor", "formats",
    "tenants create", "tenants list", "keys create", "keys list", "keys revoke",
    "sources create", "sources list", "bots create", "bots list", "models install", "models list",
}  # fmt: skip


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    inner = getattr(command, "commands", {})
    if not inner:
        yield words
    for word, below in inner.items():
        yield from commands(below, (*words, word))


ALL = list(commands(get_command(app)))


def test_the_commands_are_those_of_the_contract() -> None:
    assert {" ".join(words) for words in ALL} == EXPECTED


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_has_help_with_an_example_and_knows_json(words: tuple[str, ...]) -> None:
    said = CliRunner().invoke(app, [*words, "--help"])

    assert said.exit_code == 0
    assert f"Example: carrel {' '.join(words)}" in " ".join(said.output.split())
    assert "--json" in said.output


def test_help_and_version_load_nothing_that_is_slow() -> None:
    code = "import sys, carrel.cli.__main__; print([name for name in sys.modules if name in sys.argv[1:]])"
    slow = ("asyncpg", "pydantic", "fastapi", "onnxruntime", "numpy", "sqlalchemy", "structlog", "httpx2", "asyncio")

    said = subprocess.run([sys.executable, "-c", code, *slow], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"


def test_the_version_is_there_at_once() -> None:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        said = subprocess.check_output([sys.executable, "-P", "-m", "carrel.cli", "--version"], text=True)
        times.append(time.perf_counter() - began)
        assert said.startswith("carrel ")

    assert min(times) < 0.6  # twice the promise: other tests run beside this one
