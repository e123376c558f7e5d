"""`carrel doctor`: what is configured, reachable and wrong, in sentences."""

import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from carrel.cli.options import Json
from carrel.cli.rooms import settings_in_force
from carrel.cli.terminal import REFUSED, note, out, plain, say_json

if TYPE_CHECKING:
    from carrel.operate.doctor import Remark
    from carrel.wiring import Settings

app = typer.Typer()

_STYLES = {"ok": "green", "note": "yellow", "wrong": "bold red"}


@app.command(epilog="Example: carrel doctor --json")
def doctor(
    patience: Annotated[float, typer.Option(min=1, max=300, help="Seconds to wait for each part.")] = 20.0,
    as_json: Json = False,
) -> None:
    """Look at the settings, the database, its walls, the embedder, the model, the disk, the sandbox, the queue.

    Each sentence has a mark: ok, note or wrong. Exit 1 if anything is wrong.
    """
    import asyncio

    settings = settings_in_force()
    code = asyncio.run(_consult(settings, patience, as_json=as_json))
    if code:
        raise typer.Exit(code)


async def _consult(settings: "Settings", patience: float, *, as_json: bool) -> int:
    from carrel import wiring

    began = time.monotonic()
    remarks = await wiring.doctor(settings, patience=patience)
    is_wrong = any(remark.mark == "wrong" for remark in remarks)
    if as_json:
        said = [{"mark": one.mark, "about": one.about, "sentence": one.sentence} for one in remarks]
        say_json({"ok": not is_wrong, "remarks": said})
    else:
        _show(remarks)
    if time.monotonic() - began > patience:  # a thread still waits for a database that does not start
        sys.stdout.flush()
        os._exit(REFUSED)
    return REFUSED if is_wrong else 0


def _show(remarks: "Sequence[Remark]") -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for one in remarks:
        grid.add_row(Text(one.mark, style=_STYLES[one.mark]), one.about, Text(plain(one.sentence)))
    out().print(grid)
    wrong = sum(one.mark == "wrong" for one in remarks)
    note(f"{wrong} wrong." if wrong else "Nothing is wrong.")
