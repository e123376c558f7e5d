"""`carrel webhooks`: addresses that are told when something happened, and what became of that."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from carrel.cli import find, shapes
from carrel.cli.options import Json, Sources, Tenant
from carrel.cli.pages import everything
from carrel.cli.rooms import in_office
from carrel.cli.terminal import REFUSED, Absent, say, table
from carrel.domain.errors import NotFound
from carrel.domain.ids import WebhookId
from carrel.domain.webhooks import Delivery, DeliveryState, Occasion, Webhook

if TYPE_CHECKING:
    from carrel.tenancy.webhooks import IssuedWebhook
    from carrel.wiring import Office

app = typer.Typer(help="Have events told to addresses of your own, and see what became of it.", no_args_is_help=True)

_SHOWN: Final = 50

Which = Annotated[str, typer.Argument(help="The id of the webhook; `carrel webhooks list` shows them.")]


@app.command(epilog="Example: carrel webhooks add https://hooks.example.org/carrel --tenant forgecraft")
def add(
    url: Annotated[str, typer.Argument(help="Where events are sent, as in https://hooks.example.org/carrel.")],
    *,
    tenant: Tenant,
    event: Annotated[
        list[Occasion] | None, typer.Option(help="What to tell, repeated for several; without it, everything.")
    ] = None,
    source: Sources = None,
    description: Annotated[str, typer.Option(help="A word on what it is for.")] = "",
    as_json: Json = False,
) -> None:
    """Have events told to an address. The secret that signs them is shown once, now."""

    async def added(office: "Office") -> "IssuedWebhook":
        from carrel.tenancy.webhooks import WebhookWish

        who = await find.member(office, tenant)
        sources = await find.sources(office, who, source)
        events = frozenset(event or set(Occasion) - {Occasion.TEST})
        return await office.webhooks.create(who, WebhookWish(url, events, sources, description))

    made = in_office(added)
    secret = made.secret.reveal()
    readable = f"Made webhook {made.webhook.id}. Its secret, shown this once: {secret}"
    say({**shapes.webhook(made.webhook), "secret": secret}, readable, as_json=as_json)


@app.command("list", epilog="Example: carrel webhooks list --tenant forgecraft")
def list_(tenant: Tenant, as_json: Json = False) -> None:
    """The webhooks of an organisation, without their secrets."""

    async def listed(office: "Office") -> list[Webhook]:
        who = await find.member(office, tenant)
        return await everything(lambda at: office.webhooks.listed(who, limit=200, cursor=at))

    found = in_office(listed)
    rows = [(one.url, ", ".join(sorted(one.events)), _state(one), one.id) for one in found]
    readable = table(("address", "events", "state", "id"), rows)
    say({"items": [shapes.webhook(one) for one in found], "next_cursor": None}, readable, as_json=as_json)


@app.command("test", epilog="Example: carrel webhooks test 01a1ffb8-812b-77eb-845a-c3242e125995 --tenant forgecraft")
def try_out(which: Which, *, tenant: Tenant, as_json: Json = False) -> None:
    """Tell a webhook something now, and say what the other side said. Exit 1 if that was not good."""

    async def tested(office: "Office") -> Delivery:
        who = await find.member(office, tenant)
        with _naming(which):
            return await office.webhooks.test(who, _id(which))

    told = in_office(tested)
    say(shapes.delivery(told), f"{told.state}: {_answer(told)}", as_json=as_json)
    if told.state is not DeliveryState.DELIVERED:
        raise typer.Exit(REFUSED)


@app.command(epilog="Example: carrel webhooks deliveries 01a1ffb8-812b-77eb-845a-c3242e125995 --tenant forgecraft")
def deliveries(
    which: Which,
    *,
    tenant: Tenant,
    status: Annotated[DeliveryState | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, newest first.")] = _SHOWN,
    as_json: Json = False,
) -> None:
    """What was told to a webhook in the last 30 days, or waits to be, newest first."""

    async def listed(office: "Office") -> list[Delivery]:
        who = await find.member(office, tenant)
        with _naming(which):
            return list((await office.webhooks.deliveries(who, _id(which), state=status, limit=limit)).items)

    found = in_office(listed)
    rows = [(_moment(one.created_at), one.event, one.state, one.attempts, _answer(one)) for one in found]
    readable = table(("at", "event", "state", "tries", "answer"), rows)
    say({"items": [shapes.delivery(one) for one in found], "next_cursor": None}, readable, as_json=as_json)


@app.command(epilog="Example: carrel webhooks remove 01a1ffb8-812b-77eb-845a-c3242e125995 --tenant forgecraft")
def remove(which: Which, *, tenant: Tenant, as_json: Json = False) -> None:
    """Remove a webhook and its log. Nothing more is sent to it."""

    async def removed(office: "Office") -> WebhookId:
        who = await find.member(office, tenant)
        with _naming(which):
            await office.webhooks.delete(who, _id(which))
        return _id(which)

    gone = in_office(removed)
    say({"id": gone, "removed": True}, f"Removed webhook {gone}.", as_json=as_json)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Whatever is not found in it is that webhook."""
    try:
        yield
    except NotFound as error:
        raise _no_webhook(name) from error


def _id(name: str) -> WebhookId:
    try:
        return WebhookId(uuid.UUID(name))
    except ValueError as error:
        raise _no_webhook(name) from error


def _no_webhook(name: str) -> Absent:
    return Absent(f"There is no webhook {name!r}; `carrel webhooks list` shows them.")


def _state(webhook: Webhook) -> str:
    if not webhook.enabled:
        return f"off ({webhook.disabled_reason})" if webhook.disabled_reason else "off"
    return "on" if webhook.failing_since is None else "on, failing"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _answer(delivery: Delivery) -> str:
    last = delivery.last
    if last is None:
        return "not told yet"
    said = f"{last.status}" if last.status is not None else "no answer"
    return f"{said} ({last.problem}) in {last.milliseconds} ms" if last.problem else f"{said} in {last.milliseconds} ms"
