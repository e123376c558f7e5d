"""`carrel migrate`: the database at the present schema."""

import asyncio

import typer

from carrel.cli.options import Json
from carrel.cli.rooms import settings_in_force
from carrel.cli.terminal import say

app = typer.Typer()


@app.command(epilog="Example: CARREL_DATABASE__OWNER_URL=postgresql://owner:…@db/carrel carrel migrate")
def migrate(as_json: Json = False) -> None:
    """Bring the database to the present schema. May be repeated; needs the owner's address unless it is embedded."""
    from carrel import wiring

    done = asyncio.run(wiring.migrate(settings_in_force()))
    sentence = "The database was brought to the present schema." if done else "The database is at the present schema."
    say({"migrated": done}, sentence, as_json=as_json)
