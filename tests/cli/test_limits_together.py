"""Several API processes and one Redis: a limit of N admits N, whichever process a call comes to."""

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from cli.shell import Shell, end
from support.redis_server import a_redis

LIMIT, CALLS = 40, 120


@contextmanager
def serving(shell: Shell, **settings: str) -> Iterator[str]:
    """The URL of one more API process of the same installation."""
    process = shell.begin("serve", "--port", "0", "--json", "--no-worker", CARREL_LOG_LEVEL="error", **settings)
    try:
        yield _url(process)
    finally:
        end(process)


def _url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr and process.stderr.read()
    return str(json.loads(line)["url"])


async def call_all(urls: list[str], key: str) -> Counter[tuple[str, int]]:
    async def one(client: httpx2.AsyncClient, url: str) -> tuple[str, int]:
        return url, (await client.get(f"{url}/v1/sources", headers={"Authorization": f"Bearer {key}"})).status_code

    async with httpx2.AsyncClient(timeout=60) as client:
        return Counter(await asyncio.gather(*(one(client, urls[n % len(urls)]) for n in range(CALLS))))


async def test_two_processes_and_one_redis_admit_as_many_as_the_limit_says(shell: Shell, tmp_path: Path) -> None:
    shell("tenants", "create", "Together", "--slug", "together")
    key = shell("keys", "create", "--tenant", "together", "--scope", "search", "--json").value["key"]
    with a_redis(tmp_path) as redis:
        settings = {
            "CARREL_LIMITS__KIND": "redis",
            "CARREL_LIMITS__URL": redis.url,
            "CARREL_LIMITS__OTHER": f"{LIMIT}/hour",
        }
        with serving(shell, **settings) as first, serving(shell, **settings) as second:
            answers = await call_all([first, second], key)
    assert sum(count for (_, status), count in answers.items() if status == 200) == LIMIT
    assert sum(count for (_, status), count in answers.items() if status == 429) == CALLS - LIMIT
    assert {url for url, status in answers if status == 429} == {first, second}


def test_quotas_are_set_and_shown_at_the_terminal(shell: Shell) -> None:
    shell("tenants", "create", "Measured", "--slug", "measured")
    shell("quotas", "set", "-t", "measured", "--documents", "1000", "--questions-soft", "5")
    told = shell("quotas", "set", "-t", "measured", "--documents", "none", "--questions", "9", "--json")
    assert told.value == {"quotas": {"questions": {"soft": 5, "hard": 9}}}
    usage = shell("usage", "-t", "measured", "--json").value
    assert [level["quota"] for level in usage["quotas"]] == ["documents", "bytes", "questions", "tokens"]
    assert usage["quotas"][2]["hard"] == 9
    above = shell("quotas", "set", "-t", "measured", "--questions-soft", "10")
    assert (above.code, "(soft_above_hard)" in above.err) == (1, True)
