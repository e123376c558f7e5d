"""`carrel groups`: what the groups of a trusted issuer give."""

import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from carrel.cli import find, shapes
from carrel.cli.options import Json, Tenant
from carrel.cli.pages import everything
from carrel.cli.rooms import in_office
from carrel.cli.terminal import Absent, say, table
from carrel.domain.access import console
from carrel.domain.errors import NotFound
from carrel.domain.ids import GroupGrantId
from carrel.domain.rights import Role

if TYPE_CHECKING:
    from carrel.tenancy.groups import GroupGrant
    from carrel.wiring import Office

app = typer.Typer(help="Say which group of an issuer is which role in which organisation.", no_args_is_help=True)


@app.command(epilog="Example: carrel groups grant forgecraft-editors --tenant forgecraft --role editor")
def grant(
    group: Annotated[str, typer.Argument(help="The group as it stands in the token, to the letter.")],
    *,
    tenant: Tenant,
    role: Annotated[Role, typer.Option(help="admin, editor or viewer: no group makes an owner.")],
    issuer: Annotated[str | None, typer.Option(help="The issuer; CARREL_LOGIN__ISSUER if absent.")] = None,
    as_json: Json = False,
) -> None:
    """Give whoever comes with the group a role. It counts from their next request on."""

    async def granted(office: "Office") -> "GroupGrant":
        place = await find.tenant(office, tenant)
        return await office.groups.create(console(None), place.id, group=group, role=role, issuer=issuer)

    made = in_office(granted)
    say(shapes.group_grant(made), f"{made.group} is {made.role.value} in {tenant} (id {made.id}).", as_json=as_json)


@app.command("list", epilog="Example: carrel groups list --json")
def list_(as_json: Json = False) -> None:
    """What groups give, newest first."""
    found = in_office(
        lambda office: everything(lambda cursor: office.groups.listed(console(None), limit=200, cursor=cursor))
    )
    rows = [(one.group, one.role.value, one.tenant, one.issuer, one.id) for one in found]
    readable = table(("group", "role", "tenant", "issuer", "id"), rows)
    say({"items": [shapes.group_grant(one) for one in found], "next_cursor": None}, readable, as_json=as_json)


@app.command(epilog="Example: carrel groups revoke 019a2f3c-…")
def revoke(
    group_grant: Annotated[str, typer.Argument(help="The grant's id; `carrel groups list` shows it.")],
    as_json: Json = False,
) -> None:
    """Take the role away, at once, from everybody who has it by groups in that organisation."""
    try:
        identifier = GroupGrantId(uuid.UUID(group_grant))
    except ValueError as error:
        raise typer.BadParameter("A grant's id is a UUID; `carrel groups list` shows it.") from error

    async def revoked(office: "Office") -> None:
        try:
            await office.groups.revoke(console(None), identifier)
        except NotFound as error:
            raise Absent("There is no such grant.") from error

    in_office(revoked)
    say({"id": identifier, "revoked": True}, f"The grant {identifier} is gone.", as_json=as_json)
