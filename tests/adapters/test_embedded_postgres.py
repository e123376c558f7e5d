"""The embedded PostgreSQL, with real processes that are really killed."""

import asyncio
import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from carrel.adapters.postgres import EmbeddedPostgres, Endpoint, bootstrap
from carrel.adapters.postgres.programs import MYSELF, account_for, programs_for, wheel_programs
from carrel.adapters.postgres.supervisor import LOG_LIMIT, trim
from carrel.domain.errors import Unavailable

SOURCES = Path(__file__).parents[2] / "src"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
USER = """
import sys
from pathlib import Path
from carrel.adapters.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), fsync=False)
print(server.start().app_url, flush=True)
sys.stdin.read()
server.stop()
"""
FORKING_USER = """
import os, sys, time
from pathlib import Path
from carrel.adapters.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), fsync=False)
print(server.start().app_url, flush=True)
for gives_up in (True, False):
    if os.fork() == 0:
        if gives_up:
            server.stop()
        time.sleep(60)
        os._exit(0)
sys.stdin.read()
server.stop()
"""

# The interpreter of a test environment may lie below a private /root: in a mount namespace of its own, nobody sees it.
AS_NOBODY = """
kept=$(mktemp -d)
mount --bind "$PREFIX" "$kept"
mount -t tmpfs -o mode=755 none "$0"
mkdir -p "$PREFIX"
mount --bind "$kept" "$PREFIX"
exec setpriv --reuid nobody --regid "$(id -g nobody)" --clear-groups "$@"
"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path, fsync=False)
    yield server
    await asyncio.to_thread(server.stop)
    await eventually(lambda: is_down(tmp_path))


@contextmanager
def a_user(home: Path, script: str = USER) -> Iterator["subprocess.Popen[str]"]:
    """Another process of Carrel; it gives the server up when its standard input ends."""
    command = [sys.executable, "-c", script, str(home)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env={"PYTHONPATH": str(SOURCES)}) as user:
        try:
            yield user
        finally:
            user.kill()


def url_of(user: "subprocess.Popen[str]") -> str:
    assert user.stdout is not None
    return user.stdout.readline().strip()


def leave(user: "subprocess.Popen[str]") -> None:
    assert user.stdin is not None
    user.stdin.close()
    user.wait(20)


async def ask(url: str, question: str = "select 1") -> object:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


async def ask_again(url: str, seconds: float = 10) -> object:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await ask(url)
        except (OSError, asyncpg.PostgresError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


async def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)


def is_held(lock: Path) -> bool:
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def is_down(home: Path) -> bool:
    return not any(is_held(home / "postgres" / f"{name}.lock") for name in ("supervisor", "server", "ready"))


def supervisors(home: Path) -> list[int]:
    return [pid for pid, words in processes() if str(home / "postgres") in words and "supervisor.py" in " ".join(words)]


def initdbs(home: Path) -> list[int]:
    draft = home / "postgres/data.new"
    programs = [pid for pid, words in processes() if words[0].endswith("/initdb")]
    return [pid for pid in programs if Path(f"/proc/{pid}/cwd").samefile(draft)]


def user_of(pid: int) -> str:
    return Path(f"/proc/{pid}").owner()


def postmaster(home: Path) -> int:
    return int((home / "postgres/data/postmaster.pid").read_text().split()[0])


def processes() -> Iterator[tuple[int, list[str]]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            yield int(folder.name), (folder / "cmdline").read_text().split("\0")
        except OSError:
            continue


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_the_first_start_makes_roles_database_and_extension(server: EmbeddedPostgres, tmp_path: Path) -> None:
    begun = time.perf_counter()
    endpoint = await asyncio.to_thread(server.start)
    first = time.perf_counter() - begun
    await asyncio.to_thread(server.stop)
    begun = time.perf_counter()
    assert await asyncio.to_thread(server.start) == endpoint
    print(f"first start {first:.2f} s, second start {time.perf_counter() - begun:.2f} s")  # noqa: T201 - for pytest -s

    assert await ask(endpoint.app_url, "select '[1,2]'::vector <-> '[1,2]'") == 0.0
    assert await ask(endpoint.app_url, "select current_user") == "carrel_app"
    assert await ask(endpoint.owner_url, "select pg_get_userbyid(datdba) from pg_database where datname = 'carrel'")
    facts = (
        "select concat_ws(' ', rolsuper, rolbypassrls, rolcreaterole, rolcreatedb) from pg_roles where rolname = '{}'"
    )
    assert await ask(endpoint.owner_url, facts.format("carrel_app")) == "f f f f"
    assert await ask(endpoint.owner_url, facts.format("carrel_owner")) == "f f t f"
    for setting, value in {"data_checksums": "on", "TimeZone": "UTC", "jit": "off", "server_encoding": "UTF8"}.items():
        assert await ask(endpoint.app_url, f"show {setting}") == value


async def test_the_app_may_neither_create_tables_nor_enter_another_database(server: EmbeddedPostgres) -> None:
    endpoint = await asyncio.to_thread(server.start)

    for refused in ("create table public.t ()", "create temporary table t ()", "create database d", "create role r"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ask(endpoint.app_url, refused)
    for foreign in ("postgres", "template1"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ask(replace(endpoint, database=foreign).app_url)


def knock_without_a_password(endpoint: Endpoint) -> str:
    psql = [str(wheel_programs() / "psql"), "-X", "-w", "-h", endpoint.host, "-p", str(endpoint.port), "-U", "postgres"]
    return subprocess.run([*psql, "-c", "select 1"], env={}, capture_output=True, text=True, check=False).stderr


async def test_nobody_enters_without_the_right_password(server: EmbeddedPostgres, tmp_path: Path) -> None:
    endpoint = await asyncio.to_thread(server.start)

    wrong = replace(endpoint, owner_password="wrong", app_password="wrong", superuser_password="wrong")
    for url in (wrong.app_url, wrong.owner_url, wrong.superuser_url):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await ask(url)
    assert "no password supplied" in knock_without_a_password(endpoint)
    assert await ask(endpoint.superuser_url, "show unix_socket_directories") == ""
    assert await ask(endpoint.superuser_url, "show listen_addresses") == "127.0.0.1"
    assert await ask(endpoint.superuser_url, "select string_agg(distinct auth_method, ',') from pg_hba_file_rules") == (
        "scram-sha-256"
    )


async def test_passwords_and_texts_reach_neither_the_log_nor_a_repr_nor_a_readable_file(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    endpoint = await asyncio.to_thread(server.start)
    for secret in ("select 'a secret' from nowhere", "select 1 / length('') as \"a secret\""):
        with pytest.raises(asyncpg.PostgresError):
            await ask(endpoint.app_url, secret)

    log = (tmp_path / "postgres/log/postgres.log").read_text()
    assert "ERROR" in log
    assert "a secret" not in log
    for password in (endpoint.owner_password, endpoint.app_password, endpoint.superuser_password):
        assert len(password) == 48
        assert password not in log + repr(endpoint)
    for file in (tmp_path / "postgres").iterdir():
        assert file.stat().st_mode & 0o077 == 0, file


async def test_another_database_can_be_prepared_and_preparing_twice_changes_nothing(server: EmbeddedPostgres) -> None:
    endpoint = await asyncio.to_thread(server.start)
    other = replace(endpoint, database='o"ther', owner="other owner", app="other's app")

    await asyncio.to_thread(bootstrap, other)
    connection = await asyncpg.connect(
        user="other's app", password=other.app_password, host=other.host, port=other.port, database=other.database
    )
    await connection.close()
    changes = "select sum(n_tup_ins + n_tup_upd + n_tup_del) from pg_stat_sys_tables"
    before = await ask(endpoint.superuser_url, changes)
    await asyncio.to_thread(bootstrap, endpoint)
    assert await ask(endpoint.superuser_url, changes) == before


async def test_processes_share_one_server_until_the_last_has_left(tmp_path: Path) -> None:
    with a_user(tmp_path) as first, a_user(tmp_path) as second:
        url = url_of(first)
        assert url_of(second) == url
        assert len(supervisors(tmp_path)) == 1

        leave(first)
        await asyncio.sleep(0.5)
        assert await ask(url) == 1

        leave(second)
        assert is_down(tmp_path)
        assert not (tmp_path / "postgres/data/postmaster.pid").exists()


async def test_many_starts_at_once_give_one_server(tmp_path: Path) -> None:
    servers = [EmbeddedPostgres(tmp_path, fsync=False) for _ in range(6)]
    endpoints = await asyncio.gather(*(asyncio.to_thread(server.start) for server in servers))

    assert len(set(endpoints)) == 1
    assert len(supervisors(tmp_path)) == 1
    await asyncio.gather(*(asyncio.to_thread(server.stop) for server in servers))
    assert is_down(tmp_path)


async def test_who_comes_while_the_server_stops_gets_a_new_one(tmp_path: Path) -> None:
    for _ in range(5):
        leaving, coming = EmbeddedPostgres(tmp_path, fsync=False), EmbeddedPostgres(tmp_path, fsync=False)
        endpoint = await asyncio.to_thread(leaving.start)
        stopped = asyncio.create_task(asyncio.to_thread(leaving.stop))
        await asyncio.sleep(0.1)
        assert await asyncio.to_thread(coming.start) == endpoint
        assert await ask(endpoint.app_url) == 1
        await stopped
        await asyncio.to_thread(coming.stop)
    assert is_down(tmp_path)


async def test_a_killed_user_no_longer_counts(tmp_path: Path) -> None:
    with a_user(tmp_path) as user:
        assert await ask(url_of(user)) == 1
        user.kill()

        await eventually(lambda: is_down(tmp_path))


async def test_forked_children_neither_end_nor_prolong_their_parents_use(tmp_path: Path) -> None:
    with a_user(tmp_path, FORKING_USER) as user:
        url = url_of(user)
        await asyncio.sleep(0.5)
        assert await ask(url) == 1

        forked = children(user.pid)
        leave(user)
        try:
            await eventually(lambda: is_down(tmp_path))
        finally:
            for child in forked:
                os.kill(child, signal.SIGKILL)


async def test_a_killed_postmaster_comes_back_on_its_port_even_if_a_backend_is_busy(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    endpoint = await asyncio.to_thread(server.start)
    busy = asyncio.create_task(ask(endpoint.app_url, "select count(*) from generate_series(1, 1e12)"))
    await eventually(lambda: any("SELECT" in " ".join(words) for _, words in processes()))
    orphans, killed = children(postmaster(tmp_path)), postmaster(tmp_path)

    os.kill(killed, signal.SIGKILL)

    with pytest.raises((OSError, asyncpg.PostgresError)):
        await asyncio.wait_for(busy, 30)
    assert await ask_again(endpoint.app_url) == 1
    assert postmaster(tmp_path) != killed
    assert not any(is_alive(pid) for pid in orphans)


async def test_a_killed_supervisor_comes_back_and_later_stops_the_server(tmp_path: Path) -> None:
    with a_user(tmp_path) as user:
        url = url_of(user)
        (killed,) = supervisors(tmp_path)
        os.kill(killed, signal.SIGKILL)

        await eventually(lambda: killed not in supervisors(tmp_path) and is_held(tmp_path / "postgres/ready.lock"))
        assert await ask(url) == 1
        leave(user)
        assert is_down(tmp_path)


async def test_supervisor_and_postmaster_can_be_killed_together(server: EmbeddedPostgres, tmp_path: Path) -> None:
    endpoint = await asyncio.to_thread(server.start)
    for pid in (*supervisors(tmp_path), postmaster(tmp_path)):
        os.kill(pid, signal.SIGKILL)

    assert await ask_again(endpoint.app_url) == 1


@contextmanager
def a_stranger(like: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of the server's own user, which is what PostgreSQL itself would take for a running server."""
    owner = like.stat().st_uid if os.geteuid() == 0 else None
    with subprocess.Popen(["/bin/sleep", "60"], user=owner) as stranger:
        try:
            yield stranger
        finally:
            stranger.kill()


