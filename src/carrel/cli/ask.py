"""`carrel search` and `carrel ask`: passages, and answers with citations."""

from collections.abc import Callable
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from carrel.cli import find, shapes
from carrel.cli.options import Bot, EndUser, Json, Sources, Tenant, Tenants
from carrel.cli.rooms import in_application
from carrel.cli.terminal import REFUSED, say, say_piece
from carrel.domain.access import Principal
from carrel.domain.answers import AnswerStatus, Remembered
from carrel.domain.ids import BotId, SourceId

if TYPE_CHECKING:
    from carrel.ask.across import FoundAcross
    from carrel.ask.pipeline import Found
    from carrel.wiring import Application

app = typer.Typer()


@app.command(epilog='Example: carrel search "payment service port" --tenant forgecraft --limit 5')
def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    *,
    tenant: Tenants,
    bot: Bot = None,
    source: Sources = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="The most passages to show.")] = 10,
    as_json: Json = False,
) -> None:
    """Show the passages that lie nearest, of one organisation or of several. Finding none is no failure: exit 0."""
    from carrel.cli.passages import readable_hits

    found = in_application(lambda carrel: _search(carrel, tenant, query, names=(bot, source), limit=limit))
    say(shapes.hits(found), readable_hits(found), as_json=as_json)


@app.command(epilog='Example: carrel ask "Which port does the payment service listen on?" --tenant forgecraft')
def ask(
    question: Annotated[str, typer.Argument(help="The question, in plain language.")],
    *,
    tenant: Tenant,
    bot: Bot = None,
    source: Sources = None,
    chat: Annotated[str | None, typer.Option("--chat", help="Go on with this chat, by its id.")] = None,
    end_user: EndUser = None,
    as_json: Json = False,
) -> None:
    """Answer from the organisation's documents, with citations, word for word as it is written.

    Exit 0: answered (also when the model failed and the passages stand in for it).
    Exit 1: refused, because the documents hold no answer; the guidance says how to ask better.
    """
    from carrel.cli.passages import beside_the_text

    hear = _unheard if as_json else say_piece
    goes_on = (chat, end_user)
    remembered = in_application(
        lambda carrel: _ask(carrel, tenant, question, names=(bot, source), goes_on=goes_on, hear=hear)
    )
    say(shapes.answer(remembered), beside_the_text(remembered), as_json=as_json)
    if remembered.answer.status is AnswerStatus.REFUSED:
        raise typer.Exit(REFUSED)


Names = tuple[str | None, list[str] | None]
Talk = tuple[str | None, str | None]
"""A chat, and for whom it is had."""


async def _search(
    carrel: "Application", tenants: list[str], query: str, *, names: Names, limit: int
) -> "Found | FoundAcross":
    from carrel.ask.pipeline import SearchWish

    members = {who.tenant: who for who in [await find.member(carrel, tenant) for tenant in tenants]}
    if len(members) > 1:
        if any(names):
            raise typer.BadParameter("A bot and sources are of one organisation: name that one alone.")
        return await carrel.across.search_each(list(members.values()), SearchWish(query, limit=limit))
    (who,) = members.values()
    bot, sources = await _scope(carrel, who, names)
    return await carrel.asking.search(who, SearchWish(query, bot=bot, sources=sources, limit=limit))


async def _ask(
    carrel: "Application", tenant: str, question: str, *, names: Names, goes_on: Talk, hear: Callable[[str], None]
) -> Remembered:
    from carrel.ask.answer import Delta
    from carrel.ask.pipeline import ChatWish, Done

    who = await find.member(carrel, tenant)
    bot, sources = await _scope(carrel, who, names)
    chat, end_user = goes_on
    wish = ChatWish(question, bot, sources, chat=find.chat(chat) if chat else None, end_user=end_user)
    with find.naming(chat) if chat else nullcontext():
        allowed = await carrel.asking.allow(who, wish)
    done: Done | None = None
    async with aclosing(carrel.asking.chat(allowed)) as events:
        async for event in events:
            match event:
                case Delta(text):
                    hear(text)
                case Done():
                    done = event
    assert done is not None
    return done.remembered


def _unheard(_text: str) -> None:
    """One JSON value and nothing more."""


async def _scope(
    carrel: "Application", who: Principal, names: Names
) -> tuple[BotId | None, frozenset[SourceId] | None]:
    bot, sources = names
    chosen = (await find.bot(carrel, who, bot)).id if bot else None
    return chosen, await find.sources(carrel, who, sources)
