"""`carrel documents`: what failed and how to get out of it, what is tried again, and the versions that there were."""

import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from carrel.cli import find, shapes
from carrel.cli.options import Json, Tenant
from carrel.cli.pages import everything
from carrel.cli.rooms import in_office
from carrel.cli.terminal import Absent, say, table
from carrel.domain.errors import NotFound
from carrel.domain.failures import way_out
from carrel.domain.ids import DocumentId, SourceId
from carrel.domain.library import Document, DocumentStatus, VersionRecord

if TYPE_CHECKING:
    from carrel.domain.access import Principal
    from carrel.wiring import Office

app = typer.Typer(help="See which documents failed, try them again, and look at their versions.", no_args_is_help=True)

InSource = Annotated[str | None, typer.Option("--source", "-s", help="Only of this source: its name or id.")]
Code = Annotated[str | None, typer.Option("--code", help="Only what failed with this code.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Only these documents.")]


@app.command(epilog="Example: carrel documents failed --tenant forgecraft --code no_text")
def failed(tenant: Tenant, source: InSource = None, code: Code = None, as_json: Json = False) -> None:
    """The documents that failed, newest first: where, why, after how many attempts, and what to do about it."""

    async def listed(office: "Office") -> list[Document]:
        from carrel.library.documents import Shelf

        who = await find.member(office, tenant)
        shelf = Shelf(source=await _source(office, who, source), status=DocumentStatus.FAILED, code=code)
        return await everything(lambda at: office.documents.listed(who, shelf, limit=200, cursor=at))

    found = in_office(listed)
    readable = table(("key", "id", "stage", "attempts", "why"), map(_row, found))
    say({"items": [shapes.document(one) for one in found], "next_cursor": None}, readable, as_json=as_json)


@app.command(epilog="Example: carrel documents redrive --tenant forgecraft --code embedder_key_refused")
def redrive(
    ids: Ids = None,
    *,
    tenant: Tenant,
    source: InSource = None,
    code: Code = None,
    force: Annotated[bool, typer.Option("--force", help="Also what is in quarantine.")] = False,
    as_json: Json = False,
) -> None:
    """Try failed documents again: all, some, or one. A running worker does it."""

    async def redriven(office: "Office") -> int:
        from carrel.ingest.retry import Redrive

        who = await find.member(office, tenant)
        named = None if not ids else [_id(one) for one in ids]
        wish = Redrive(named, await _source(office, who, source), code, force)
        try:
            return await office.retries.many(who, wish)
        except NotFound as error:
            raise Absent("One of these documents is not there; `carrel documents failed` shows them.") from error

    count = in_office(redriven)
    readable = f"{count} document{'' if count == 1 else 's'} went back to the queue."
    say({"redriven": count}, readable, as_json=as_json)


@app.command(epilog="Example: carrel documents versions 01900000-0000-7000-8000-000000000000 --tenant forgecraft")
def versions(
    document: Annotated[str, typer.Argument(metavar="ID", help="The document's id.")],
    *,
    tenant: Tenant,
    as_json: Json = False,
) -> None:
    """The versions that a document has and had, newest first. What former ones said is gone."""

    async def listed(office: "Office") -> list[VersionRecord]:
        who, named = await find.member(office, tenant), _id(document)
        try:
            return await everything(lambda at: office.documents.versions(who, named, limit=200, cursor=at))
        except NotFound as error:
            raise _no_document(document) from error

    found = in_office(listed)
    rows = [(one.number, one.size, one.chunks, one.created_at, one.live_from, one.live_until) for one in found]
    readable = table(("number", "bytes", "chunks", "brought", "read from", "until"), rows)
    say({"items": [shapes.version(one) for one in found], "next_cursor": None}, readable, as_json=as_json)


async def _source(office: "Office", who: "Principal", name: str | None) -> SourceId | None:
    return None if name is None else (await find.source(office, who, name)).id


def _id(name: str) -> DocumentId:
    """Raises Absent for what is no id."""
    try:
        return DocumentId(uuid.UUID(name))
    except ValueError as error:
        raise _no_document(name) from error


def _no_document(name: str) -> Absent:
    return Absent(f"There is no document {name!r}.")


def _row(document: Document) -> tuple[object, ...]:
    why = document.error
    said = "" if why is None else f"{why.code}: {why.detail} {way_out(why)}"
    return document.key, document.id, why and why.stage, document.attempts, said
