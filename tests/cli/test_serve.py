"""The processes that run for a long time: they start, come back, stop in order, and leave nothing behind."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

import httpx2
import pytest

from carrel.cli.serve import listen
from carrel.domain.errors import Unavailable
from cli.shell import Said, Shell, a_free_port, children_of, command_of, end, lives, until

MAPPING: Final = re.compile(r"^([0-9a-f]+-[0-9a-f]+ .*)\n((?:[A-Z].*\n)*)", re.MULTILINE)  # smaps, proc(5)
HELD: Final = re.compile(r"^(Rss|Anonymous): +(\d+) kB", re.MULTILINE)
QUIET: Final = MappingProxyType({"CARREL_LOG_LEVEL": "warning"})


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

    def pids_of(self, module: str) -> set[int]:
        return {pid for pid in self.pids if f"-m {module} " in command_of(pid)}


@contextmanager
def serving(shell: Shell, *options: str, **settings: str) -> Iterator[Serving]:
    """Nobody reads what it says until it ends: with many requests give it a higher `CARREL_LOG_LEVEL`, or it waits."""
    process = shell.begin("serve", "--port", "0", "--json", *options, **settings)
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
    with serving(alone, "--processes", "2") as first:
        until(lambda: len(first.pids_of("carrel.api")) == 2)
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


def test_the_worker_has_an_allocator_that_gives_back_what_is_free(used: Shell) -> None:
    def allocator(name: str) -> bool:
        return b"PYTHONMALLOC=malloc" in Path(f"/proc/{server.pid_of(name)}/environ").read_bytes().split(b"\0")

    with serving(used) as server:
        until(lambda: server.has("carrel.worker"))
        assert (allocator("carrel.worker"), allocator("carrel.api")) == (True, False)
        server.end()


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


def test_several_api_processes_share_the_port_and_each_answers(used: Shell) -> None:
    with serving(used, "--processes", "2", "--no-worker") as server:
        until(lambda: len(server.pids_of("carrel.api")) == 2)
        for answering in server.pids_of("carrel.api"):
            with asleep(server.pids_of("carrel.api") - {answering}):
                assert httpx2.get(f"{server.url}/health/ready", timeout=20).status_code == 200
        told = server.end()

    assert told.code == 0
    assert "operator key" not in told.err


def test_an_api_process_that_is_killed_comes_back_and_nobody_who_asks_again_loses_a_request(used: Shell) -> None:
    with serving(used, "--processes", "2", "--no-worker", **QUIET) as server, Asking(server.url) as asking:
        until(lambda: len(server.pids_of("carrel.api")) == 2)
        first, second = server.pids_of("carrel.api")
        for victim in (first, second):
            os.kill(victim, signal.SIGKILL)
            until(lambda: victim not in server.pids and len(server.pids_of("carrel.api")) == 2)  # noqa: B023 - at once
            asking.go_on()
        asking.end()
        told = server.end()

    assert (asking.lost, asking.refused) == ([], 0)
    assert told.err.count("An API process ended (signal 9) and is started again.") == 2


def test_sigterm_lets_every_api_process_finish(used: Shell) -> None:
    with serving(used, "--processes", "2", **QUIET) as server, Asking(server.url) as asking:
        until(lambda: len(server.pids_of("carrel.api")) == 2)
        asking.go_on()
        everybody = server.pids
        told = server.end()

    assert told.code == 0
    assert asking.broken == 0
    assert [command_of(pid) for pid in everybody if lives(pid)] == []


def test_children_do_not_outlive_a_killed_supervisor(used: Shell) -> None:
    with serving(used) as server:
        until(lambda: server.has("carrel.worker"))
        orphans = server.pids[1:]
        server.end(signal.SIGKILL)

        until(lambda: not any(lives(pid) for pid in orphans))


def test_commands_work_beside_the_server_which_then_idles_in_400_mb(
    used: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # what coverage itself holds is not the server's
    (tmp_path / "note.md").write_text("# Note\n\nThe lighthouse keeper is called Ione.\n")
    with serving(used) as server:
        until(lambda: "A worker lives." in used("doctor").out)
        used("tenants", "create", "Beside")
        brought = used("ingest", tmp_path, "--tenant", "beside", "--source", "notes", "--json")
        answer = used("ask", "Who is the lighthouse keeper?", "--tenant", "beside", "--json")
        processes, resident = len(server.pids), resident_mb(server.pids)

    assert [one["status"] for one in brought.value["documents"]] == ["ready"]
    assert "Ione" in answer.value["answer"]
    assert processes == 4  # the supervisor, the API, the worker and its parsers' process
    assert resident < 400


def test_whoever_works_for_the_worker_yields_to_the_api(used: Shell, tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text("# Note\n\nA parser is needed for this.\n")
    with serving(used) as server:
        used("tenants", "create", "Yielding")
        used("ingest", tmp_path, "--tenant", "yielding", "--source", "notes", "--no-wait")
        worker = server.pid_of("carrel.worker")
        until(lambda: [_niceness(pid) for pid in children_of(worker)] == [(10, 10)])  # the parsers' process
        postgres = int((used.home / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
        # Those of the API, and those of the worker. A new one is told when it is there.
        until(lambda: {_niceness(pid) for pid in sessions_of(postgres)} == {(0, 0), (10, 10)})


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


@contextmanager
def asleep(pids: set[int]) -> Iterator[None]:
    """What these processes are sent waits; the kernel gives new connections to others."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


