"""`carrel serve` and `carrel work`: the processes that run for a long time."""

import errno
import ipaddress
import os
import socket
from typing import Annotated

import typer

from carrel.cli import children
from carrel.cli.options import Json
from carrel.cli.supervisor import Plan
from carrel.cli.terminal import note
from carrel.domain.errors import Unavailable

app = typer.Typer()

Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")]


@app.command(epilog="Example: carrel serve --port 8080")
def serve(
    *,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    worker: Annotated[bool, typer.Option("--worker/--no-worker", help="Also work the queue.")] = True,
    processes: Annotated[int, typer.Option(min=1, max=64, help="API processes that share the port.")] = 1,
    as_json: Json = False,
) -> None:
    """Serve the HTTP API and work the queue until SIGTERM or Ctrl-C; then finish what is in hand, and exit 0.

    The first start makes the database and an operator key, which is shown once on stderr.
    With --json the URL and the pid are printed once requests are answered.
    """
    become_supervisor(host, port, worker=worker, processes=processes, tell=as_json)


@app.command(epilog="Example: carrel work     (beside `carrel serve --no-worker`, on as many machines as you like)")
def work(as_json: Json = False) -> None:
    """Work the queue until SIGTERM or Ctrl-C; then finish what is in hand, and exit 0."""
    module = "carrel.worker"
    arguments = children.command(module, *(["--json"] if as_json else []))
    os.execve(arguments[0], arguments, children.environment_of(module))  # noqa: S606 - our own interpreter


def become_supervisor(
    host: str,
    port: int,
    *,
    worker: bool = True,
    processes: int = 1,
    tell: bool = False,
    guest: tuple[str, ...] = (),
    stay: bool = True,
) -> None:
    """Does not return. `{url}` in the guest's arguments becomes the address. Raises Unavailable for a taken port."""
    listener = listen(host, port)
    _warn_of_strangers(host)
    name = f"[{host}]" if ":" in host else host
    url = f"http://{name}:{listener.getsockname()[1]}"
    os.set_inheritable(listener.fileno(), True)
    plan = Plan(
        listener=listener.fileno(),
        url=url,
        worker=worker,
        processes=processes,
        guest=tuple(word.replace("{url}", url) for word in guest),
        stay=stay,
        tell=tell,
    )
    arguments = children.command("carrel.cli.supervisor", plan.text())
    os.execv(arguments[0], arguments)  # noqa: S606 - our own interpreter


def listen(host: str, port: int) -> socket.socket:
    """A port of 0 takes a free one. Raises Unavailable `port_in_use`, `cannot_listen`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            sentence = f"Port {port} on {host} is taken by another program: stop it, or give another with --port."
            raise Unavailable(sentence, code="port_in_use") from error
        raise Unavailable(f"Cannot listen on {host}:{port}: {error.strerror}.", code="cannot_listen") from error


def _warn_of_strangers(host: str) -> None:
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if not is_loopback:
        note(f"warning: {host} is open to other machines, and keys travel in clear: put TLS in front of it.")
