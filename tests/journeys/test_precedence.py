"""Whoever asks more than it may goes behind the others, and so does what is brought by the batch."""

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from carrel.adapters.limits.memory import MemoryLimiter
from carrel.ask.pipeline import ChatWish, Done, Found, SearchWish
from carrel.domain import precedence
from carrel.domain.access import Principal
from carrel.domain.limits import Limit, Rates, RouteClass
from carrel.domain.rights import Permission
from carrel.store.documents import Shelf
from carrel.wiring import Application, assemble
from support.stand import Stand
from support.tenants import SomeTenant, a_tenant, pieces

LIMIT = Limit(5, 3600)
QUESTION = "How long is the refund period?"
FILES = [(f"{n:02}.md", f"# Page {n}\n\nIt is page {n}.\n".encode()) for n in range(45)]


@pytest.fixture
def app(carrel: Stand, monkeypatch: pytest.MonkeyPatch) -> Application:
    """With limits, and patience that does not end."""
    monkeypatch.setattr(precedence, "_PATIENCE", 60.0)
    rates = Rates(each={RouteClass.ASK: LIMIT}, together={RouteClass.SEARCH: LIMIT})
    base = replace(carrel.parts.base, rates=rates, limiter=MemoryLimiter())
    return assemble(replace(carrel.parts, base=base))


@pytest.fixture
async def greedy(app: Application, carrel: Stand) -> SomeTenant:
    tenant = await a_tenant(carrel.app, "Greedy")
    source = await tenant.source("docs")
    await tenant.put(source.id, "refunds.md", "# Refunds\n\nThe refund period is 30 days.\n")
    return replace(tenant, app=app)


@pytest.fixture
async def modest(carrel: Stand) -> Principal:
    return await (await a_tenant(carrel.app, "Modest")).principal()


async def ask_too_much(app: Application, principal: Principal, permission: Permission) -> None:
    while (standing := await app.gate.admit(principal, permission)) and standing.allowed:
        pass


async def answered(app: Application, principal: Principal) -> bool:
    async with aclosing(app.asking.chat(await app.asking.allow(principal, ChatWish(QUESTION)))) as events:
        return any([isinstance(event, Done) async for event in events])


async def test_the_searches_of_who_was_refused_go_behind_those_of_others(
    app: Application, greedy: SomeTenant, modest: Principal
) -> None:
    caught, colleague = await greedy.principal(), await greedy.principal()
    await ask_too_much(app, caught, Permission.SEARCH)
    with app.precedence.asking(modest, Permission.SEARCH):
        behind = [asyncio.create_task(app.asking.search(who, SearchWish(QUESTION))) for who in (caught, colleague)]
        assert isinstance(await app.asking.search(modest, SearchWish(QUESTION)), Found)
        assert await answered(app, caught), "it is searching that was refused"
        assert not any(one.done() for one in behind)
    assert [len(found.hits) for found in await asyncio.gather(*behind)] == [1, 1]
    assert app.gate.is_pressing(colleague, Permission.SEARCH), "the limit is one for all of its tenant"
    assert not app.gate.is_pressing(modest, Permission.SEARCH)


async def test_who_was_refused_answers_goes_behind_alone(
    app: Application, greedy: SomeTenant, modest: Principal
) -> None:
    caught, colleague = await greedy.principal(), await greedy.principal()
    await ask_too_much(app, caught, Permission.ASK)
    with app.precedence.asking(modest, Permission.SEARCH):
        behind = asyncio.create_task(answered(app, caught))
        assert await answered(app, colleague)
        assert len((await app.asking.search(caught, SearchWish(QUESTION))).hits) == 1
        assert not behind.done()
    assert await behind


async def test_of_many_files_the_first_part_comes_at_once_and_the_rest_behind_questions(
    app: Application, greedy: SomeTenant, modest: Principal
) -> None:
    source, uploads = await greedy.source(), app.uploads

    async def listed() -> int:
        return len((await app.documents.listed(greedy.console, Shelf(source=source.id), limit=100, cursor=None)).items)

    dock = await uploads.dock(await greedy.principal(), source.id)
    held = [await uploads.take(dock, name, pieces(text), declared=None, room=1000) for name, text in FILES]
    with app.precedence.asking(modest, Permission.SEARCH):
        bringing = asyncio.create_task(uploads.commit_all(dock, held))
        async with asyncio.timeout(60):
            while not await listed():  # noqa: ASYNC110 - a transaction commits
                await asyncio.sleep(0.01)
        assert isinstance(await app.asking.search(modest, SearchWish(QUESTION)), Found)
        assert (await listed(), bringing.done()) == (20, False)
        few = [
            await uploads.take(dock, name, pieces(b"x" + text), declared=None, room=1000) for name, text in FILES[:20]
        ]
        assert len(await uploads.commit_all(dock, few)) == 20
    assert len(await bringing) == len(FILES)
    assert await listed() == len(FILES)
