"""`carrel migrate`: the database at the present schema."""

import typer

from carrel.cli.options import Json
from carrel.cli.rooms import settings_in_force
from carrel.cli.terminal import say

app = typer.Typer()


@app.command(epilog="Example: carrel migrate     (with CARREL_DATABASE__OWNER_URL where the database is not embedded)")
def migrate(as_json: Json = False) -> None:
    """Bring the database to the present schema. May be repeated; needs the owner's address unless it is embedded."""
    import asyncio

    from carrel import wiring

    done = asyncio.run(wiring.migrate(settings_in_force()))
    sentence = "The database was brought to the present schema." if done else "The database is at the present schema."
    say({"migrated": done}, sentence, as_json=as_json)
