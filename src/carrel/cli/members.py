"""`carrel members`: who belongs to an organisation, and as what; invitations by mail."""

import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from carrel.cli import find, shapes
from carrel.cli.options import Json, Tenant
from carrel.cli.pages import everything
from carrel.cli.rooms import in_office
from carrel.cli.terminal import Absent, say, table
from carrel.domain.access import Principal
from carrel.domain.addresses import email_address
from carrel.domain.errors import NotFound
from carrel.domain.ids import UserId
from carrel.domain.rights import Role

if TYPE_CHECKING:
    from carrel.tenancy.invitations import Invitation
    from carrel.tenancy.members import Member
    from carrel.wiring import Office

app = typer.Typer(help="List, invite, change and remove an organisation's members.", no_args_is_help=True)

Person = Annotated[str, typer.Argument(help="The member's e-mail address, or id.")]
GivenRole = Annotated[Role | None, typer.Option("--role", help="The role from now on.")]


@app.command("list", epilog="Example: carrel members list --tenant forgecraft")
def list_(tenant: Tenant, as_json: Json = False) -> None:
    """The members of an organisation, newest first, suspended ones too."""

    async def listed(office: "Office") -> "list[Member]":
        who = await find.member(office, tenant)
        return await everything(lambda at: office.members.listed(who, limit=200, cursor=at))

    found = in_office(listed)
    rows = [(one.email, one.name, one.role, one.status, one.joined_at) for one in found]
    readable = table(("address", "name", "role", "status", "joined"), rows)
    say({"items": [shapes.membership(one) for one in found], "next_cursor": None}, readable, as_json=as_json)


@app.command(epilog="Example: carrel members invite ada@example.org --role admin --tenant forgecraft")
def invite(
    address: Annotated[str, typer.Argument(help="The e-mail address that the letter goes to.")],
    tenant: Tenant,
    role: Annotated[Role, typer.Option(help="What whoever accepts becomes.")] = Role.VIEWER,
    as_json: Json = False,
) -> None:
    """Send an invitation by mail; the worker of the server sends it. It is good for seven days, and the newest only."""

    async def invited(office: "Office") -> "Invitation":
        from carrel.tenancy.invitations import InvitationWish

        wish = InvitationWish(email_address(address), role)
        return await office.invitations.create(await find.member(office, tenant), wish)

    made = in_office(invited)
    readable = f"Invited {made.email} as {made.role.value}: the letter is good until {made.expires_at:%Y-%m-%d}."
    say(shapes.invitation(made), readable, as_json=as_json)


@app.command(epilog="Example: carrel members change ada@example.org --role editor --tenant forgecraft")
def change(
    person: Person,
    tenant: Tenant,
    role: GivenRole = None,
    suspended: Annotated[
        bool | None, typer.Option("--suspend/--resume", help="Shut the member out at once, or end that.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Give a member another role, or suspend one. The last active owner stays: exit 1, `last_owner`."""
    if role is None and suspended is None:
        raise typer.BadParameter("Give --role, --suspend or --resume.")

    async def changed(office: "Office") -> "Member":
        from carrel.tenancy.members import MemberStatus

        who = await find.member(office, tenant)
        status = None if suspended is None else MemberStatus.SUSPENDED if suspended else MemberStatus.ACTIVE
        return await office.members.change(who, await _member(office, who, person), role=role, status=status)

    made = in_office(changed)
    say(shapes.membership(made), f"{made.email} is {made.role.value}, {made.status.value}.", as_json=as_json)


@app.command(epilog="Example: carrel members remove ada@example.org --tenant forgecraft")
def remove(person: Person, tenant: Tenant, as_json: Json = False) -> None:
    """Remove a member at once, with the keys, private sources and chats of that person."""

    async def removed(office: "Office") -> UserId:
        who = await find.member(office, tenant)
        user = await _member(office, who, person)
        await office.members.remove(who, user)
        return user

    user = in_office(removed)
    say({"id": user, "removed": True}, f"Removed {person}.", as_json=as_json)


async def _member(office: "Office", who: Principal, person: str) -> UserId:
    """By address, or else by id. Raises Absent."""
    named = await office.members.named(who, person.strip().lower())
    if named is not None:
        return named.user
    try:
        return (await office.members.get(who, UserId(uuid.UUID(person)))).user
    except (ValueError, NotFound) as error:
        raise Absent(f"There is no member {person!r}; `carrel members list` shows them.") from error
