"""A process that has loaded the command line and forks for each command, since loading it is most of a short one.

The forked process differs from `python -m carrel.cli` in nothing but that: environment, folder and files are given.
"""

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, NoReturn, Self

_MOST: Final = 1 << 20  # bytes of a request
_FILES: Final = 3


@dataclass(frozen=True)
class Warm:
    """It ends with the process that started it. `name` is that of its socket, which is no file (unix(7), abstract)."""

    name: str
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls) -> Self:
        name = f"carrel-commands-{uuid.uuid4()}"
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return cls(name, process)

    def run(
        self, arguments: Sequence[str], *, environment: Mapping[str, str], folder: Path, stdin: str, seconds: float
    ) -> tuple[int, str, str]:
        """Exit code, output and errors. Raises TimeoutError, when the command has been killed."""
        request = json.dumps({"arguments": arguments, "environment": dict(environment), "folder": str(folder)})
        with (
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection,
        ):
            given.write(stdin.encode())
            given.seek(0)
            connection.settimeout(seconds)
            connection.connect(f"\0{self.name}")
            socket.send_fds(connection, [request.encode()], [given.fileno(), out.fileno(), err.fileno()])
            child = int(connection.recv(64))
            try:
                code = connection.recv(64)
            except TimeoutError:
                os.kill(child, signal.SIGKILL)
                raise
            return int(code), _text(out), _text(err)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def serve(name: str) -> None:
    """Until nobody holds the other end of standard input."""
    from carrel import wiring  # noqa: F401 - what every command needs
    from carrel.adapters.limits import memory  # noqa: F401
    from carrel.cli.__main__ import run

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait for the commands
    gc.freeze()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        os.write(1, b"ready\n")
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _attend(connection, run)
            connection.close()


def _attend(connection: socket.socket, run: Any) -> NoReturn:
    """A process of its own waits for the command, which may become another program."""
    text, files, _, _ = socket.recv_fds(connection, _MOST, _FILES)
    request = json.loads(text)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    command = os.fork()
    if command == 0:
        connection.close()
        _work(request, files, run)
    connection.send(str(command).encode())
    _, status = os.waitpid(command, 0)
    connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _work(request: Mapping[str, Any], files: Sequence[int], run: Any) -> NoReturn:
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.setsid()
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    code = 1
    try:
        code = run(request["arguments"])
    except BaseException:  # noqa: BLE001 - nothing may leave the child but its exit code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
