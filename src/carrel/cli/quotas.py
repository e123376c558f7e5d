"""`carrel usage` and `carrel quotas`: what a tenant used, where it stands, and how much it may have."""

from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carrel.cli import find
from carrel.cli.options import Json, Tenant
from carrel.cli.rooms import in_office
from carrel.cli.terminal import say, table
from carrel.domain.access import console
from carrel.domain.quotas import UNLIMITED, Level, Quota, Quotas, Resource, UsageLine

if TYPE_CHECKING:
    from carrel.tenancy.quotas import UsageReport
    from carrel.wiring import Office

usage_app = typer.Typer()
app = typer.Typer(help="How much an organisation may keep and ask.", no_args_is_help=True)

_DAY = "%Y-%m-%d"
_NO_LIMIT = "none"


class Grouping(StrEnum):
    DAY = "day"
    BOT = "bot"
    MEMBER = "member"
    MODEL = "model"


Amount = Annotated[str | None, typer.Option(metavar="NUMBER|none", show_default=False)]


@usage_app.command(epilog="Example: carrel usage --tenant forgecraft --from 2026-01-01 --to 2026-01-31")
def usage(  # noqa: PLR0917 - typer calls it by name
    tenant: Tenant,
    first: Annotated[
        datetime | None, typer.Option("--from", formats=[_DAY], help="The first day; else the first of the month.")
    ] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=[_DAY], help="The last day; else today.")] = None,
    by: Annotated[
        list[Grouping] | None, typer.Option("--by", help="What a line is for; may be repeated. Else day and bot.")
    ] = None,
    as_json: Json = False,
) -> None:
    """What an organisation used, by day and bot, and where each of its quotas stands now. Days are those of UTC.

    Costs are in the unit of CARREL_PRICES; where no price is known there is none.
    """
    grouped = by or [Grouping.DAY, Grouping.BOT]
    report = in_office(lambda office: _used(office, tenant, (_day(first), _day(last)), grouped))
    shape = {
        "from": report.first,
        "to": report.last,
        "items": [_item(line) for line in report.lines],
        "quotas": [_level(level) for level in report.levels],
    }
    say(shape, _readable(report, [one for one in Grouping if one in grouped]), as_json=as_json)


@app.command("set", epilog="Example: carrel quotas set --tenant forgecraft --documents 1000 --questions 5000")
def set_(  # noqa: PLR0917 - typer calls it by name
    tenant: Tenant,
    documents: Amount = None,
    documents_soft: Amount = None,
    bytes_: Annotated[str | None, typer.Option("--bytes", metavar="NUMBER|none", show_default=False)] = None,
    bytes_soft: Amount = None,
    questions: Amount = None,
    questions_soft: Amount = None,
    tokens: Amount = None,
    tokens_soft: Amount = None,
    as_json: Json = False,
) -> None:
    """Set what an organisation may have; what is not named stays as it is, and `none` is as the settings say.

    Beyond the soft limit answers carry a warning; beyond the other they are refused. Questions and tokens are for a
    calendar month (UTC).
    """
    wanted = {
        Resource.DOCUMENTS: (documents_soft, documents),
        Resource.BYTES: (bytes_soft, bytes_),
        Resource.QUESTIONS: (questions_soft, questions),
        Resource.TOKENS: (tokens_soft, tokens),
    }
    shown = in_office(lambda office: _set(office, tenant, wanted))
    _say(shown, as_json=as_json)


@app.command(epilog="Example: carrel quotas show --tenant forgecraft --json")
def show(tenant: Tenant, as_json: Json = False) -> None:
    """The quotas that were set for an organisation; others are as the settings say."""
    _say(in_office(lambda office: _own(office, tenant)), as_json=as_json)


async def _used(
    office: "Office", name: str, days: tuple[date | None, date | None], grouped: list[Grouping]
) -> "UsageReport":
    from carrel.tenancy.quotas import By, Period

    by = By(**{grouping.value: grouping in grouped for grouping in Grouping})
    return await office.allowances.usage(await find.member(office, name), Period(*days, by))


async def _own(office: "Office", name: str) -> Quotas:
    return (await office.allowances.of(console(None), (await find.tenant(office, name)).id)).quotas


async def _set(office: "Office", name: str, wanted: dict[Resource, tuple[str | None, str | None]]) -> Quotas:
    tenant = await find.tenant(office, name)
    former = (await office.allowances.of(console(None), tenant.id)).quotas
    merged = {
        resource: Quota(*(_merged(given, kept) for given, kept in zip(pair, _pair(former, resource), strict=True)))
        for resource, pair in wanted.items()
    }
    return (await office.allowances.limit(console(None), tenant.id, merged)).quotas


def _pair(quotas: Quotas, resource: Resource) -> tuple[int | None, int | None]:
    quota = quotas.get(resource, UNLIMITED)
    return quota.soft, quota.hard


def _merged(given: str | None, kept: int | None) -> int | None:
    if given is None:
        return kept
    if given == _NO_LIMIT:
        return None
    if not (given.isascii() and given.isdigit()) or len(given) > 15:  # noqa: PLR2004 - as over HTTP
        raise typer.BadParameter(f"{given!r} is neither a number nor {_NO_LIMIT!r}.")
    return int(given)


def _say(quotas: Quotas, *, as_json: bool) -> None:
    shape = {"quotas": {name.value: {"soft": quota.soft, "hard": quota.hard} for name, quota in quotas.items()}}
    rows = [(name.value, quota.soft, quota.hard) for name, quota in quotas.items()]
    say(shape, table(("quota", "warns from", "ends at"), rows), as_json=as_json)


def _item(line: UsageLine) -> dict[str, object]:
    return {
        "kind": line.kind,
        "day": line.day,
        "bot_id": line.bot,
        "events": line.events,
        "bytes": line.bytes,
        "input_tokens": line.input_tokens,
        "output_tokens": line.output_tokens,
        "member_id": line.member,
        "model": line.model,
        "cost": None if line.cost is None else float(line.cost),
        "unpriced": line.unpriced,
    }


def _readable(report: "UsageReport", grouped: list[Grouping]) -> Any:
    from rich.console import Group

    rows = [
        (
            *(getattr(line, grouping.value) for grouping in grouped),
            line.kind,
            line.events,
            line.bytes,
            line.input_tokens + line.output_tokens,
            line.cost,
        )
        for line in report.lines
    ]
    columns = (*(grouping.value for grouping in grouped), "kind", "how many", "bytes", "tokens", "cost")
    return Group(table(columns, rows), _levels(report.levels))


def _levels(levels: tuple[Level, ...]) -> Any:
    rows = [(one.resource.value, one.used, one.held, one.quota.soft, one.quota.hard, one.resets_at) for one in levels]
    return table(("quota", "used", "held", "warns from", "ends at", "begins anew"), rows)


def _level(level: Level) -> dict[str, object]:
    return {
        "quota": level.resource,
        "used": level.used,
        "held": level.held,
        "soft": level.quota.soft,
        "hard": level.quota.hard,
        "resets_at": level.resets_at,
    }


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()
