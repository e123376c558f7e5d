"""Runs the PostgreSQL of one folder until its last user leaves. Run by path, with nothing but the standard library.

    python -I -S supervisor.py FOLDER PROGRAMS UID GID PORT durable|fleeting [NAME=VALUE ...]

What must not outlive a process is a lock, because the kernel forgets a lock with its holder, whatever kills it:

    users.lock       shared by each process that uses the server; whoever gets it alone knows that nobody is left
    supervisor.lock  held by this process: there is one per folder
    server.lock      held by the processes of PostgreSQL and nobody else: free means that not one of them is alive
    ready.lock       held by this process while the server accepts connections on the port in the file `port`

The process that starts us reads one message: `ready`, `taken` (another supervisor is at work), or what went wrong.
One file, because a process started by path cannot import its neighbours, and the package would triple its memory.
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

MAJOR = "18"
READY, TAKEN = "ready", "taken"
TICK, QUICK_TICK = 0.1, 0.01  # seconds between two looks at the users: while serving, while something is starting
STOP_PATIENCE = 60.0  # then the shutdown is immediate, and the next start recovers from the log
LONGEST_PAUSE = 30.0  # between two restarts of a server that keeps dying
STEADY = 60.0  # a server that lived this long may be restarted at once
LOG_LIMIT = 4 << 20  # bytes; as much again is kept of what came before
# Outside the range from which the kernel takes ports for outgoing connections: it stays free while the server is down.
FIRST_PORT, PORTS = 20_000, 10_000
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LIBC = ctypes.CDLL(None)
# Ours may hold keys of model providers, and a superuser of the database can read the server's.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}


class Problem(Exception):  # noqa: N818 - what an operator has to solve, in one sentence
    """Told to the process that started us; we end, and the next user tries again."""


class NobodyLeft(Exception):  # noqa: N818 - not an error
    """The users' lock is ours until this process ends: who comes now waits, and then starts a new supervisor."""


class Folder:
    """The files of one embedded server."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.users, self.supervisor = root / "users.lock", root / "supervisor.lock"
        self.server, self.ready = root / "server.lock", root / "ready.lock"
        self.port, self.credentials = root / "port", root / "credentials.json"
        self.data, self.draft = root / "data", root / "data.new"
        self.log = root / "log" / "postgres.log"


class Order:
    """The command line. UID -1: the server runs as ourselves. PORT 0: that of last time, or another if it is taken."""

    def __init__(self, words: Sequence[str]) -> None:
        self.folder, self.programs = Folder(Path(words[0])), Path(words[1])
        self.uid, self.gid, self.port = int(words[2]), int(words[3]), int(words[4])
        self.durable, self.settings = words[5] == "durable", words[6:]


def open_lock(path: Path) -> int:
    """Not inheritable, so that no unrelated child keeps the lock alive."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_whole(path: Path, text: str) -> None:
    """Readers see the old text or the new one, also after a power cut."""
    draft = path.with_name(path.name + ".new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123 - a descriptor
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


class Supervisor:
    def __init__(self, order: Order, spawner: int) -> None:
        self.order, self.folder = order, order.folder
        self.users, self.ready = open_lock(self.folder.users), open_lock(self.folder.ready)
        self.port, self.server, self.log_start = order.port, 0, 0
        self._spawner: int | None = spawner

    def run(self) -> None:
        try:
            self._serve()
        except NobodyLeft:
            pass
        except (Problem, OSError) as problem:
            sys.stderr.write(f"carrel: {problem}\n")  # the log; a later attempt has nobody else to tell
            self.tell(str(problem))
        finally:
            self._stop()

    def tell(self, message: str) -> None:
        """Only the first message counts; a spawner that has died meanwhile is no reason to stop."""
        if self._spawner is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._spawner, message.encode())
            os.close(self._spawner)
            self._spawner = None

    def _serve(self) -> None:
        pause = QUICK_TICK
        while True:
            started = time.monotonic()
            self._start()
            self._attend()
            kill_orphans()
            pause = QUICK_TICK if time.monotonic() - started > STEADY else min(pause * 4, LONGEST_PAUSE)
            self._wait(pause)

    def _start(self) -> None:
        guard = open_lock(self.folder.server)
        while not try_lock(guard):  # a former server is still shutting down
            self._wait(QUICK_TICK)
        self.log_start = self.folder.log.stat().st_size
        prepare_data(self.order, guard)
        # With the guard in our hands no PostgreSQL can be alive here, so whatever this file names is another's process.
        (self.folder.data / "postmaster.pid").unlink(missing_ok=True)
        self.port = choose_port(self.folder, self.port)
        settings = [word for setting in (*self.order.settings, f"port={self.port}") for word in ("-c", setting)]
        self.server = spawn(self.order, ["postgres", "-D", HERE, *settings], self.folder.data, keep=[guard])
        os.close(guard)  # from here on it is PostgreSQL's alone
        while not is_ready(self.folder.data, self.server):
            if self._ended():
                raise Problem(why(self.folder, self.port, self.log_start))
            self._wait(QUICK_TICK)

    def _attend(self) -> None:
        """Returns when the server has died without being asked to."""
        try_lock(self.ready)
        self.tell(READY)
        while not self._ended():
            trim(self.folder.log)
            self._wait(TICK)
        fcntl.flock(self.ready, fcntl.LOCK_UN)

    def _wait(self, seconds: float) -> None:
        """Every wait passes here, so that the last user's leaving is noticed at any moment."""
        deadline = time.monotonic() + seconds
        while True:
            if try_lock(self.users):
                raise NobodyLeft
            rest = deadline - time.monotonic()
            if rest <= 0:
                return
            time.sleep(min(rest, TICK))

    def _ended(self) -> bool:
        """Also collects backends that a killed postmaster left to us: no zombie remains where init does not reap."""
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                if pid == self.server:
                    self.server = 0
        return not self.server

    def _stop(self) -> None:
        deadline = time.monotonic() + STOP_PATIENCE
        if not self._ended():
            os.kill(self.server, signal.SIGINT)  # our own child, not yet collected: the number cannot be another's
        while not self._ended():
            if time.monotonic() > deadline:
                os.kill(self.server, signal.SIGQUIT)
            time.sleep(QUICK_TICK)


