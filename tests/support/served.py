"""A Carrel as an operator runs it: the processes of `carrel serve`, told only what a test tells them."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import httpx2

import bench.served
from cli.shell import children_of, command_of

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True)
class Served:
    """`pid` is the supervisor's; `operator` is the key that its first start showed, empty on later ones."""

    url: str
    pid: int
    home: Path
    operator: str
    log: Path

    @property
    def pids(self) -> dict[str, int]:
        """Its long-lived processes by name; the children in which documents are parsed come and go."""
        modules = {"carrel.cli.supervisor": "supervisor", "carrel.api": "api", "carrel.worker": "worker"}
        found = {}
        for pid in (self.pid, *children_of(self.pid)):
            module = re.search(r" -m (\S+)", command_of(pid))
            if module and module[1] in modules:
                found[modules[module[1]]] = pid
            elif "parsers.zygote" in command_of(pid):  # its children bear its name, and come after it
                found.setdefault("zygote", pid)
        return found

    @property
    def postmaster(self) -> int:
        """Of the embedded PostgreSQL."""
        return bench.served.postmaster_of(self.home)

    def client(self, key: str = "", *, seconds: float = 90.0, connections: int = 100) -> httpx2.AsyncClient:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        return httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=seconds, limits=limits)

    async def tenant(self, name: str) -> str:
        """A new tenant's key with every scope."""
        async with self.client(self.operator) as operator:
            made = await operator.post("/v1/tenants", json={"name": name})
        assert made.status_code == 201, made.text
        return str((await self.command("keys", "create", "--tenant", made.json()["slug"], "--scope", _ALL))["key"])

    async def command(self, *arguments: str) -> Any:
        """What a command beside the server says."""
        process = await asyncio.create_subprocess_exec(
            *bench.served.command(*arguments, "--json"),
            env=self._environment,
            cwd=self.home,
            stdout=asyncio.subprocess.PIPE,
        )
        out = (await process.communicate())[0]
        assert process.returncode == 0, out
        return json.loads(out)

    @property
    def _environment(self) -> dict[str, str]:
        return dict(
            entry.split("=", 1) for entry in Path(f"/proc/{self.pid}/environ").read_text().split("\0") if "=" in entry
        )


_ALL: Final = "search,ask,ingest,manage"


@asynccontextmanager
async def served(
    home: Path,
    models: Path,
    *,
    settings: Mapping[str, str] = _NOTHING,
    log_level: str = "warning",
    processes: int = 1,
) -> AsyncIterator[Served]:
    """`settings` are variables of the environment, `processes` how many of the API share the port.

    What it logs is in `serve.log` of its home.
    """
    _prepare(home, models)
    log = home / "serve.log"
    environment = {"CARREL_LOG_LEVEL": log_level, **settings}
    async with bench.served.served(home, processes=processes, environment=environment) as started:
        shown = re.search(r"shown this once: (ck_\w+)", log.read_text())
        yield Served(started.url, started.pid, home, shown[1] if shown else "", log)


def resident(pid: int) -> float:
    """MB of memory that a process has in use; the pages that it shares are counted in full."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.findall(r"^Rss: +(\d+) kB", rollup, re.MULTILINE)[0]) / 1024


def _prepare(home: Path, models: Path) -> None:
    """The built embedder is shared: building it is the adapter's test."""
    home.mkdir(mode=0o700, exist_ok=True)
    shared = models / "models"
    shared.mkdir(parents=True, exist_ok=True)
    if not (home / "models").exists():
        (home / "models").symlink_to(shared)
