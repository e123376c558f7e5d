"""Options that several commands share, each with one meaning everywhere."""

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout; all else goes to stderr.")]
Tenant = Annotated[str, typer.Option("--tenant", "-t", help="The organisation: its slug or id.", show_default=False)]
Tenants = Annotated[list[str], typer.Option("--tenant", "-t", help="An organisation: its slug or id. May be repeated.")]
Bot = Annotated[str | None, typer.Option("--bot", "-b", help="Read what this bot reads: its name or id.")]
EndUser = Annotated[
    str | None, typer.Option("--end-user", help="For whom the chat is had; without it, for nobody in particular.")
]
Sources = Annotated[list[str] | None, typer.Option("--source", "-s", help="A source: its name or id. May be repeated.")]
