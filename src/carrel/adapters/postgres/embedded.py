"""One process's use of the embedded PostgreSQL."""

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import structlog

from carrel.adapters.postgres import supervisor
from carrel.adapters.postgres.bootstrap import bootstrap
from carrel.adapters.postgres.endpoint import Endpoint, read_endpoint
from carrel.adapters.postgres.programs import account_for, programs_for, wheel_programs
from carrel.adapters.postgres.supervisor import Folder, open_lock, try_lock
from carrel.domain.errors import Unavailable

START_PATIENCE, STOP_PATIENCE = 120.0, 70.0  # seconds; recovery after a crash may take long
TICK, WATCH = 0.02, 0.5
LONGEST_PAUSE = 30.0


def buffers_of(memory: int) -> str:
    """An eighth of the machine's memory (in bytes), 128 MB to 1 GB. Only what is used is ever taken.

    An exact search reads all of a tenant's entries: from the buffers in half a millisecond, from the kernel in five.
    """
    return f"{min(max(memory >> 23, 128), 1024)}MB"


# An operator may override these.
TUNING = MappingProxyType(
    {
        "shared_buffers": buffers_of(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        "random_page_cost": "1.1",  # no disk that turns
        "max_connections": "100",
        "jit": "off",  # our queries are short: compiling them costs more than it saves
        "io_method": "worker",
        "log_checkpoints": "off",  # a line every few minutes that nobody needs
        "recovery_init_sync_method": "syncfs",  # one call instead of one per file after a crash
    }
)
# For safety; nobody may.
FIXED = MappingProxyType(
    {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "password_encryption": "scram-sha-256",
        "cluster_name": "carrel",
        "logging_collector": "off",  # the supervisor keeps the log, and keeps it small
        "log_timezone": "UTC",
        # Tenants' texts and passwords pass through statements, parameters and error details: none is logged.
        "log_statement": "none",
        "log_min_duration_statement": "-1",
        "log_min_error_statement": "panic",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
        "log_error_verbosity": "terse",
    }
)
FLEETING = MappingProxyType({"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"})

log = structlog.get_logger()


class EmbeddedPostgres:
    """The server of one CARREL_HOME, started by its first user and stopped after its last, in whatever way they end.

    The settings, and whether the disk is awaited, are those of the process that found no server.
    `settings["port"]` demands a port; otherwise one is chosen and kept. A forked child calls `start` for itself.
    """

    def __init__(self, home: Path, *, fsync: bool = True, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self._folder = Folder(home.expanduser().resolve() / "postgres")
        self._durability = "durable" if fsync else "fleeting"
        wishes = {name: value for name, value in settings.items() if name != "port"}
        self._settings = {**TUNING, **({} if fsync else FLEETING), **wishes, **FIXED}
        self._port = int(settings.get("port", "0"))
        self._use: _Use | None = None

    def __enter__(self) -> Endpoint:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Endpoint:
        """Blocks until the database can be used. Calling it again gives the same endpoint."""
        if self._use is not None and self._use.pid == os.getpid():
            return self._use.endpoint
        deadline = time.monotonic() + START_PATIENCE
        users = _join(self._folder, deadline)
        try:
            endpoint = self._reach(deadline)
            bootstrap(endpoint)
        except BaseException:
            os.close(users)
            raise
        self._use = _Use(users, endpoint, self._watch)
        return endpoint

    def stop(self) -> None:
        """Gives up this process's use. Idempotent.

        The last user waits until the server is down: a container dies with its first process, and would take a server
        with it that is still writing.
        """
        use, self._use = self._use, None
        if use is not None:
            use.end()
            if use.pid == os.getpid():
                _await_the_end(self._folder)

    def _reach(self, deadline: float) -> Endpoint:
        while time.monotonic() < deadline:
            if not _is_held(self._folder.supervisor):
                self._summon(self._port, deadline)
            if _is_held(self._folder.ready):
                return read_endpoint(self._folder.credentials, port=int(self._folder.port.read_text("ascii")))
            time.sleep(TICK)
        raise _still_starting(self._folder)

    def _summon(self, port: int, deadline: float) -> None:
        """Starts a supervisor, and returns when it is ready or finds that another is at work."""
        try:
            said = subprocess.run(  # it forks at once, so that it is nobody's child and nobody's zombie
                self._command(port),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=supervisor.ENVIRONMENT,
                cwd="/",
                start_new_session=True,
                timeout=max(deadline - time.monotonic(), TICK),
                check=False,
            ).stdout.decode()
        except subprocess.TimeoutExpired as error:
            raise _still_starting(self._folder) from error
        if said not in {supervisor.READY, supervisor.TAKEN}:
            raise Unavailable(said or f"The embedded PostgreSQL ended while it started: see {self._folder.log}.")

    def _command(self, port: int) -> list[str]:
        account = account_for(self._folder.data)
        programs = programs_for(account, wheel=wheel_programs())
        settings = [f"{name}={value}" for name, value in self._settings.items()]
        where = [str(self._folder.root), str(programs), str(account.uid), str(account.gid), str(port)]
        return [sys.executable, "-I", "-S", supervisor.__file__, *where, self._durability, *settings]

    def _watch(self, endpoint: Endpoint, ended: threading.Event) -> None:
        """Brings a killed supervisor back, on the same port, so that connection pools just connect again.

        A thread, because a command has no event loop and a server's loop may be busy; a look costs microseconds.
        """
        pause = WATCH
        while not ended.wait(pause):
            try:
                self._revive(endpoint.port)
                pause = WATCH
            except (Unavailable, OSError) as problem:
                if ended.is_set():  # we left meanwhile, and the new supervisor with us
                    return
                log.error("postgres.restart_failed", reason=str(problem))  # noqa: TRY400 - the sentence says all
                pause = min(pause * 2, LONGEST_PAUSE)

    def _revive(self, port: int) -> None:
        if not _is_held(self._folder.supervisor):
            log.warning("postgres.supervisor_lost")
            self._summon(port, time.monotonic() + START_PATIENCE)


class _Use:
    """A share of the users' lock, and the thread that watches over the supervisor meanwhile."""

    def __init__(self, users: int, endpoint: Endpoint, watch: Callable[[Endpoint, threading.Event], None]) -> None:
        self.pid, self.endpoint = os.getpid(), endpoint
        self._users, self._ended = users, threading.Event()
        threading.Thread(target=watch, args=(endpoint, self._ended), name="postgres-watch", daemon=True).start()

    def end(self) -> None:
        """A forked child only closes its copy; the lock remains its parent's."""
        if self.pid == os.getpid():
            self._ended.set()
            fcntl.flock(self._users, fcntl.LOCK_UN)  # closing alone would leave it to children that were forked
        os.close(self._users)


def _join(folder: Folder, deadline: float) -> int:
    """A share of the users' lock. Waits while a supervisor that found nobody left is stopping the server."""
    _make(folder)
    users = open_lock(folder.users)
    while not try_lock(users, fcntl.LOCK_SH):
        if time.monotonic() > deadline:
            os.close(users)
            raise Unavailable(f"The PostgreSQL in {folder.root} is taking long to stop: see {folder.log}.")
        time.sleep(TICK)
    return users


def _make(folder: Folder) -> None:
    try:
        folder.root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.root.mkdir(mode=0o700, exist_ok=True)
        if folder.root.stat().st_uid != os.geteuid():
            raise Unavailable(f"{folder.root} belongs to another user: run Carrel as that user.")
        folder.root.chmod(0o700)
        folder.log.parent.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"The folder of the embedded PostgreSQL cannot be used: {error}.") from error


def _is_held(lock: Path) -> bool:
    descriptor = open_lock(lock)
    try:
        return not try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _await_the_end(folder: Folder) -> None:
    """Returns when no server is left, or at once when others use it."""
    deadline = time.monotonic() + STOP_PATIENCE
    while _is_held(folder.supervisor) and not _has_users(folder) and time.monotonic() < deadline:
        time.sleep(TICK)


def _has_users(folder: Folder) -> bool:
    """Not to be had alone but to be shared: others share it. Not even to be shared: the supervisor is stopping."""
    descriptor = open_lock(folder.users)
    try:
        return not try_lock(descriptor) and try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _still_starting(folder: Folder) -> Unavailable:
    return Unavailable(
        f"PostgreSQL has not started within {START_PATIENCE:.0f} s. After a crash it may still be recovering: "
        f"see {folder.log}, and start Carrel again."
    )
