"""`carrel secrets`: another master key, beside a running server."""

from typing import TYPE_CHECKING

import typer

from carrel.cli.options import Json
from carrel.cli.rooms import settings_in_force
from carrel.cli.terminal import REFUSED, note, say

if TYPE_CHECKING:
    from carrel.wiring import Rotated

app = typer.Typer(help="Rotate the master key that protects the tenants' own keys.", no_args_is_help=True)


@app.command(epilog="Example: carrel secrets rotate")
def rotate(as_json: Json = False) -> None:
    """Make a new master key, where it is a file, and wrap every tenant's data key with the current one.

    Servers go on meanwhile. It may be interrupted and run again. Exit 1 if a data key cannot be read.
    """
    import asyncio

    from carrel import wiring

    done = asyncio.run(wiring.rotate(settings_in_force()))
    unreadable = [str(tenant) for tenant in done.unreadable]
    shape = {"master_key_id": done.master, "new": done.new, "rewrapped": done.keys, "unreadable": unreadable}
    say(shape, _sentence(done), as_json=as_json)
    if unreadable:
        note("These tenants' data keys do not open with any known master key: see docs/secrets.md.")
        raise typer.Exit(REFUSED)


@app.command(epilog="Example: carrel secrets retire")
def retire(as_json: Json = False) -> None:
    """Destroy former master keys, once every data key is under the current one.

    Access tokens that a former key signed end with it: wait ten minutes after `rotate` if nobody is to notice.
    """
    import asyncio

    from carrel import wiring

    gone = asyncio.run(wiring.retire(settings_in_force()))
    say({"retired": gone}, f"{gone} former master keys are destroyed.", as_json=as_json)


def _sentence(done: "Rotated") -> str:
    said = "A new master key is in force" if done.new else "The master key in force is that of the settings"
    return f"{said} (id {done.master}). Data keys wrapped anew: {done.keys}."
