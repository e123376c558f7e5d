"""The walk of the documents is walked: its own commands, in their order, before a Carrel that is really served."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from cli.shell import Shell
from cli.test_serve import QUIET, serving

WALK: Final = Path(__file__).parents[2] / "docs" / "walk.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="The walk is walked with curl, which is not on the path.")
def test_every_command_of_the_walk_does_what_the_page_says(shell: Shell, tmp_path: Path) -> None:
    """`set -e`: what fails, or finds nothing, ends it. Somebody has begun the walk before, and left it half-way."""
    steps = re.findall(r"^```bash\n(.+?)^```$", WALK.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^## (.+)$", WALK.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(steps) > len(titles) > 5
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CARREL_")}
    tools = f"{Path(sys.executable).parent}:{kept['PATH']}"
    with serving(shell, **QUIET) as server:
        walked = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", "\n".join([*steps[:2], *steps])],
            env={**kept, **shell.environment, "PATH": tools, "CARREL_HOME": str(shell.home), "HERE": server.url},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
    assert walked.returncode == 0, walked.stderr[-3000:] + walked.stdout[-1000:]
