"""Chats below the doors: whose they are for the database itself, how long they stay, what they cost, where they go."""

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from carrel.ask.pipeline import ChatWish, Done
from carrel.domain.access import Principal, console, enter, for_job
from carrel.domain.answers import Remembered, Usage
from carrel.domain.chats import Chat, Message, Rating, title_of
from carrel.domain.errors import Denied, Invalid, NotFound
from carrel.domain.ids import ChatId, MessageId, new_id
from carrel.domain.prices import Price, Prices
from carrel.domain.rights import Permission
from carrel.store import chats
from carrel.store.transaction import Statement
from carrel.tenancy.quotas import By, Period
from carrel.tenancy.retention import Retention
from carrel.wiring import Application, assemble
from support.people import a_person
from support.raw import REFUSED, Raw, connected, posing
from support.stand import Stand
from support.tenants import SomeTenant

TABLES = ("chats", "messages", "feedback", "citations")
QUESTION = "Why do boats float on water?"
TEXT = "# Boats\n\nBoats float on water, since they are lighter than what they push away."
AGE = "update chats set updated_at = now() - make_interval(days => $2) where id = $1::uuid"

TenantMaker = Callable[..., Awaitable[SomeTenant]]


@dataclass(frozen=True)
class Talk:
    """A chat of one end user with one rated answer."""

    who: Principal
    end_user: str | None
    kept: Remembered

    @property
    def chat(self) -> ChatId:
        return self.kept.chat

    @property
    def message(self) -> MessageId:
        return self.kept.message


async def asked(app: Application, who: Principal, message: str = QUESTION, **more: Any) -> Remembered:
    allowed = await app.asking.allow(who, ChatWish(message, **more))
    events = [event async for event in app.asking.chat(allowed)]
    assert isinstance(events[-1], Done)
    return events[-1].remembered


async def a_talk(carrel: Stand, who: Principal, end_user: str | None = None) -> Talk:
    kept = await asked(carrel.app, who, end_user=end_user)
    await carrel.app.chats.rate(who, kept.message, Rating.UP, "Good.", end_user=end_user)
    return Talk(who, end_user, kept)


@pytest.fixture
async def place(tenant: TenantMaker) -> SomeTenant:
    made = await tenant("Harbour")
    await made.put((await made.source()).id, "boats.md", TEXT)
    return made


# The last word


async def seen(app: Raw, talk: Talk) -> dict[str, int]:
    """How many rows of the talk each table shows."""
    columns = {"chats": "id", "messages": "chat_id", "feedback": "message_id", "citations": "message_id"}
    values = {"id": talk.chat, "chat_id": talk.chat, "message_id": talk.message}
    return {
        table: await app.fetchval(f"select count(*) from {table} where {column} = $1", values[column])
        for table, column in columns.items()
    }


def hexed(end_user: str) -> str:
    return end_user.encode().hex()


async def test_the_database_shows_the_chats_of_one_end_user_only(carrel: Stand, place: SomeTenant) -> None:
    who = await place.principal()
    talks = [await a_talk(carrel, who, name) for name in (None, "Ann", "ann", "*", "ünï", hexed("Ann"))]
    async with connected(carrel.endpoint.app_url) as app:
        for talk in talks:
            mine = "" if talk.end_user is None else hexed(talk.end_user)
            for other in talks:
                async with posing(app, place.id, user=who.user, sources="*", end_user=mine):
                    expected = 1 if other is talk else 0
                    assert await seen(app, other) == dict.fromkeys(TABLES, expected), (talk.end_user, other.end_user)
            async with posing(app, place.id, user=who.user, sources="*", end_user="*"):
                assert await seen(app, talk) == dict.fromkeys(TABLES, 1)
            for stranger in (None, uuid.uuid4()):
                async with posing(app, place.id, user=stranger, sources="*", end_user="*"):
                    assert await seen(app, talk) == dict.fromkeys(TABLES, 0)
        async with posing(app, place.id, user=who.user, sources="*"):
            assert await seen(app, talks[0]) == dict.fromkeys(TABLES, 1)
            assert await seen(app, talks[1]) == dict.fromkeys(TABLES, 0)