# PostgreSQL opens its files relative to its folder or below the path that it was given. As root we enter the folder
# before we become the server's user, and this path leads back to it without passing its parents: /root may stay 0700,
# and neither a mount namespace nor a capability is needed. All users go this way, so that root's way is always tested.
HERE = "/proc/self/cwd"


def spawn(
    order: Order,
    command: Sequence[str],
    folder: Path,
    *,
    keep: Sequence[int],
    on_our_death: int = signal.SIGINT,
) -> int:
    """The child inherits `keep` and gets `on_our_death` when we die, however we die."""
    parent, program = os.getpid(), order.programs / command[0]
    if pid := os.fork():  # safe: this process has one thread
        return pid
    try:
        os.chdir(folder)
        become(order.uid, order.gid)
        LIBC.prctl(PR_SET_PDEATHSIG, on_our_death)  # after `become`, which clears it
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and that is inherited
        for descriptor in keep:
            os.set_inheritable(descriptor, True)
        if os.getppid() == parent:
            os.execve(program, [str(program), *command[1:]], ENVIRONMENT)  # noqa: S606 - a fixed program
    except OSError as error:
        os.write(2, f"{program}: {error}\n".encode())
    finally:
        os._exit(127)


def become(uid: int, gid: int) -> None:
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def kill_orphans() -> None:
    """A busy backend does not notice that its postmaster was killed and would hold the folder until its query ends.

    We are the sub-reaper, so these are our own children; their shared memory is lost and the next start recovers.
    """
    with contextlib.suppress(FileNotFoundError):  # a kernel without CONFIG_PROC_CHILDREN: then we wait for them
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii")
        for pid in children.split():
            os.kill(int(pid), signal.SIGKILL)


def prepare_data(order: Order, guard: int) -> None:
    data = order.folder.data
    if not data.exists():
        create_data(order, guard)
    if not (version := data / "PG_VERSION").exists() or version.read_text("ascii").strip() != MAJOR:
        raise Problem(
            f"{data} was not made by PostgreSQL {MAJOR}, which Carrel brings: run `carrel migrate --upgrade-database`."
        )
    if order.uid >= 0 and data.stat().st_uid == 0:
        give(data, order)  # a copy that root restored


def create_data(order: Order, guard: int) -> None:
    """The data appear under their name when they are complete; what a killed attempt left behind is thrown away."""
    import shutil

    draft = order.folder.draft
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    give(draft, order)
    password = os.memfd_create("password")  # readable by the server's user, and never on the disk
    os.write(password, superuser_password(order.folder).encode())
    log_start = order.folder.log.stat().st_size
    initdb = ["initdb", "-D", HERE, "-U", "postgres", "--auth=scram-sha-256", f"--pwfile=/proc/self/fd/{password}"]
    locale = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C.UTF-8"]
    sync = "--sync-method=syncfs" if order.durable else "--no-sync"
    command = [*initdb, *locale, "--data-checksums", "-c", "timezone=UTC", sync]
    pid = spawn(order, command, draft, keep=[guard, password], on_our_death=signal.SIGKILL)
    os.close(password)
    if os.waitpid(pid, 0)[1] != 0:
        raise Problem(why(order.folder, 0, log_start))
    publish(order.folder)


