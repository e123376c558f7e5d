"""`carrel ingest`: files and folders become searchable documents."""

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from carrel.cli import find
from carrel.cli.files import Pile, gather
from carrel.cli.options import Json, Tenant
from carrel.cli.rooms import in_office, settings_in_force
from carrel.cli.terminal import REFUSED, note, out, say_json, table
from carrel.domain.access import Principal
from carrel.domain.errors import Conflict
from carrel.domain.library import Source

if TYPE_CHECKING:
    from carrel.cli.deliveries import Landing
    from carrel.wiring import Office

app = typer.Typer()

_NAMED: Final = 8
_OUTCOMES: Final = ("created", "replaced", "unchanged", "duplicate", "rejected", "failed")


@app.command(epilog="Example: carrel ingest ./runbooks ./README.md --tenant forgecraft --source handbook")
def ingest(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="Files, and folders with all below them.")],
    *,
    tenant: Tenant,
    source: Annotated[str, typer.Option("--source", "-s", help="The source, by name or id; made if it is absent.")],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until each document is ready or failed.")] = True,
    as_json: Json = False,
) -> None:
    """Bring files into a source. What has not changed costs nothing.

    A document's key is its path within the given folder, or the file's name. Hidden files are left out, and so are
    kinds that Carrel does not read. If no worker lives, one works for the time of this command.
    Exit 1 if any document was rejected or failed.
    """
    from carrel.wiring import endings

    pile = gather(paths, endings(settings_in_force()).keys())
    began = time.perf_counter()
    landings = in_office(lambda office: _bring(office, pile, tenant, source, wait=wait))
    seconds = time.perf_counter() - began
    if as_json:
        say_json(_shape(pile, landings, seconds))
    else:
        _show(pile, landings, seconds)
    if not all(landing.is_good for landing in landings):
        raise typer.Exit(REFUSED)


async def _bring(office: "Office", pile: Pile, tenant: str, source: str, *, wait: bool) -> list["Landing"]:
    from carrel.cli.deliveries import Deliveries
    from carrel.cli.hired import hired
    from carrel.cli.progress import following

    who = await find.member(office, tenant)
    place = await _source(office, who, source)
    dock = await office.uploads.dock(who, place.id)
    with following(len(pile.files)) as told:
        if not wait:
            return await Deliveries(office.uploads, dock, worker=None, tell=told.landed).bring(pile.files)
        async with hired(office.desk) as worker:
            carried = Deliveries(office.uploads, dock, worker=worker, tell=told.landed, show=told.show)
            return await carried.bring(pile.files)


async def _source(office: "Office", who: Principal, name: str) -> Source:
    """The one of that name or id, or else a new one of that name. Two commands at once end with one source."""
    from carrel.cli.terminal import Absent
    from carrel.library.sources import NewSource

    try:
        return await find.source(office, who, name)
    except Absent:
        pass
    try:
        return await office.sources.create(who, NewSource(name))
    except Conflict:
        return await find.source(office, who, name)


def _shape(pile: Pile, landings: list["Landing"], seconds: float) -> dict[str, object]:
    return {
        "documents": [
            {
                "key": one.key,
                "outcome": one.outcome,
                "document_id": one.document,
                "status": one.status,
                "problem": None if one.is_good else {"code": one.code, "detail": one.detail},
            }
            for one in landings
        ],
        "counts": _counts(landings),
        "skipped": pile.skipped,
        "seconds": round(seconds, 3),
        "documents_per_second": round(len(landings) / seconds, 1),
    }


def _show(pile: Pile, landings: list["Landing"], seconds: float) -> None:
    if not landings:
        note("There is nothing to ingest here; `carrel formats` shows what Carrel reads.")
    counts = [(outcome, count) for outcome, count in _counts(landings).items() if count]
    out().print(table(("outcome", "documents"), counts))
    bad = [one for one in landings if not one.is_good]
    if bad:
        out().print(table(("document", "code", "reason"), [(one.key, one.code, one.detail) for one in bad]))
    if pile.skipped:
        more = f" and {len(pile.skipped) - _NAMED} more" if len(pile.skipped) > _NAMED else ""
        note(f"Skipped {len(pile.skipped)} of other kinds: {', '.join(pile.skipped[:_NAMED])}{more}.")
    note(f"{len(landings)} documents in {seconds:.1f} s ({len(landings) / seconds:.1f}/s)")


def _counts(landings: list["Landing"]) -> dict[str, int]:
    counted = Counter(one.outcome for one in landings)
    return {outcome: counted[outcome] for outcome in _OUTCOMES}