async def test_a_stale_pid_file_that_names_a_living_stranger_harms_neither(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path, fsync=False)
    await asyncio.to_thread(server.start)
    pid_file = (tmp_path / "postgres/data/postmaster.pid").read_text()
    killed = postmaster(tmp_path)
    for pid in (*supervisors(tmp_path), killed):
        os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(server.stop)
    await eventually(lambda: is_down(tmp_path))

    with a_stranger(like=tmp_path / "postgres/data") as stranger:
        (tmp_path / "postgres/data/postmaster.pid").write_text(pid_file.replace(str(killed), str(stranger.pid), 1))
        with server as endpoint:
            assert await ask(endpoint.app_url) == 1
        assert stranger.poll() is None


@pytest.mark.parametrize("victim", ["initdb", "supervisor"])
async def test_a_killed_first_start_leaves_nothing_half_made(tmp_path: Path, victim: str) -> None:
    with a_user(tmp_path) as user:
        await eventually((tmp_path / "postgres/data.new/base").exists)
        for pid in supervisors(tmp_path) if victim == "supervisor" else initdbs(tmp_path):
            os.kill(pid, signal.SIGKILL)
        user.kill()

    with EmbeddedPostgres(tmp_path, fsync=False) as endpoint:
        assert await ask(endpoint.app_url) == 1
    assert not (tmp_path / "postgres/data.new").exists()


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as stranger:
        port = stranger.getsockname()[1]
        with pytest.raises(Unavailable, match=f"Port {port} is taken"):
            EmbeddedPostgres(tmp_path, fsync=False, settings={"port": str(port)}).start()
    await eventually(lambda: is_down(tmp_path))


