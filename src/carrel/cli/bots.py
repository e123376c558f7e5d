"""`carrel bots`: profiles that read the sources that they were given."""

from typing import TYPE_CHECKING, Annotated

import typer

from carrel.cli import find, shapes
from carrel.cli.options import Json, Tenant
from carrel.cli.pages import everything
from carrel.cli.rooms import in_office
from carrel.cli.terminal import say, table
from carrel.domain.library import Bot

if TYPE_CHECKING:
    from carrel.wiring import Office

app = typer.Typer(
    help="Make and list bots: each reads the sources that it was given, and no other.", no_args_is_help=True
)


@app.command(epilog="Example: carrel bots create oncall --tenant forgecraft --source handbook")
def create(
    name: Annotated[str, typer.Argument(help="The bot's name.")],
    *,
    tenant: Tenant,
    source: Annotated[list[str], typer.Option("--source", "-s", help="A source, by name or id. May be repeated.")],
    instructions: Annotated[str, typer.Option(help="How it should answer.")] = "",
    model: Annotated[str | None, typer.Option(help="Which model writes; none is the deployment's.")] = None,
    credential: Annotated[
        str | None, typer.Option(help="The provider credential that pays for it, by name or id.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a bot. A name that is taken is refused: exit 1, `bot_exists`; so is a model that cannot be called."""

    async def made(office: "Office") -> Bot:
        from carrel.library.bots import NewBot

        who = await find.member(office, tenant)
        given = await find.sources(office, who, source) or frozenset()
        pays = await find.credential(office, who, credential) if credential else None
        wish = NewBot(name, given, instructions=instructions, model=model, credential=pays.id if pays else None)
        return await office.bots.create(who, wish)

    bot = in_office(made)
    say(shapes.bot(bot), f"Made the bot {bot.name}: id {bot.id}.", as_json=as_json)


@app.command("list", epilog="Example: carrel bots list --tenant forgecraft")
def list_(tenant: Tenant, as_json: Json = False) -> None:
    """The bots of an organisation."""

    async def listed(office: "Office") -> list[Bot]:
        who = await find.member(office, tenant)
        return await everything(lambda at: office.bots.listed(who, limit=200, cursor=at))

    found = in_office(listed)
    rows = [(one.name, len(one.sources), one.model, one.id, one.created_at) for one in found]
    readable = table(("name", "sources", "model", "id", "made"), rows)
    say({"items": [shapes.bot(one) for one in found], "next_cursor": None}, readable, as_json=as_json)