async def test_the_database_lets_nobody_write_for_another_end_user(carrel: Stand, place: SomeTenant) -> None:
    who, colleague = await place.principal(), await place.principal()
    talk = await a_talk(carrel, who, "Ann")
    begin = "insert into chats (tenant_id, id, owner_id, end_user) values ($1, $2, $3, $4)"
    rate = "insert into feedback (tenant_id, message_id, owner_id, end_user, rating) values ($1, $2, $3, 'Ann', 'up')"
    change = ("update chats set title = ''", "update messages set answer = ''", "update feedback set rating = 'down'")
    async with connected(carrel.endpoint.app_url) as app:
        for user, end_user in ((who.user, ""), (who.user, hexed("Ben")), (colleague.user, hexed("Ann"))):
            async with posing(app, place.id, user=user, sources="*", end_user=end_user):
                for sql in (*change, "delete from feedback", "delete from messages", "delete from chats"):
                    assert (await app.execute(sql)).endswith(" 0"), sql
            for sql, arguments in (
                (begin, (place.id, new_id(), who.user, "Ann")),
                (rate, (place.id, talk.message, who.user)),
            ):
                async with posing(app, place.id, user=user, sources="*", end_user=end_user):
                    with pytest.raises(REFUSED):
                        await app.execute(sql, *arguments)
        async with posing(app, place.id, user=who.user, sources="*", end_user=""):
            with pytest.raises(asyncpg.CheckViolationError):
                await app.execute(begin, place.id, new_id(), who.user, "")
    assert (await carrel.app.chats.get(who, talk.chat, end_user="Ann")).id == talk.chat


OF_A_MEMBER = {
    name: value
    for name, value in vars(chats).items()
    if isinstance(value, Statement) and re.search(r"\b(from|into|update|join) (chats|messages|feedback)\b", value.sql)
}
ADDING = {"_ADD_CHAT", "_ADD_MESSAGE"}


@pytest.mark.parametrize("name", sorted(OF_A_MEMBER.keys() - ADDING))
async def test_each_statement_on_chats_says_itself_whose_they_are(carrel: Stand, name: str) -> None:
    """Planned by the superuser, whom no policy helps: what is seen here, the statement says by itself."""
    statement = OF_A_MEMBER[name]
    async with connected(carrel.endpoint.superuser_url) as superuser:
        await superuser.execute("set plan_cache_mode = force_generic_plan")
        await superuser.execute(f"prepare looked_at as {statement.sql}")
        nothing = ", ".join("null" for _ in statement.names)
        rows = await superuser.fetch(f"explain (verbose) execute looked_at ({nothing})")
    plan = "\n".join(row[0] for row in rows)
    for place, said in (("owner", "owner_id"), ("end_user", "end_user")):
        number = statement.names.index(place) + 1
        assert re.search(rf"{said}[^\n]*= \${number}\b", plan), plan


def test_the_statements_on_chats_are_found() -> None:
    assert len(OF_A_MEMBER) >= 10
    assert OF_A_MEMBER.keys() > ADDING


# The journey


async def test_nobody_reads_chats_of_all_end_users_by_this_journey(carrel: Stand, place: SomeTenant) -> None:
    who = await place.principal()
    with pytest.raises(Invalid, match="end user"):
        await carrel.app.chats.listed(who, end_user=" ")
    with pytest.raises(Denied):
        await carrel.app.chats.listed(await place.principal("search"))
    with pytest.raises(Denied):
        await carrel.app.chats.listed(console(None))
    async with carrel.database.transaction(for_job(place.id, who.user)) as tx:
        with pytest.raises(TypeError):
            await chats.listed(tx, limit=1, cursor=None)


async def test_the_last_turns_of_a_chat_are_remembered_in_order(carrel: Stand, place: SomeTenant) -> None:
    who = await place.principal()
    first = await asked(carrel.app, who)
    for number in range(3):
        await asked(carrel.app, who, f"Boat number {number}?", chat=first.chat)
    async with carrel.database.transaction(enter(who, Permission.ASK)) as tx:
        turns = await chats.turns(tx, first.chat, 3)
        assert [turn.question for turn in turns][-1].startswith("Boat number 2")
        assert len(turns) == 3
        whole = await chats.turns(tx, first.chat, 10)
        assert (whole[0].question, whole[0].answer) == (QUESTION, first.answer.text)
        assert await chats.turns(tx, ChatId(new_id()), 3) == ()
    colleague = await place.principal()
    async with carrel.database.transaction(enter(colleague, Permission.ASK)) as tx:
        assert await chats.turns(tx, first.chat, 3) == ()
    async with carrel.database.transaction(enter(who, Permission.ASK, end_user="Ann")) as tx:
        assert await chats.turns(tx, first.chat, 3) == ()