async def test_a_setting_that_postgresql_refuses_is_quoted_from_its_log(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="nonsense"):
        EmbeddedPostgres(tmp_path, fsync=False, settings={"shared_buffers": "nonsense"}).start()
    await eventually(lambda: is_down(tmp_path))


def test_data_of_another_major_version_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "postgres/data").mkdir(parents=True)
    (tmp_path / "postgres/data/PG_VERSION").write_text("16\n")

    with pytest.raises(Unavailable, match="carrel migrate --upgrade-database"):
        EmbeddedPostgres(tmp_path).start()


def test_the_log_stays_small(tmp_path: Path) -> None:
    log = tmp_path / "postgres.log"
    log.write_bytes(b"x" * (LOG_LIMIT + 1))

    trim(log)

    assert log.stat().st_size == 0
    assert (tmp_path / "postgres.log.1").stat().st_size == LOG_LIMIT + 1


@as_root
async def test_root_needs_no_open_folder_and_the_server_is_not_roots(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    parents = [private, *private.parents]
    modes = [path.stat().st_mode for path in parents]

    with EmbeddedPostgres(private / "home", fsync=False) as endpoint:
        assert await ask(endpoint.app_url) == 1
        assert user_of(postmaster(private / "home")) != "root"
    assert [path.stat().st_mode for path in parents] == modes


@as_root
def test_programs_in_a_private_folder_are_copied_once_for_roots_server(tmp_path: Path) -> None:
    package = wheel_programs().parents[1]
    private = tmp_path / "venv" / package.name
    private.mkdir(parents=True)
    shutil.copytree(package / "pginstall18", private / "pginstall18", symlinks=True)
    shutil.copytree(package.parent / f"{package.name}.libs", private.parent / f"{package.name}.libs")
    copies = Path(f"/var/tmp/carrel-test-{os.getpid()}")
    account = account_for(tmp_path / "data")

    try:
        programs = programs_for(account, wheel=private / "pginstall18/bin", copies=copies)
        again = programs_for(account, wheel=private / "pginstall18/bin", copies=copies)
        version = subprocess.run([programs / "postgres", "-V"], user=account.uid, capture_output=True, check=True)
    finally:
        shutil.rmtree(copies)

    assert again == programs
    assert b"PostgreSQL" in version.stdout
    assert programs_for(MYSELF, wheel=private) == private


@as_root
async def test_an_ordinary_user_runs_it_as_himself(home_of_nobody: Path) -> None:
    with nobody(home_of_nobody) as user:
        assert await ask(url_of(user)) == 1
        for process in (postmaster(home_of_nobody), *supervisors(home_of_nobody)):
            assert user_of(process) == "nobody"
        leave(user)
        assert is_down(home_of_nobody)


@pytest.fixture
def home_of_nobody() -> Iterator[Path]:
    home = Path(f"/var/tmp/carrel-home-{os.getpid()}")
    home.mkdir()
    shutil.chown(home, "nobody", pwd.getpwnam("nobody").pw_gid)
    yield home
    shutil.rmtree(home)


@contextmanager
def nobody(home: Path) -> Iterator["subprocess.Popen[str]"]:
    arguments = [sys.executable, "-c", USER, str(home)]
    command = ["unshare", "--mount", "sh", "-ec", AS_NOBODY, str(private_part_of(sys.base_prefix)), *arguments]
    environment = {"PYTHONPATH": str(SOURCES), "PREFIX": sys.base_prefix, "PATH": os.environ["PATH"]}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as user:
        try:
            yield user
        finally:
            user.kill()


def private_part_of(path: str) -> Path:
    """The topmost folder on the way that others cannot pass, or a harmless one."""
    folders = [*reversed(Path(path).parents), Path(path)]
    return next((folder for folder in folders if not folder.stat().st_mode & 0o001), Path("/mnt"))
