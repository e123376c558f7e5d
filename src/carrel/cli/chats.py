"""`carrel chats`: the chats that were had at this terminal, read again, renamed, taken along, deleted."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carrel.cli import find
from carrel.cli.options import EndUser, Json, Tenant
from carrel.cli.pages import everything
from carrel.cli.rooms import in_office
from carrel.cli.terminal import plain, say, table
from carrel.domain.chats import Chat, KeptStatus, Message
from carrel.domain.ids import ChatId

if TYPE_CHECKING:
    from carrel.wiring import Office

app = typer.Typer(
    help="Read, rename, delete and take along the chats that were had at this terminal.", no_args_is_help=True
)


class Format(StrEnum):
    JSON = "json"
    CSV = "csv"


ChatArgument = Annotated[str, typer.Argument(metavar="ID", help="The chat's id; `carrel chats list` shows it.")]


@app.command("list", epilog="Example: carrel chats list --tenant forgecraft")
def list_(tenant: Tenant, end_user: EndUser = None, as_json: Json = False) -> None:
    """The chats of an organisation that were had here, the latest question first."""
    from carrel.ask.transcript import chat_shape

    async def listed(office: "Office") -> list[Chat]:
        who = await find.member(office, tenant)
        return await everything(lambda at: office.chats.listed(who, end_user=end_user, limit=200, cursor=at))

    found = in_office(listed)
    rows = [(one.title, one.id, one.updated_at) for one in found]
    shape = {"items": [chat_shape(one) for one in found], "next_cursor": None}
    say(shape, table(("title", "id", "last question"), rows), as_json=as_json)


@app.command(epilog="Example: carrel chats show 01900000-0000-7000-8000-000000000000 --tenant forgecraft")
def show(chat: ChatArgument, *, tenant: Tenant, end_user: EndUser = None, as_json: Json = False) -> None:
    """A chat's questions and answers, oldest first. What was deleted since is shown as [removed]."""
    from carrel.ask.transcript import chat_shape, message_shape

    async def shown(office: "Office") -> tuple[Chat, list[Message]]:
        who, named = await find.member(office, tenant), find.chat(chat)
        with find.naming(chat):
            return await office.chats.get(who, named, end_user=end_user), await everything(
                lambda at: office.chats.messages(who, named, end_user=end_user, limit=200, cursor=at)
            )

    found, messages = in_office(shown)
    shape = {**chat_shape(found), "messages": [message_shape(message) for message in messages]}
    say(shape, "\n\n".join([found.title, *map(_readable, messages)]), as_json=as_json)


@app.command(epilog='Example: carrel chats rename 01900000-0000-7000-8000-000000000000 "Ports" --tenant forgecraft')
def rename(
    chat: ChatArgument,
    title: Annotated[str, typer.Argument(help="The new title.")],
    *,
    tenant: Tenant,
    end_user: EndUser = None,
    as_json: Json = False,
) -> None:
    """Give a chat another title."""
    from carrel.ask.transcript import chat_shape
    from carrel.domain.chats import shortened

    wanted = shortened(title, 200)
    if not wanted:
        raise typer.BadParameter("A title holds something that can be seen.", param_hint="TITLE")

    async def renamed(office: "Office") -> Chat:
        who = await find.member(office, tenant)
        with find.naming(chat):
            return await office.chats.rename(who, find.chat(chat), wanted, end_user=end_user)

    found = in_office(renamed)
    say(chat_shape(found), f"The chat {found.id} is called {found.title} now.", as_json=as_json)


@app.command(epilog="Example: carrel chats delete 01900000-0000-7000-8000-000000000000 --tenant forgecraft")
def delete(chat: ChatArgument, *, tenant: Tenant, end_user: EndUser = None, as_json: Json = False) -> None:
    """Delete a chat with its messages, for ever."""

    async def deleted(office: "Office") -> ChatId:
        who, named = await find.member(office, tenant), find.chat(chat)
        with find.naming(chat):
            await office.chats.delete(who, named, end_user=end_user)
        return named

    gone = in_office(deleted)
    say({"id": gone, "deleted": True}, f"The chat {gone} is gone.", as_json=as_json)


@app.command(epilog="Example: carrel chats export --tenant forgecraft --to chats.csv --format csv")
def export(
    chat: Annotated[str | None, typer.Argument(metavar="[ID]", help="One chat; without it all of them.")] = None,
    *,
    tenant: Tenant,
    to: Annotated[Path, typer.Option("--to", help="The file to write; it must not be there yet.")],
    form: Annotated[Format, typer.Option("--format", help="JSON, or a table of all messages.")] = Format.JSON,
    end_user: EndUser = None,
    as_json: Json = False,
) -> None:
    """Write chats with their messages into a file that nobody else may read."""
    if to.exists():
        raise typer.BadParameter(f"{to} is there already.", param_hint="--to")

    async def written(office: "Office") -> int:
        from carrel.ask.transcript import as_csv
        from carrel.ask.transcript import as_json as in_json
        from carrel.cli.archives import kept

        who = await find.member(office, tenant)
        with find.naming(chat or ""):
            told = office.chats.whole(who, find.chat(chat) if chat else None, end_user=end_user)
            content = in_json(told, alone=chat is not None) if form is Format.JSON else as_csv(told)
            return await kept(content, to)

    size = in_office(written)
    say({"file": to, "bytes": size}, f"Wrote {to}: {size:,} bytes.", as_json=as_json)


def _readable(message: Message) -> str:
    quoted = [f"[{one.n}] {one.title or '[removed]'}" for one in message.quotations]
    status = "" if message.status is KeptStatus.ANSWERED else f" ({message.status})"
    lines = [f"{message.created_at.astimezone():%Y-%m-%d %H:%M}{status}  {message.question}", "", message.answer]
    return plain("\n".join([*lines, *quoted, *message.guidance]))
