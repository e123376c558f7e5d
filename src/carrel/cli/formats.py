"""`carrel formats`: which documents this installation reads."""

import typer

from carrel.cli.options import Json
from carrel.cli.rooms import settings_in_force
from carrel.cli.terminal import say, table

app = typer.Typer()


@app.command(epilog="Example: carrel formats --json")
def formats(as_json: Json = False) -> None:
    """What is read here: the file endings, and what a citation says of the place; and what an extra would read."""
    from carrel import wiring

    found = wiring.formats(settings_in_force())
    rows = [
        (one.media_type, " ".join(one.endings), ", ".join(one.places), "no" if one.missing else "yes") for one in found
    ]
    items = [
        {
            "media_type": one.media_type,
            "endings": one.endings,
            "places": one.places,
            "is_read": one.missing is None,
            "missing": one.missing,
        }
        for one in found
    ]
    say({"items": items}, table(("media type", "file endings", "place", "read"), rows), as_json=as_json)
    if not as_json:
        for sentence in sorted({one.missing for one in found if one.missing}):
            typer.echo(f"For what is not read: {sentence}.")
