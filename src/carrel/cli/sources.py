"""`carrel sources`: named bodies of documents, made and listed."""

from typing import TYPE_CHECKING, Annotated

import typer

from carrel.cli import find, shapes
from carrel.cli.options import Json, Tenant
from carrel.cli.pages import everything
from carrel.cli.rooms import in_office
from carrel.cli.terminal import say, table
from carrel.domain.library import Duplicates, Source

if TYPE_CHECKING:
    from carrel.wiring import Office

app = typer.Typer(help="Make and list an organisation's sources of documents.", no_args_is_help=True)


@app.command(epilog="Example: carrel sources create handbook --tenant forgecraft")
def create(
    name: Annotated[str, typer.Argument(help="The source's name.")],
    tenant: Tenant,
    duplicates: Annotated[Duplicates, typer.Option(help="Equal bytes under another key.")] = Duplicates.ALLOW,
    as_json: Json = False,
) -> None:
    """Make a source. A name that is taken is refused: exit 1, `source_exists`."""

    async def made(office: "Office") -> Source:
        from carrel.library.sources import NewSource

        return await office.sources.create(await find.member(office, tenant), NewSource(name, duplicates=duplicates))

    source = in_office(made)
    say(shapes.source(source), f"Made the source {source.name}: id {source.id}.", as_json=as_json)


@app.command("list", epilog="Example: carrel sources list --tenant forgecraft")
def list_(tenant: Tenant, as_json: Json = False) -> None:
    """The sources of an organisation, with how many documents are in which state."""

    async def listed(office: "Office") -> list[Source]:
        who = await find.member(office, tenant)
        return await everything(lambda at: office.sources.listed(who, limit=200, cursor=at))

    found = in_office(listed)
    rows = [(one.name, one.kind, _counts(one), one.duplicates, _state(one), one.id, one.created_at) for one in found]
    readable = table(("name", "kind", "documents", "duplicates", "last run", "id", "made"), rows)
    say({"items": [shapes.source(one) for one in found], "next_cursor": None}, readable, as_json=as_json)


def _state(source: Source) -> str | None:
    if source.paused:
        return "paused"
    return source.last_run.state if source.last_run else None


def _counts(source: Source) -> str:
    return ", ".join(f"{count} {status}" for status, count in source.documents.items() if count) or "none"
