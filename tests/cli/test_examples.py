"""The examples of the README are run as they stand, against a Carrel that is really served."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import httpx2
import pytest

from cli.shell import Shell
from cli.test_serve import QUIET, serving

README: Final = Path(__file__).parents[2] / "README.md"
EXAMPLES: Final = re.findall(r"^```python\n(.+?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
REFUNDS: Final = """# Refunds

Acme refunds an order within 14 days. The money goes back to the card that paid.
Orders above 500 euros need the approval of a team lead.
"""


def test_there_is_an_example_for_each_client() -> None:
    assert [re.findall(r"^from (\w+)", example, re.MULTILINE)[0] for example in EXAMPLES] == ["openai", "mcp"]


@pytest.mark.slow
def test_the_examples_print_the_answer(shell: Shell) -> None:
    with serving(shell, **QUIET) as server:
        shell("tenants", "create", "Acme")
        key = shell("keys", "create", "--tenant", "acme", "--scope", "search,ask,ingest,manage", "--json").value["key"]
        bring(server.url, key)
        for example in EXAMPLES:
            assert "team lead" in run(example, server.url, key)


def bring(url: str, key: str) -> None:
    """The document of the README's walk, ready."""
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=90) as client:
        source = client.post("/v1/sources", json={"name": "handbook"}).json()["id"]
        path = f"/v1/sources/{source}/documents/refunds.md?wait=true"
        assert client.put(path, content=REFUNDS.encode()).json()["document"]["status"] == "ready"


def run(example: str, url: str, key: str) -> str:
    """What it prints. Warnings are errors, as everywhere here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CARREL_")}
    said = subprocess.run(
        [sys.executable, "-c", example],
        env={**kept, "URL": url, "KEY": key},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert said.returncode == 0, said.stderr[-3000:]
    return said.stdout
