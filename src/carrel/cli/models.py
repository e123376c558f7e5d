"""`carrel models`: the embedder's weights, installed and shown."""

from pathlib import Path
from typing import Annotated

import typer

from carrel.cli.options import Json
from carrel.cli.rooms import settings_in_force
from carrel.cli.terminal import say, table

app = typer.Typer(help="Install the embedder's weights, and see what is here.", no_args_is_help=True)


@app.command(epilog="Example: carrel models install ~/Downloads/all-MiniLM-L6-v2/model.safetensors")
def install(
    file: Annotated[Path, typer.Argument(help="The file model.safetensors; tokenizer.json lies beside it.")],
    as_json: Json = False,
) -> None:
    """Copy the weights to CARREL_HOME. Other weights than the published ones are refused: exit 1, `wrong_model`."""
    from carrel import wiring

    settings = settings_in_force()
    wiring.install_model(settings, file)
    found = wiring.model(settings)
    value = {"model": found.name, "weights": str(found.weights)}
    say(value, f"Installed {found.name} in {found.weights}.", as_json=as_json)


@app.command("list", epilog="Example: carrel models list --json")
def list_(as_json: Json = False) -> None:
    """The models that this installation knows, and whether they are ready."""
    from carrel import wiring

    embedder = wiring.embedder_at_hand(settings_in_force())
    answering = wiring.models_at_hand(settings_in_force())
    item = {
        "name": embedder.name,
        "use": "embedder",
        "built": embedder.ready,
        "weights": str(embedder.weights) if embedder.weights else None,
    }
    rows = [
        (embedder.name, "embedder", embedder.state, embedder.weights),
        *((name, "answers", state, None) for name, state in answering),
    ]
    answerers = [{"name": name, "use": "answers", "built": True, "weights": None} for name, _ in answering]
    say({"items": [item, *answerers]}, table(("model", "use", "state", "weights"), rows), as_json=as_json)