async def test_an_answer_for_a_chat_that_was_deleted_meanwhile_is_not_kept(carrel: Stand, place: SomeTenant) -> None:
    who = await place.principal()
    first = await asked(carrel.app, who)
    allowed = await carrel.app.asking.allow(who, ChatWish("And then?", chat=first.chat))
    await carrel.app.chats.delete(who, first.chat)
    with pytest.raises(NotFound):
        _ = [event async for event in carrel.app.asking.chat(allowed)]
    assert (await carrel.app.chats.listed(who)).items == []


def test_a_title_is_one_line_that_can_be_seen() -> None:
    assert title_of(" a\n\tb\u200b c\x00 ") == "a b c"
    assert title_of("x" * 500) == "x" * 79 + "\u2026"
    assert len(title_of("wörter " * 50)) <= 80
    assert title_of("") == ""


# How long


async def aged(carrel: Stand, talk: Talk, days: int) -> None:
    async with connected(carrel.endpoint.superuser_url) as superuser:
        await superuser.execute(AGE, talk.chat, days)


async def remaining(carrel: Stand, *talks: Talk) -> list[bool]:
    found = []
    for talk in talks:
        try:
            await carrel.app.chats.get(talk.who, talk.chat, end_user=talk.end_user)
            found.append(True)
        except NotFound:
            found.append(False)
    return found


async def test_chats_are_forgotten_when_their_time_is_over(
    carrel: Stand, place: SomeTenant, tenant: TenantMaker
) -> None:
    one, other = await place.principal(), await place.principal()
    old = [await a_talk(carrel, who, name) for who in (one, other) for name in (None, "Ann", "Ben")]
    young, elsewhere = await a_talk(carrel, one), await a_talk(carrel, await (await tenant()).principal())
    for talk in (*old, elsewhere):
        await aged(carrel, talk, 11)
    await aged(carrel, young, 9)
    await Retention(carrel.database, days=None).sweep()
    assert all(await remaining(carrel, *old, young, elsewhere))
    await carrel.app.retention.set(place.console, place.id, 10)
    await Retention(carrel.database, days=None, batch=2).sweep()
    assert await remaining(carrel, *old) == [False] * len(old)
    assert await remaining(carrel, young, elsewhere) == [True, True]
    async with connected(carrel.endpoint.superuser_url) as superuser:
        for table in ("messages", "feedback"):
            sql = f"select count(*) from {table} where tenant_id = $1"
            assert await superuser.fetchval(sql, place.id) == 1, table


async def test_no_tenant_keeps_chats_longer_than_the_deployment(carrel: Stand, place: SomeTenant) -> None:
    who = await place.principal()
    strict = Retention(carrel.database, days=30)
    for days in (31, 0, 10**6):
        with pytest.raises(Invalid) as refused:
            await strict.set(place.console, place.id, days)
        assert (refused.value.code, refused.value.field) == ("out_of_range", "chat_days")
    await carrel.app.retention.set(place.console, place.id, 300)  # from before the deployment had a limit
    assert (await strict.of(place.console, place.id)).effective == 30
    old, young = await a_talk(carrel, who), await a_talk(carrel, who)
    await aged(carrel, old, 31)
    await strict.sweep()
    assert await remaining(carrel, old, young) == [False, True]
    with pytest.raises(Denied):
        await strict.of(who, place.id)


async def test_the_database_forgets_no_chat_of_today(carrel: Stand, place: SomeTenant) -> None:
    """Whatever the function is asked for."""
    talk = await a_talk(carrel, await place.principal())
    async with carrel.database.transaction(for_job(place.id, None)) as tx:
        assert await chats.forget_old(tx, days=-1, most=100) == 0
        assert await chats.forget_old(tx, days=0, most=100) == 0
    assert await remaining(carrel, talk) == [True]


async def test_a_chat_that_is_deleted_while_all_are_taken_along_is_left_out(carrel: Stand, place: SomeTenant) -> None:
    who = await place.principal()
    talks = [await a_talk(carrel, who) for _ in range(3)]
    told: list[Chat | Message] = []
    async for one in carrel.app.chats.whole(who):
        if not told:
            await carrel.app.chats.delete(who, talks[1].chat)
        told.append(one)
    assert [one.chat for one in told if isinstance(one, Message)] == [talks[0].chat, talks[2].chat]


# What it costs