class Asking:
    """Four clients that ask all the time and, when a connection breaks, once more.

    `broken` counts answers that were owed and did not come: whoever asks again within half a second is owed one. A
    client that is `refused` a connection asks no more.
    """

    def __init__(self, url: str) -> None:
        self.answered, self.broken, self.refused, self.lost = 0, 0, 0, list[Exception]()
        self._url, self._over = f"{url}/health/live", threading.Event()
        self._clients = [threading.Thread(target=self._client) for _ in range(4)]

    def __enter__(self) -> Self:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def go_on(self) -> None:
        """Until twenty more are answered."""
        enough = self.answered + 20
        until(lambda: self.answered > enough)

    def end(self) -> None:
        self._over.set()
        for client in self._clients:
            client.join()

    def _client(self) -> None:
        answered = time.monotonic()
        with httpx2.Client(timeout=20) as client:
            while not self._over.is_set():
                try:
                    self._ask(client, is_owed=time.monotonic() - answered < 0.5)
                    answered = time.monotonic()
                except httpx2.ConnectError:
                    self.refused += 1
                    return
                except httpx2.TransportError as error:
                    self.lost.append(error)

    def _ask(self, client: httpx2.Client, *, is_owed: bool) -> None:
        try:
            answer = client.get(self._url)
        except (httpx2.ReadError, httpx2.RemoteProtocolError, httpx2.WriteError):
            self.broken += is_owed
            answer = client.get(self._url)
        assert answer.status_code == 200
        self.answered += 1


def sessions_of(postgres: int) -> list[int]:
    return [pid for pid in children_of(postgres) if "127.0.0.1" in command_of(pid)]


def _niceness(pid: int) -> tuple[int, int] | None:
    """The process's own, and that of its session's group, where the kernel has such groups. None if it just ended."""
    group = Path(f"/proc/{pid}/autogroup")
    try:
        own = os.getpriority(os.PRIO_PROCESS, pid)
        told = group.read_text() if group.exists() else f"nice {own}"
    except ProcessLookupError:
        return None
    return (own, int(told.rpartition(" ")[2])) if told else None


def resident_mb(pids: list[int]) -> int:
    """Of all of them together: what they map from the same place of a file lies in memory once."""
    own, mapped = 0, dict[str, int]()
    for pid in pids:
        for head, held in MAPPING.findall(Path(f"/proc/{pid}/smaps").read_text()):
            place, sizes = " ".join(head.split()[2:]), dict(HELD.findall(held))
            own += int(sizes["Anonymous"])
            mapped[place] = max(mapped.get(place, 0), int(sizes["Rss"]) - int(sizes["Anonymous"]))
    return (own + sum(mapped.values())) // 1024
