"""`carrel credentials`: keys of model providers, kept encrypted; their text comes from standard input or a prompt."""

import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from carrel.cli import find, shapes
from carrel.cli.options import Json, Tenant
from carrel.cli.pages import everything
from carrel.cli.rooms import in_office
from carrel.cli.terminal import say, table
from carrel.domain.providers import ProviderCredential
from carrel.domain.secret import Secret

if TYPE_CHECKING:
    from carrel.wiring import Office

app = typer.Typer(help="Keep, list and remove keys of model providers.", no_args_is_help=True)

_LONGEST: Final = 8192


@app.command(epilog="Example: carrel credentials add openai --tenant forgecraft --provider openai < key.txt")
def add(
    name: Annotated[str, typer.Argument(help="A name by which you know it again.")],
    *,
    tenant: Tenant,
    provider: Annotated[str, typer.Option(help="Whose key it is, as in openai or anthropic.")],
    base_url: Annotated[str | None, typer.Option(help="Where the provider is, if not at its public address.")] = None,
    as_json: Json = False,
) -> None:
    """Keep a provider's key, encrypted. It is read from standard input, or asked for, and never shown again."""
    secret = _read_secret()

    async def added(office: "Office") -> ProviderCredential:
        from carrel.tenancy.credentials import CredentialWish

        who = await find.member(office, tenant)
        return await office.credentials.create(who, CredentialWish(name, provider, secret, base_url))

    made = in_office(added)
    say(shapes.credential(made), f"Kept {made.name}, encrypted: id {made.id}.", as_json=as_json)


@app.command("list", epilog="Example: carrel credentials list --tenant forgecraft")
def list_(tenant: Tenant, as_json: Json = False) -> None:
    """The provider credentials of an organisation, without their secrets."""

    async def listed(office: "Office") -> list[ProviderCredential]:
        who = await find.member(office, tenant)
        return await everything(lambda at: office.credentials.listed(who, limit=200, cursor=at))

    found = in_office(listed)
    rows = [(one.name, one.provider, one.base_url, one.last_four, one.rotated_at, one.id) for one in found]
    readable = table(("name", "provider", "address", "ends in", "since", "id"), rows)
    say({"items": [shapes.credential(one) for one in found], "next_cursor": None}, readable, as_json=as_json)


@app.command(epilog="Example: carrel credentials remove openai --tenant forgecraft")
def remove(
    name: Annotated[str, typer.Argument(help="Its name or id.")], *, tenant: Tenant, as_json: Json = False
) -> None:
    """Remove a provider credential. Bots that used it go on without one."""

    async def removed(office: "Office") -> ProviderCredential:
        who = await find.member(office, tenant)
        found = await find.credential(office, who, name)
        await office.credentials.delete(who, found.id)
        return found

    gone = in_office(removed)
    say({"id": gone.id, "removed": True}, f"Removed {gone.name}.", as_json=as_json)


def _read_secret() -> Secret:
    """Never from an argument: those stand in the process list and in the shell's history."""
    if sys.stdin.isatty():
        text = typer.prompt("The provider's key", hide_input=True, err=True)
    else:
        text = sys.stdin.read(_LONGEST + 2)
    text = str(text).strip()
    if not 0 < len(text) <= _LONGEST or "\x00" in text:
        raise typer.BadParameter(f"Give the key on standard input: 1 to {_LONGEST} characters.")
    return Secret(text)
