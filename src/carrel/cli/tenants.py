"""`carrel tenants`: organisations, from their making to their end."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carrel.cli import find, shapes
from carrel.cli.options import Json
from carrel.cli.pages import everything
from carrel.cli.rooms import in_office
from carrel.cli.terminal import REFUSED, note, say, table
from carrel.domain.access import console
from carrel.domain.layout import Isolation
from carrel.domain.library import Tenant

if TYPE_CHECKING:
    from rich.console import RenderableType

    from carrel.tenancy.imports import Imported
    from carrel.tenancy.life import TenantReceipt
    from carrel.wiring import Office

app = typer.Typer(help="Organisations: made, listed, suspended, exported, deleted.", no_args_is_help=True)

Slug = Annotated[str, typer.Argument(help="The organisation: its slug or id.")]


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


@app.command(epilog="Example: carrel tenants show forgecraft")
def show(slug: Slug, as_json: Json = False) -> None:
    """One organisation."""
    found = in_office(lambda office: find.tenant(office, slug))
    rows = [(name, value) for name, value in shapes.tenant(found).items()]
    say(shapes.tenant(found), table(("what", "is"), rows), as_json=as_json)


@app.command(epilog='Example: carrel tenants rename forgecraft "Forgecraft Holding"')
def rename(
    slug: Slug, name: Annotated[str, typer.Argument(help="The new name; the slug stays.")], as_json: Json = False
) -> None:
    """Give an organisation another name."""
    changed = _changed(slug, lambda office, tenant: office.life.rename(console(None), tenant.id, name))
    say(shapes.tenant(changed), f"{changed.slug} is now {changed.name}.", as_json=as_json)


@app.command(epilog="Example: carrel tenants suspend forgecraft")
def suspend(slug: Slug, as_json: Json = False) -> None:
    """Refuse everything of an organisation, from the next request on. Nothing is lost."""
    changed = _changed(slug, lambda office, tenant: office.life.suspend(console(None), tenant.id))
    say(shapes.tenant(changed), f"{changed.slug} is suspended.", as_json=as_json)


@app.command(epilog="Example: carrel tenants resume forgecraft")
def resume(slug: Slug, as_json: Json = False) -> None:
    """Let a suspended organisation work again."""
    changed = _changed(slug, lambda office, tenant: office.life.resume(console(None), tenant.id))
    say(shapes.tenant(changed), f"{changed.slug} works again.", as_json=as_json)


@app.command(epilog="Example: carrel tenants delete forgecraft --yes")
def delete(
    slug: Slug,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Give an organisation up for ever, with all that it has.

    It is invisible at once; a worker destroys the rest. `carrel tenants receipt ID` shows what was destroyed.
    """
    if not yes:
        _demand_consent(slug)

    async def given_up(office: "Office") -> Tenant:
        tenant = await find.tenant(office, slug)
        await office.life.delete(console(None), tenant.id)
        return tenant

    gone = in_office(given_up)
    readable = f"{gone.slug} is gone. `carrel tenants receipt {gone.id}` shows what was destroyed."
    say({"id": gone.id, "slug": gone.slug, "deleted": True}, readable, as_json=as_json)


@app.command(epilog="Example: carrel tenants receipt 019a2f3c-6d1e-7c3a-9b5e-0d6f2a1b3c4d")
def receipt(
    tenant: Annotated[str, typer.Argument(help="The id of the organisation that was deleted.")], as_json: Json = False
) -> None:
    """What was destroyed of an organisation that was deleted."""
    found = in_office(lambda office: find.receipt(office, tenant))
    say(_shape(found), _readable(found), as_json=as_json)


@app.command(epilog="Example: carrel tenants export forgecraft --to forgecraft.tar")
def export(
    slug: Slug,
    to: Annotated[Path, typer.Option("--to", help="The archive to write; it must not be there yet.")],
    as_json: Json = False,
) -> None:
    """Write everything of an organisation into one archive of open files, private things of every member too."""
    from carrel.cli.archives import written

    if to.exists():
        raise typer.BadParameter(f"{to} is there already.", param_hint="--to")
    size = in_office(lambda office: written(office, slug, to))
    say({"file": to, "bytes": size}, f"Wrote {to}: {size:,} bytes.", as_json=as_json)


@app.command("import", epilog="Example: carrel tenants import forgecraft.tar --slug forgecraft-new")
def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="An archive that `export` wrote.")],
    slug: Annotated[str | None, typer.Option(help="The new short name; the archive's own if absent.")] = None,
    as_json: Json = False,
) -> None:
    """Make an organisation from an archive, with new ids, every document read and indexed anew.

    The archive is judged whole before anything is written. Members who have a verified account of their address here
    come along; the others are named. Exit 1 if a document could not be taken.
    """
    from carrel.cli.archives import brought

    done = in_office(lambda office: brought(office, file, slug))
    say(shapes.imported(done), _report(done), as_json=as_json)
    if done.rejected:
        raise typer.Exit(REFUSED)


def _changed(slug: str, change: Callable[["Office", Tenant], Awaitable[Tenant]]) -> Tenant:
    async def errand(office: "Office") -> Tenant:
        return await change(office, await find.tenant(office, slug))

    return in_office(errand)


def _demand_consent(slug: str) -> None:
    """Who cannot be asked has not agreed."""
    import sys

    if not sys.stdin.isatty():
        raise typer.BadParameter("Say --yes: this cannot be taken back, and nobody is here to be asked.")
    note(f"This destroys {slug} with all documents, chats, keys and members. It cannot be taken back.")
    if typer.prompt("Write its slug again", err=True) != slug:
        note("Nothing was done.")
        raise typer.Exit(REFUSED)


def _report(done: "Imported") -> "RenderableType":
    rows: list[tuple[str, object]] = [("sources", done.sources), ("bots", done.bots)]
    rows += [(f"documents {status}", count) for status, count in done.documents.items()]
    rows += [("chats", done.chats), ("messages", done.messages), ("members", ", ".join(done.joined))]
    rows += [("to be invited", ", ".join(done.absent))] if done.absent else []
    rows += [(f"not taken: {left.key}", left.code) for left in done.rejected]
    return table(("what", "came in"), rows, title=f"{done.tenant.slug}, id {done.tenant.id}")


def _shape(found: "TenantReceipt") -> shapes.Shape:
    return {
        "tenant_id": found.tenant,
        "requested_by": found.requested_by,
        "requested_at": found.requested_at,
        "completed_at": found.completed_at,
        "destroyed": dict(found.destroyed),
    }


def _readable(found: "TenantReceipt") -> "RenderableType":
    rows: list[tuple[str, object]] = [("asked for", found.requested_at), ("complete", found.completed_at or "not yet")]
    rows += [(f"destroyed {what}", count) for what, count in sorted(found.destroyed.items())]
    return table(("what", "is"), rows)