def test_a_price_is_for_a_million_tokens() -> None:
    prices = Prices({"openai:gpt-5": Price(Decimal("1.25"), Decimal(10)), "openai:*": Price(Decimal(1), Decimal(2))})
    assert prices.cost(Usage(1_000_000, 100_000, "openai:gpt-5")) == Decimal("2.25")
    assert prices.cost(Usage(1_000, 1_000, "openai:other:name")) == Decimal("0.003")
    assert prices.cost(Usage(1, 1, "anthropic:x")) is None
    assert prices.cost(Usage(0, 0, "extractive")) is None


async def test_what_answers_cost_is_told_by_member_and_unknown_is_not_nothing(carrel: Stand, place: SomeTenant) -> None:
    base = replace(carrel.parts.base, prices=Prices({"extractive": Price(Decimal(3), Decimal(7))}))
    priced = assemble(replace(carrel.parts, base=base))
    ada, ben = await place.principal(), await place.principal()
    used = [(await asked(priced, ada)).answer.usage for _ in range(2)]
    await asked(carrel.app, ada)
    await asked(carrel.app, ben)
    report = await priced.allowances.usage(place.console, Period(by=By(day=False, bot=False, member=True, model=True)))
    lines = {line.member: line for line in report.lines if line.kind == "question"}
    cost = sum((Decimal(3 * one.input_tokens + 7 * one.output_tokens) / 1_000_000 for one in used), Decimal(0))
    assert ada.user
    assert ben.user
    assert cost > 0
    assert (lines[ada.user].cost, lines[ada.user].events, lines[ada.user].unpriced) == (cost, 3, 1)
    assert (lines[ben.user].cost, lines[ben.user].unpriced) == (None, 1)


# What goes along


async def test_chats_move_with_their_titles_end_users_and_what_was_said(
    carrel: Stand, place: SomeTenant, tmp_path: Any
) -> None:
    who = place.console
    talk = await a_talk(carrel, who, "Ann")
    await carrel.app.chats.rename(who, talk.chat, "About boats", end_user="Ann")
    refused = await asked(carrel.app, who, "Who won the chess world cup of 1886?", chat=talk.chat, end_user="Ann")
    path = tmp_path / "harbour.tar"
    exported = await carrel.app.exports.begin(place.console, place.id)
    path.write_bytes(b"".join([piece async for piece in exported.content]))
    archive = await carrel.app.imports.judge(path)
    done = await carrel.app.imports.run(console(None), archive, slug=f"moved-{uuid.uuid4().hex[:8]}")
    there = console(done.tenant.id)
    (chat,) = (await carrel.app.chats.listed(there, end_user="Ann")).items
    before = await carrel.app.chats.get(who, talk.chat, end_user="Ann")
    assert (chat.title, chat.created_at, chat.updated_at) == ("About boats", before.created_at, before.updated_at)
    assert (await carrel.app.chats.listed(there)).items == []
    old = [one async for one in carrel.app.chats.whole(who, talk.chat, end_user="Ann") if isinstance(one, Message)]
    new = [one async for one in carrel.app.chats.whole(there, chat.id, end_user="Ann") if isinstance(one, Message)]
    assert len(old) == len(new) == 2
    for one, other in zip(old, new, strict=True):
        for name in (
            "question",
            "status",
            "answer",
            "guidance",
            "problem",
            "asked",
            "grounding",
            "unsupported",
            "usage",
        ):
            assert getattr(one, name) == getattr(other, name), name
    assert new[0].feedback == old[0].feedback
    assert (old[0].feedback, new[1].feedback) != (None, old[0].feedback)
    assert new[0].quotations[0].text == old[0].quotations[0].text
    assert refused.answer.guidance == new[1].guidance


async def test_a_member_who_leaves_takes_the_chats_of_all_end_users_along(carrel: Stand, place: SomeTenant) -> None:
    """What was said of answers goes with them."""
    person = await a_person(carrel, viewer=place.id)
    who = await person.principal(place.id)
    for name in (None, "Ann"):
        await a_talk(carrel, who, name)
    await carrel.app.members.remove(place.console, person.id)
    async with connected(carrel.endpoint.superuser_url) as superuser:
        async with asyncio.timeout(120):
            while await superuser.fetchval("select count(*) from feedback where owner_id = $1", person.id):  # noqa: ASYNC110 - a worker does it
                await asyncio.sleep(0.05)
        assert not await superuser.fetchval("select count(*) from chats where owner_id = $1", person.id)
