"""`carrel keys`: made (shown once), listed, revoked."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from carrel.cli import find, shapes
from carrel.cli.options import Json
from carrel.cli.pages import everything
from carrel.cli.rooms import in_office
from carrel.cli.terminal import Absent, say, table
from carrel.domain.access import Principal, console
from carrel.domain.credentials import ApiKey, parse_api_key
from carrel.domain.errors import NotFound
from carrel.domain.ids import BotId, KeyId
from carrel.domain.rights import Scope

if TYPE_CHECKING:
    from carrel.tenancy.keys import IssuedKey
    from carrel.wiring import Office

app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)

_TENANT_OR_OPERATOR = "Name a tenant with --tenant, or say --operator for an operator key."

Tenant = Annotated[str | None, typer.Option("--tenant", "-t", help="The organisation: its slug or id.")]
Operator = Annotated[bool, typer.Option("--operator", help="An operator key: it makes tenants and reads no content.")]


@app.command(
    epilog="Example: carrel keys create --tenant forgecraft --scope search,ask     |     carrel keys create --operator"
)
def create(
    *,
    tenant: Tenant = None,
    operator: Operator = False,
    scope: Annotated[
        list[str] | None, typer.Option(help="What it may do: search, ask, ingest, manage; with commas or repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="A name by which you know it again.")] = None,
    expires_at: Annotated[datetime | None, typer.Option(help="When it ends (UTC).")] = None,
    expires_in_days: Annotated[int | None, typer.Option(min=1, max=36500, help="After how many days it ends.")] = None,
    bot: Annotated[list[str] | None, typer.Option(help="It sees only this bot. May be repeated.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="It sees only this source. May be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key. Its text is shown here and never again."""
    if operator == (tenant is not None):
        raise typer.BadParameter(_TENANT_OR_OPERATOR)
    if tenant is None:
        if scope or bot or source or expires_at or expires_in_days:
            raise typer.BadParameter("An operator key has no scopes, no limits and no end; revoke it instead.")
        _show_operator(
            in_office(lambda office: office.keys.create_operator(console(None), name=name or "cli")), as_json
        )
        return
    scopes, ends = _scopes(scope), _end(expires_at, expires_in_days)
    label = name or f"cli {datetime.now(UTC):%Y-%m-%d %H:%M}"
    limits = (bot, source)
    issued = in_office(lambda office: _issue(office, tenant, label, scopes=scopes, ends=ends, limits=limits))
    shape = shapes.key(issued.row)
    say(
        {"id": shape.pop("id"), "key": issued.clear, **shape},
        f"{issued.clear}\n\nScopes: {', '.join(sorted(issued.row.scopes))}. Keep it: it is not shown again.",
        as_json=as_json,
    )


@app.command("list", epilog="Example: carrel keys list --tenant forgecraft     |     carrel keys list --operator")
def list_(
    *,
    tenant: Tenant = None,
    operator: Annotated[bool, typer.Option("--operator", help="The operators' keys, which are of no tenant.")] = False,
    as_json: Json = False,
) -> None:
    """The keys of an organisation, or of the operators, newest first, without their secrets."""
    if operator == (tenant is not None):
        raise typer.BadParameter(_TENANT_OR_OPERATOR)

    async def listed(office: "Office") -> list[shapes.Shape]:
        who = console(None) if tenant is None else await find.member(office, tenant)
        return [shapes.key(row) for row in await everything(lambda at: office.keys.listed(who, limit=200, cursor=at))]

    found = in_office(listed)
    names = ("name", "scopes", "expires_at", "revoked_at", "last_used_at", "id")
    rows = [[", ".join(row["scopes"]) if name == "scopes" else row[name] for name in names] for row in found]  # type: ignore[arg-type]
    readable = table(("name", "scopes", "expires", "revoked", "last used", "id"), rows)
    say({"items": found, "next_cursor": None}, readable, as_json=as_json)


@app.command(epilog="Example: carrel keys revoke 019a2f3c-… --tenant forgecraft")
def revoke(
    key: Annotated[str, typer.Argument(help="The key's id, or the whole key.")],
    tenant: Tenant = None,
    operator: Operator = False,
    as_json: Json = False,
) -> None:
    """Make a key useless from the next request on."""
    if operator == (tenant is not None):
        raise typer.BadParameter(_TENANT_OR_OPERATOR)
    identifier = _key_id(key)

    async def revoked(office: "Office") -> None:
        who = console(None) if tenant is None else await find.member(office, tenant)
        await _revoke(office, who, identifier)

    in_office(revoked)
    say({"id": identifier, "revoked": True}, f"The key {identifier} is dead.", as_json=as_json)


async def _issue(
    office: "Office",
    tenant: str,
    name: str,
    *,
    scopes: frozenset[Scope],
    ends: datetime | None,
    limits: tuple[list[str] | None, list[str] | None],
) -> "IssuedKey":
    from carrel.tenancy.keys import KeyWish

    who = await find.member(office, tenant)
    bots, sources = limits
    wish = KeyWish(
        name,
        scopes,
        expires_at=ends,
        bots=frozenset([BotId((await find.bot(office, who, one)).id) for one in bots]) if bots else None,
        sources=await find.sources(office, who, sources),
    )
    return await office.keys.create(who, wish)


async def _revoke(office: "Office", who: Principal, key: KeyId) -> None:
    try:
        await office.keys.revoke(who, key)
    except NotFound as error:
        raise Absent("There is no such key, or it was revoked already.") from error


def _show_operator(key: ApiKey, as_json: bool) -> None:
    readable = f"{key.reveal()}\n\nIt makes tenants and reads no content. Keep it: it is not shown again."
    say({"id": key.id, "key": key.reveal(), "scopes": [], "kind": "operator"}, readable, as_json=as_json)


def _scopes(words: list[str] | None) -> frozenset[Scope]:
    named = [part.strip() for word in words or [] for part in word.split(",") if part.strip()]
    if not named or not set(named) <= set(Scope):
        raise typer.BadParameter("Scopes are search, ask, ingest and manage.", param_hint="--scope")
    return frozenset(map(Scope, named))


def _end(at: datetime | None, days: int | None) -> datetime | None:
    if at is not None and days is not None:
        raise typer.BadParameter("Give --expires-at or --expires-in-days, not both.")
    if days is not None:
        return datetime.now(UTC) + timedelta(days=days)
    return at.replace(tzinfo=at.tzinfo or UTC) if at else None


def _key_id(text: str) -> KeyId:
    if text.startswith("ck_"):
        return parse_api_key(text).id
    try:
        return KeyId(uuid.UUID(text))
    except ValueError as error:
        raise typer.BadParameter("A key's id is a UUID; `carrel keys list` shows it.") from error
