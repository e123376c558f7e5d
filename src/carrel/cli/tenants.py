"""`carrel tenants`: organisations, made and listed."""

from typing import Annotated

import typer

from carrel.cli import shapes
from carrel.cli.options import Json
from carrel.cli.pages import everything
from carrel.cli.rooms import in_office
from carrel.cli.terminal import say, table
from carrel.domain.access import console
from carrel.domain.layout import Isolation

app = typer.Typer(help="Make and list organisations.", no_args_is_help=True)


@app.command(epilog='Example: carrel tenants create "Forgecraft Supply" --slug forgecraft')
def create(
    name: Annotated[str, typer.Argument(help="The organisation's name.")],
    slug: Annotated[str | None, typer.Option(help="Its short name in commands; made from the name if absent.")] = None,
    isolation: Annotated[
        Isolation | None, typer.Option(help="Shared index tables or its own, for ever; its size decides if absent.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make an organisation. One whose slug is taken is refused: exit 1, `tenant_exists`."""
    made = in_office(lambda office: office.tenants.create(console(None), name, slug=slug, isolation=isolation))
    say(shapes.tenant(made), f"Made {made.name}: slug {made.slug}, id {made.id}.", as_json=as_json)


@app.command("list", epilog="Example: carrel tenants list --json")
def list_(as_json: Json = False) -> None:
    """All organisations, newest first."""
    found = in_office(
        lambda office: everything(lambda cursor: office.tenants.listed(console(None), limit=200, cursor=cursor))
    )
    rows = [(one.slug, one.name, one.status, one.isolation, one.id, one.created_at) for one in found]
    readable = table(("slug", "name", "status", "isolation", "id", "made"), rows)
    say({"items": [shapes.tenant(one) for one in found], "next_cursor": None}, readable, as_json=as_json)