def publish(folder: Folder) -> None:
    """From the first moment on the only way in is a password over loopback."""
    with (folder.draft / "pg_hba.conf").open("w") as rules:  # exists, so it keeps its owner
        rules.write("# TYPE DATABASE USER ADDRESS METHOD\nhost all all 127.0.0.1/32 scram-sha-256\n")
        rules.flush()
        os.fsync(rules.fileno())
    folder.draft.rename(folder.data)
    descriptor = os.open(folder.root, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def superuser_password(folder: Folder) -> str:
    """Written before the data, so there never are data to which nobody has the passwords."""
    import json

    if not folder.credentials.exists():
        secrets = {user: os.urandom(24).hex() for user in ("superuser", "owner", "app")}
        write_whole(folder.credentials, json.dumps(secrets, indent=1) + "\n")
    return str(json.loads(folder.credentials.read_text("ascii"))["superuser"])


def give(path: Path, order: Order) -> None:
    if order.uid >= 0:
        os.chown(path, order.uid, order.gid)
        for parent, folders, files in os.walk(path):
            for name in (*folders, *files):
                os.chown(Path(parent) / name, order.uid, order.gid, follow_symlinks=False)


def choose_port(folder: Folder, wanted: int) -> int:
    """`wanted`, or else the one of last time, or else a free one; it is written down for the users."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        last = int(folder.port.read_text("ascii"))
        if wanted in (0, last) and is_free(last):
            return last
    if wanted and not is_free(wanted):
        raise Problem(f"Port {wanted} is taken by another program: stop it, or choose another port for the database.")
    while not wanted or not is_free(wanted):
        wanted = FIRST_PORT + int.from_bytes(os.urandom(4), "big") % PORTS
    write_whole(folder.port, f"{wanted}\n")
    return wanted


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL does
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_ready(data: Path, server: int) -> bool:
    try:
        lines = (data / "postmaster.pid").read_text("ascii").splitlines()
    except FileNotFoundError:
        return False
    return lines[:1] == [str(server)] and [line.strip() for line in lines[7:8]] == ["ready"]


def why(folder: Folder, port: int, log_start: int) -> str:
    with folder.log.open("rb") as log:
        log.seek(log_start)
        said = log.read().decode("utf-8", "replace")[-1500:].strip()
    if "No space left on device" in said:
        return f"The disk that holds {folder.root} is full: free some space and start Carrel again."
    if "Address already in use" in said:
        return f"Port {port} was taken by another program while PostgreSQL started: start Carrel again."
    return f"PostgreSQL did not start. The end of {folder.log} may tell why: {said}"


def trim(log: Path) -> None:
    """In place, since PostgreSQL keeps the file open."""
    if log.stat().st_size > LOG_LIMIT:
        with contextlib.suppress(OSError):  # a full disk: the old lines are what we can do without
            log.with_suffix(".log.1").write_bytes(log.read_bytes())
        os.truncate(log, 0)


def detach(log: Path) -> int:
    """Leaves the process that started us to its own end, and returns the pipe on which it waits for a message."""
    if os.fork():
        os._exit(0)
    spawner = os.dup(1)  # not inheritable: PostgreSQL must not keep it open
    written = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for standard in (1, 2):
        os.dup2(written, standard)
    os.close(written)
    # Whoever stops a whole service signals us too, while the users still finish their work: we go when they have gone.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return spawner


def become_the_only_one(path: Path) -> bool:
    """A few attempts, because a user who looks whether the lock is free holds it for that moment."""
    held = open_lock(path)
    for _ in range(5):
        if try_lock(held):
            return True
        time.sleep(QUICK_TICK)
    return False


def main() -> None:
    order = Order(sys.argv[1:])
    os.umask(0o077)
    spawner = detach(order.folder.log)
    alone = become_the_only_one(order.folder.supervisor)
    supervisor = Supervisor(order, spawner)
    if not alone:
        supervisor.tell(TAKEN)
        return
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
    supervisor.run()


if __name__ == "__main__":
    main()
