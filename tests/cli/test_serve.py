"""The processes that run for a long time: they start, come back, stop in order, and leave nothing behind."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from carrel.cli.serve import listen
from carrel.domain.errors import Unavailable
from cli.shell import Said, Shell, a_free_port, children_of, command_of, end, lives, until


@dataclass
class Serving:
    """A `carrel serve` that answers. What it said is known once it has ended."""

    process: subprocess.Popen[str]
    url: str
    said: Said | None = None

    @property
    def pids(self) -> list[int]:
        return [self.process.pid, *children_of(self.process.pid)]

    def pid_of(self, module: str) -> int:
        return next(pid for pid in self.pids if f"-m {module} " in command_of(pid))

    def has(self, module: str) -> bool:
        return any(f"-m {module} " in command_of(pid) for pid in self.pids)

    def end(self, number: int = signal.SIGTERM) -> Said:
        self.said = end(self.process, number)
        return self.said


@contextmanager
def serving(shell: Shell, *options: str) -> Iterator[Serving]:
    process = shell.begin("serve", "--port", "0", "--json", *options)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        pytest.fail(f"It did not start: {process.communicate()[1]}")
    server = Serving(process, json.loads(line)["url"])
    try:
        yield server
    finally:
        if process.poll() is None:
            server.end()


@pytest.fixture(scope="module")
def used(alone: Shell) -> Shell:
    """A home that has served before."""
    with serving(alone):
        pass
    return alone


def test_the_first_start_shows_an_operator_key_that_works_and_the_second_shows_none(alone: Shell) -> None:
    with serving(alone) as first:
        assert httpx2.get(f"{first.url}/health/live").status_code == 200
        told = first.end()
    key = re.findall(r"ck_\w+", told.err)[0]
    with serving(alone) as second:
        headers = {"Authorization": f"Bearer {key}"}
        made = httpx2.post(f"{second.url}/v1/tenants", headers=headers, json={"name": "First"})
        told_again = second.end()

    assert told.err.count("The operator key, shown this once") == 1
    assert f"Carrel serves on {first.url}" in told.err
    assert made.status_code == 201
    assert re.findall(r"ck_\w+", told_again.err) == []


def test_it_stops_at_sigterm_and_leaves_no_process(used: Shell) -> None:
    with serving(used) as server:
        until(lambda: server.has("carrel.worker"))
        everybody = server.pids
        told = server.end()

    assert told.code == 0
    assert [command_of(pid) for pid in everybody if lives(pid)] == []
    assert not (used.home / "postgres" / "data" / "postmaster.pid").exists()


def test_ctrl_c_is_a_way_to_stop_and_shows_no_traceback(used: Shell) -> None:
    with serving(used) as server:
        told = server.end(signal.SIGINT)

    assert told.code == 0
    assert "Traceback" not in told.err


def test_a_killed_child_is_started_again(used: Shell) -> None:
    with serving(used) as server:
        until(lambda: server.has("carrel.worker"))
        worker, api = server.pid_of("carrel.worker"), server.pid_of("carrel.api")
        os.kill(worker, signal.SIGKILL)
        os.kill(api, signal.SIGKILL)
        until(lambda: server.has("carrel.worker") and server.has("carrel.api"))

        assert httpx2.get(f"{server.url}/health/ready", timeout=20).status_code == 200
        assert worker not in server.pids
        told = server.end()

    assert "The worker ended (signal 9) and is started again." in told.err


def test_children_do_not_outlive_a_killed_supervisor(used: Shell) -> None:
    with serving(used) as server:
        until(lambda: server.has("carrel.worker"))
        orphans = server.pids[1:]
        server.end(signal.SIGKILL)

        until(lambda: not any(lives(pid) for pid in orphans))


def test_commands_work_beside_the_server_which_then_idles_in_400_mb(used: Shell, tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text("# Note\n\nThe lighthouse keeper is called Ione.\n")
    with serving(used) as server:
        until(lambda: "A worker lives." in used("doctor").out)
        used("tenants", "create", "Beside")
        brought = used("ingest", tmp_path, "--tenant", "beside", "--source", "notes", "--json")
        answer = used("ask", "Who is the lighthouse keeper?", "--tenant", "beside", "--json")
        resident = {command_of(pid)[:60]: _resident(pid) for pid in server.pids}

    assert [one["status"] for one in brought.value["documents"]] == ["ready"]
    assert "Ione" in answer.value["answer"]
    assert len(resident) == 4, resident  # the supervisor, the API, the worker and its parsers' process
    assert sum(resident.values()) < 400, resident


def test_without_a_worker_there_is_none_until_one_is_started(used: Shell) -> None:
    with serving(used, "--no-worker") as server:
        assert not server.has("carrel.worker")
        work = used.begin("work", "--json")
        assert work.stdout is not None
        assert json.loads(work.stdout.readline())["pid"] == work.pid
        assert not server.has("carrel.worker")
        told = end(work)

    assert told.code == 0


def test_an_address_that_cannot_be_listened_on_is_a_refusal() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(Unavailable) as refusal:
        listen("127.0.0.1", taken.getsockname()[1])
    assert refusal.value.code == "port_in_use"
    with pytest.raises(Unavailable) as refusal:
        listen("192.0.2.1", 0)
    assert refusal.value.code == "cannot_listen"


def test_a_port_that_is_taken_is_said_at_once(used: Shell) -> None:
    with serving(used) as server:
        said = used("serve", "--port", server.url.rpartition(":")[2], "--json")

    assert (said.code, said.value["error"]["code"]) == (1, "port_in_use")
    assert re.fullmatch(r"error: Port \d+ on 127\.0\.0\.1 is taken [^\n]+ \(port_in_use\)\n", said.err)


def test_an_open_host_without_tls_is_warned_of(shell: Shell) -> None:
    said = shell("serve", "--host", "0.0.0.0", "--port", str(a_free_port()), CARREL_PARSER__SECONDS="no")

    assert said.err.startswith("warning: 0.0.0.0 is open to other machines")


def test_a_database_that_is_down_ends_the_start_with_one_sentence(shell: Shell) -> None:
    nowhere = "postgresql://a:b@127.0.0.1:1/c"

    said = shell("serve", "--port", "0", CARREL_DATABASE__URL=nowhere, CARREL_DATABASE__OWNER_URL=nowhere)

    assert said.code == 1
    assert [line for line in said.err.splitlines() if line.startswith("error: ")] == [
        "error: The database does not answer. (database_unavailable)"
    ]


def test_a_serving_login_that_does_not_exist_is_said_in_one_sentence(shell: Shell) -> None:
    address = shell.environment["CARREL_DATABASE__URL"].replace("//terminal_app:", "//nobody:")

    said = shell("tenants", "list", CARREL_DATABASE__URL=address)

    assert said.code == 1
    assert said.err.startswith("error: ")
    assert len(said.err.splitlines()) == 1


def _resident(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.findall(r"^Rss: +(\d+) kB", rollup, re.MULTILINE)[0]) // 1024
