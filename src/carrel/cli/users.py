"""`carrel users`: the people of the platform, and who of them may not come in."""

from typing import TYPE_CHECKING, Annotated

import typer

from carrel.cli import shapes
from carrel.cli.options import Json
from carrel.cli.pages import everything
from carrel.cli.rooms import in_office
from carrel.cli.terminal import Absent, say, table
from carrel.domain.access import console
from carrel.domain.errors import NotFound

if TYPE_CHECKING:
    from carrel.tenancy.accounts import User
    from carrel.wiring import Office

app = typer.Typer(help="List people, suspend and resume them.", no_args_is_help=True)

Person = Annotated[str, typer.Argument(help="The person's address or id.")]


@app.command("list", epilog="Example: carrel users list --json")
def list_(as_json: Json = False) -> None:
    """All people with an account, newest first."""
    found = in_office(
        lambda office: everything(
            lambda cursor: office.entrance.accounts.listed(console(None), limit=200, cursor=cursor)
        )
    )
    rows = [(one.email, one.name, one.status, one.id, one.created_at) for one in found]
    readable = table(("address", "name", "status", "id", "made"), rows)
    say({"items": [shapes.user(one) for one in found], "next_cursor": None}, readable, as_json=as_json)


@app.command(epilog="Example: carrel users suspend ada@example.org")
def suspend(person: Person, as_json: Json = False) -> None:
    """Let somebody do nothing any more, in no organisation: sessions, tokens and keys are dead at once."""

    async def errand(office: "Office") -> "User":
        try:
            return await office.entrance.accounts.suspend(console(None), person)
        except NotFound as error:
            raise _absent(person) from error

    found = in_office(errand)
    say(shapes.user(found), f"{found.email} is suspended.", as_json=as_json)


@app.command(epilog="Example: carrel users resume ada@example.org")
def resume(person: Person, as_json: Json = False) -> None:
    """Let somebody sign in again. Sessions that ended stay ended; keys live again."""

    async def errand(office: "Office") -> "User":
        try:
            return await office.entrance.accounts.resume(console(None), person)
        except NotFound as error:
            raise _absent(person) from error

    found = in_office(errand)
    say(shapes.user(found), f"{found.email} may sign in again.", as_json=as_json)


def _absent(person: str) -> Absent:
    return Absent(f"There is nobody {person!r}; `carrel users list` shows all.")
