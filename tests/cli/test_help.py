"""Every command explains itself, quickly."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from carrel.cli.__main__ import app

EXPECTED = {
    "serve", "work", "migrate", "demo", "ingest", "search", "ask", "eval", "doctor", "formats",
    "tenants create", "tenants list", "tenants show", "tenants rename", "tenants suspend", "tenants resume",
    "tenants delete", "tenants receipt", "tenants export", "tenants import", "quotas set", "quotas show", "usage",
    "keys create", "keys list", "keys revoke",
    "users list", "users suspend", "users resume",
    "members list", "members invite", "members change", "members remove",
    "groups grant", "groups list", "groups revoke",
    "credentials add", "credentials list", "credentials remove",
    "webhooks add", "webhooks list", "webhooks test", "webhooks deliveries", "webhooks remove",
    "audit list", "audit verify", "secrets rotate", "secrets retire",
    "sources create", "sources list", "sources add", "sources refresh", "sources pause", "sources resume",
    "sources runs", "bots create", "bots list", "models install", "models list",
    "chats list", "chats show", "chats rename", "chats delete", "chats export",
    "documents failed", "documents redrive", "documents versions",
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
    """Against the start of Python with what every command line needs: the machine may be busy."""
    least = cpu_of("-c", "import typer, rich.console")
    assert cpu_of("-P", "-m", "carrel.cli", "--version") < 3 * least


def cpu_of(*arguments: str) -> float:
    """Seconds of processor time, the best of three."""
    code = "import resource, subprocess, sys; subprocess.check_output([sys.executable, *sys.argv[1:]]);"
    code += "used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_utime + used.ru_stime)"
    return min(float(subprocess.check_output([sys.executable, "-c", code, *arguments])) for _ in range(3))
