"""`carrel audit`: the log read, and its chain computed again."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal
from uuid import UUID

import typer

from carrel.cli import find, shapes
from carrel.cli.options import Json, Tenant
from carrel.cli.pages import everything
from carrel.cli.rooms import in_office
from carrel.cli.terminal import REFUSED, say, table
from carrel.domain.access import console
from carrel.domain.audit import Act

if TYPE_CHECKING:
    from carrel.operate.audit import Anchor, Line, Verdict
    from carrel.wiring import Office

app = typer.Typer(help="Read the audit log, and prove that nobody changed it.", no_args_is_help=True)

_HASH_CHARACTERS: Final = 64
_SENTENCES: Final = {
    "changed": "the event there was changed",
    "removed": "the event there was removed",
    "inserted": "an event was inserted there",
    "reordered": "the events there were put into another order",
    "seal_removed": "the seal there was removed",
    "anchor_differs": "the hash there is not the anchor's: the chain was made anew",
}


@app.command("list", epilog="Example: carrel audit list --tenant forgecraft --action key.created")
def list_(
    *,
    tenant: Tenant,
    since: Annotated[datetime | None, typer.Option("--from", help="Not before this time (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option("--to", help="Before this time (UTC).")] = None,
    actor: Annotated[UUID | None, typer.Option(help="Who did it: a person's or a key's id.")] = None,
    action: Annotated[Act | None, typer.Option(help="What was done.", show_choices=False)] = None,
    thing: Annotated[UUID | None, typer.Option("--object", help="To what it was done: an id.")] = None,
    result: Annotated[Literal["done", "refused"] | None, typer.Option(help="Whether it was done.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many events.")] = 50,
    as_json: Json = False,
) -> None:
    """The newest events of an organisation."""

    async def listed(office: "Office") -> "list[Line]":
        from carrel.operate.audit import Wanted

        who = await find.member(office, tenant)
        wanted = Wanted(_in_utc(since), _in_utc(until), actor, action, thing, result)
        return list((await office.audit.listed(who, wanted, limit=limit)).items)

    found = in_office(listed)
    names = ("created_at", "action", "result", "object_id", "actor_id", "sealed")
    shown = [shapes.event(line) for line in found]
    rows = [[one[name] for name in names] for one in shown]
    readable = table(("when", "action", "result", "object", "actor", "sealed"), rows)
    say({"items": shown, "next_cursor": None}, readable, as_json=as_json)


@app.command(epilog="Example: carrel audit verify --tenant forgecraft --anchor 1234:9f86d08…")
def verify(
    tenant: Annotated[
        str | None, typer.Option("--tenant", "-t", help="One organisation: its slug or id; all if absent.")
    ] = None,
    anchor: Annotated[
        list[str] | None, typer.Option(help="POSITION:HASH from the log event `audit.head`. May be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compute the chain again. Exit 1 if an event was changed, removed, inserted or moved."""
    if anchor and tenant is None:
        raise typer.BadParameter("An anchor belongs to one organisation: name it with --tenant.")

    anchors = [_anchor(text) for text in anchor or ()]

    async def verified(office: "Office") -> "list[tuple[str, Verdict]]":
        if tenant is not None:
            named = [await find.tenant(office, tenant)]
        else:
            named = await everything(lambda at: office.tenants.listed(console(None), limit=200, cursor=at))
        return [(one.slug, await office.audit.verify(console(one.id), anchors=anchors)) for one in named]

    verdicts = in_office(verified)
    say(
        {"items": [shapes.verdict(slug, verdict) for slug, verdict in verdicts]},
        "\n".join(_sentence(slug, verdict) for slug, verdict in verdicts) or "Nothing is there yet.",
        as_json=as_json,
    )
    if any(verdict.first_break for _, verdict in verdicts):
        raise typer.Exit(REFUSED)


def _sentence(slug: str, verdict: "Verdict") -> str:
    found = verdict.first_break
    if found is None:
        return f"{slug}: {verdict.seals} events, the chain holds. Head {verdict.seals}:{verdict.head.hex()}"
    event = f", event {found.event}" if found.event else ""
    return f"{slug}: broken at position {found.position}{event}: {_SENTENCES[found.fault]}."


def _anchor(text: str) -> "Anchor":
    from carrel.operate.audit import Anchor

    position, _, found = text.partition(":")
    try:
        if len(found) == _HASH_CHARACTERS and int(position) > 0:
            return Anchor(int(position), bytes.fromhex(found))
    except ValueError:
        pass
    raise typer.BadParameter("Write an anchor as POSITION:HASH, as the log has it.", param_hint="--anchor")


def _in_utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=moment.tzinfo or UTC) if moment else None
