"""`carrel formats`: which documents Carrel reads."""

import typer

from carrel.cli.options import Json
from carrel.cli.terminal import say, table

app = typer.Typer()


@app.command(epilog="Example: carrel formats --json")
def formats(as_json: Json = False) -> None:
    """The formats that Carrel reads, and the file endings by which it knows them."""
    from carrel.wiring import formats as supported

    endings: dict[str, list[str]] = {}
    for ending, media_type in supported().items():
        endings.setdefault(media_type, []).append(ending)
    rows = [(media_type, " ".join(known)) for media_type, known in endings.items()]
    items = [{"media_type": media_type, "endings": known} for media_type, known in endings.items()]
    say({"items": items}, table(("media type", "file endings"), rows), as_json=as_json)
