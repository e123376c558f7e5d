"""`carrel demo`: three organisations ask the same questions, through the same doors as everybody."""

import os
from typing import Annotated

import typer

from carrel.cli.options import Json
from carrel.cli.serve import Host, become_supervisor

app = typer.Typer()


@app.command(epilog="Example: carrel demo     |     carrel demo --tour")
def demo(
    *,
    tour: Annotated[bool, typer.Option("--tour", help="Show everything on a free port, and exit.")] = False,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to go on serving on.")] = 8000,
    as_json: Json = False,
) -> None:
    """Bring in three organisations, ask them the same questions, show a refusal and a wall, and go on serving.

    Repeating it costs little: organisations and unchanged documents are found again.
    With --tour: exit 0 if everything was shown as it should be, else 1.
    """
    os.environ.setdefault("CARREL_LOG_LEVEL", "warning")  # so that nothing stands between the lines of the show
    options = ["--tour"] * tour + ["--json"] * as_json
    guest = ("carrel.cli.tour", "--url", "{url}", *options)
    become_supervisor(host, 0 if tour else port, guest=guest, stay=not tour)
