"""`carrel sources`: those that refresh themselves, made, asked to, paused, and looked at."""

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from carrel.cli import find, shapes
from carrel.cli.options import Json, Tenant
from carrel.cli.rooms import in_office
from carrel.cli.sources import app
from carrel.cli.terminal import REFUSED, say, say_json, table
from carrel.domain.access import Principal
from carrel.domain.ids import SourceId
from carrel.domain.library import DocumentStatus, Duplicates, Source, SourceKind
from carrel.domain.origins import Run, RunState

if TYPE_CHECKING:
    from carrel.wiring import Office

Name = Annotated[str, typer.Argument(help="The source: its name or id.")]

_LOOK: Final = 0.5
_COUNTS: Final = ("found", "created", "replaced", "unchanged", "deleted", "failed")


@app.command(epilog="Example: carrel sources add handbook --tenant forgecraft --kind folder --path /srv/handbook")
def add(
    name: Annotated[str, typer.Argument(help="The source's name.")],
    *,
    tenant: Tenant,
    kind: Annotated[SourceKind, typer.Option(help="Where its documents come from.")],
    path: Annotated[str | None, typer.Option(help="folder: the folder, which the operator has opened.")] = None,
    url: Annotated[list[str] | None, typer.Option(help="url, sitemap: an address. May be repeated.")] = None,
    depth: Annotated[int | None, typer.Option(help="url: how many links away from the addresses.")] = None,
    pages: Annotated[int | None, typer.Option(help="url, sitemap: how many pages at most.")] = None,
    bucket: Annotated[str | None, typer.Option(help="s3: the bucket.")] = None,
    prefix: Annotated[str | None, typer.Option(help="s3: what the keys begin with.")] = None,
    region: Annotated[str | None, typer.Option(help="s3: the region.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="s3: another object store than Amazon's.")] = None,
    credential: Annotated[str | None, typer.Option(help="s3: the credential, by name or id.")] = None,
    queue: Annotated[str | None, typer.Option(help="s3: the SQS queue that hears of changes.")] = None,
    every: Annotated[int | None, typer.Option(help="Seconds from one run to the next; without it, when asked.")] = None,
    duplicates: Annotated[Duplicates, typer.Option(help="Equal bytes under another key.")] = Duplicates.ALLOW,
    as_json: Json = False,
) -> None:
    """Make a source that fetches its documents itself, and begin. `upload` and `text` make one that waits for them."""
    fields: dict[str, Any] = {
        "path": path, "urls": url or None, "depth": depth, "pages": pages, "bucket": bucket, "prefix": prefix,
        "region": region, "endpoint": endpoint, "queue": queue,
    }  # fmt: skip

    async def made(office: "Office") -> Source:
        from carrel.domain.places import place_of
        from carrel.library.sources import NewSource

        who = await find.member(office, tenant)
        if credential is not None:
            fields["credential_id"] = (await find.credential(office, who, credential)).id
        given = {field: value for field, value in fields.items() if value is not None}
        place = place_of(kind, given or None)
        wish = NewSource(name, kind, duplicates=duplicates, place=place, schedule=every)
        return await office.sources.create(who, wish)

    source = in_office(made)
    say(shapes.source(source), f"Made the source {source.name}: id {source.id}.", as_json=as_json)


@app.command(epilog="Example: carrel sources refresh handbook --tenant forgecraft --wait")
def refresh(
    name: Name,
    *,
    tenant: Tenant,
    wait: Annotated[bool, typer.Option("--wait", help="Until the run has ended and its documents are read.")] = False,
    accept_empty: Annotated[bool, typer.Option("--accept-empty", help="Nothing at all may be there.")] = False,
    as_json: Json = False,
) -> None:
    """Walk a source's place now. With --wait, exit 1 unless all that is there was taken.

    If no worker lives, one works for the time that is waited.
    """

    async def asked(office: "Office") -> Source:
        who = await find.member(office, tenant)
        source = await find.source(office, who, name)
        if not wait:
            return await office.refreshes.request(who, source.id, accept_empty=accept_empty)
        return await _refreshed(office, who, source, accept_empty=accept_empty)

    source = in_office(asked)
    if not wait or source.last_run is None:
        say(shapes.source(source), f"{source.name} will be refreshed.", as_json=as_json)
        return
    _show(source.last_run, as_json=as_json)
    if source.last_run.state is not RunState.DONE:
        raise typer.Exit(REFUSED)


@app.command(epilog="Example: carrel sources pause handbook --tenant forgecraft")
def pause(name: Name, tenant: Tenant, as_json: Json = False) -> None:
    """Hold a source: no walk, no event, and documents whose work has not begun wait."""

    async def paused(office: "Office") -> Source:
        who = await find.member(office, tenant)
        return await office.refreshes.pause(who, (await find.source(office, who, name)).id)

    source = in_office(paused)
    say(shapes.source(source), f"{source.name} is paused.", as_json=as_json)


@app.command(epilog="Example: carrel sources resume handbook --tenant forgecraft")
def resume(name: Name, tenant: Tenant, as_json: Json = False) -> None:
    """Go on with a source that was paused."""

    async def resumed(office: "Office") -> Source:
        who = await find.member(office, tenant)
        return await office.refreshes.resume(who, (await find.source(office, who, name)).id)

    source = in_office(resumed)
    say(shapes.source(source), f"{source.name} goes on.", as_json=as_json)


@app.command(epilog="Example: carrel sources runs handbook --tenant forgecraft")
def runs(
    name: Name,
    tenant: Tenant,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """The latest walks of a source's place, and what came of them."""

    async def listed(office: "Office") -> list[Run]:
        who = await find.member(office, tenant)
        source = await find.source(office, who, name)
        return list((await office.refreshes.runs(who, source.id, limit=limit)).items)

    found = in_office(listed)
    rows = [
        (run.started_at, run.state, *(getattr(run.counts, count) for count in _COUNTS), _problem(run)) for run in found
    ]
    readable = table(("begun", "state", *_COUNTS, "problem"), rows)
    say({"items": [shapes.run(run) for run in found], "next_cursor": None}, readable, as_json=as_json)


async def _refreshed(office: "Office", who: Principal, source: Source, *, accept_empty: bool) -> Source:
    """Once a run has ended that began after this was asked, and nothing of the source waits any more."""
    import asyncio

    from carrel.cli.hired import hired
    from carrel.cli.progress import walking

    former = source.last_run.id if source.last_run else None
    await office.refreshes.request(who, source.id, accept_empty=accept_empty)
    async with AsyncExitStack() as stack:
        worker = await stack.enter_async_context(hired(office.desk))
        told = stack.enter_context(walking(source.name))
        worker.need()
        while True:
            now = await office.sources.get(who, SourceId(source.id))
            told(now)
            if _is_over(now, former):
                return now
            await asyncio.sleep(_LOOK)


def _is_over(source: Source, former: UUID | None) -> bool:
    waiting = source.documents[DocumentStatus.PENDING] + source.documents[DocumentStatus.PROCESSING]
    run = source.last_run
    ended = run is not None and run.id != former and run.state is not RunState.RUNNING
    return ended and not waiting


def _show(run: Run, *, as_json: bool) -> None:
    if as_json:
        say_json(shapes.run(run))
        return
    rows = [(count, getattr(run.counts, count)) for count in _COUNTS]
    say(None, table(("things", str(run.state)), [*rows, ("problem", _problem(run))]), as_json=False)


def _problem(run: Run) -> str | None:
    return f"{run.problem.detail} ({run.problem.code})" if run.problem else None
