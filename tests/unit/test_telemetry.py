"""Logs: what libraries would tell by themselves."""

import subprocess
import sys
from typing import Final

import pytest

TOLD: Final = """
import logging, sys
from carrel import telemetry

telemetry.configure(sys.argv[1])
for name in ("anthropic._base_client", "openai._base_client", "botocore.endpoint", "httpx", "httpcore.http11"):
    logging.getLogger(name).debug("a prompt")
    logging.getLogger(name).info("an address")
    logging.getLogger(name).warning("trouble of %s", name)
"""


@pytest.mark.parametrize("level", ["debug", "info"])
def test_libraries_of_providers_tell_of_trouble_and_of_no_call(level: str) -> None:
    said = subprocess.run([sys.executable, "-c", TOLD, level], capture_output=True, text=True, check=True).stderr

    assert "a prompt" not in said
    assert "an address" not in said
    assert said.count("trouble of") == 5
