"""What a tenant is charged is what the model's server counted: to the token, whatever becomes of the answer.

Good answers, broken ones, stalled, throttled, endless and garbled ones, answers for which the model is asked three
times, chats that go on (where the question is rewritten first, which costs too), and readers that leave. The server
counts by itself what it was told and what it said; the ledger holds what Carrel booked.
"""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import pytest

from carrel.adapters.models.remote import Patience
from carrel.ask.answer import Delta
from carrel.ask.pipeline import ChatWish, Done
from carrel.domain.access import Principal, for_job
from carrel.domain.ids import BotId, ChatId
from carrel.library.bots import NewBot
from carrel.store import usage
from carrel.store.usage import By
from conftest import TenantMaker
from support.answering import answering
from support.model_server import Fault, ModelServer, Script, a_model_server
from support.rounds import rounds
from support.stand import Stand
from support.tenants import SomeTenant

pytestmark = [pytest.mark.proof, pytest.mark.slow]

ANSWERS: Final = rounds(60, 1_000)
TENANTS: Final = rounds(3, 6)
PATIENCE: Final = Patience(connect=20, first_token=rounds(2, 4), whole=rounds(4, 8))
"""Enough for a busy machine: only what stands still runs out of it."""

GOOD: Final = ("cite", "echo", "obey", "talk", "miscite")
BAD: Final = (
    "cut", "cut-at-once", "unfinished", "fault-midway", "garbled", "stall", "stall-unheard", "stall-midway", "flood",
    "html", "not-json", "other-json", "key-refused", "quota", "too-long", "input-refused", "broken", "throttled",
)  # fmt: skip
QUESTIONS: Final = (
    "Who is told when the payment service must be restarted?",
    "On which port does the payment service listen?",
    "How long does a restart of the payment service take?",
)
DOCUMENT: Final = """# Payment service

The payment service listens on port 7443. A restart of the payment service takes four minutes.

Team Heron is told when the payment service must be restarted. It is told by telephone, and never at night.
"""

Booked = Counter[tuple[str, str]]
"""Tokens by the model's name, and by `input` or `output`."""


@dataclass(frozen=True)
class Asker:
    """One tenant, who asks one question after the other; `bots` by the model that writes for them."""

    tenant: SomeTenant
    principal: Principal
    bots: dict[str, BotId]


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    """A throttled model is fine at the third time, and each of them is throttled once."""
    async with a_model_server() as started:
        for number in range(ANSWERS):
            started.scripts[f"throttled-{number}"] = Script(fault=Fault.THROTTLE, times=2, retry_after=0.01)
        yield started


@pytest.fixture
async def written(carrel: Stand, server: ModelServer) -> AsyncIterator[Stand]:
    async with answering(carrel, server, patience=PATIENCE) as stand:
        yield stand


def mixed(count: int) -> Iterator[str]:
    """After each bad model a good one, so that no provider is left alone for its failures."""
    bad, good = itertools.cycle(BAD), itertools.cycle(GOOD)
    for number in range(count):
        name = next(bad) if number % 2 else next(good)
        yield f"throttled-{number}" if name == "throttled" else name


async def an_asker(written: Stand, tenant: TenantMaker, models: Sequence[str]) -> Asker:
    acme = await tenant("Acme")
    source = (await acme.source()).id
    await acme.put(source, "payment.md", DOCUMENT)
    bots = {
        model: (await written.app.bots.create(acme.console, NewBot(model, frozenset({source}), model=model))).id
        for model in dict.fromkeys(models)
    }
    return Asker(acme, await acme.principal(), bots)


async def ask(written: Stand, asker: Asker, model: str, chat: ChatId | None, *, leaves: bool) -> ChatId | None:
    """The chat that may go on. Who leaves does so after the first words; the turn goes on without him."""
    wish = ChatWish(random.choice(QUESTIONS), bot=asker.bots[model], chat=chat)
    events = written.app.turns.begin(written.app.asking.chat(await written.app.asking.allow(asker.principal, wish)))
    async with aclosing(events):
        async for event in events:
            if leaves and isinstance(event, Delta):
                return None
            if isinstance(event, Done):
                return event.remembered.chat
    raise AssertionError(model)


async def ask_all(written: Stand, asker: Asker, models: Sequence[str]) -> None:
    """Every other question goes on with the chat before; a chat belongs to one bot, so this is the same model's."""
    chats: dict[str, ChatId | None] = {}
    for number, model in enumerate(models):
        chats[model] = await ask(written, asker, model, chats.get(model), leaves=number % 7 == 6)


async def booked(written: Stand, asker: Asker) -> Booked:
    found: Booked = Counter()
    async with written.database.transaction(for_job(asker.tenant.id, None)) as tx:
        today = await usage.today(tx)
        for line in await usage.ledger(tx, today, today, By(day=False, bot=False, model=True)):
            name = (line.model or "").removeprefix("openai:")
            found.update({(name, "input"): line.input_tokens, (name, "output"): line.output_tokens})
    return +found


def counted(server: ModelServer) -> Booked:
    found: Booked = Counter()
    for heard in server.heard:
        found.update({(heard.told.model, "input"): heard.input_tokens})
        found.update({(heard.told.model, "output"): heard.output_tokens})
    return +found


@pytest.mark.timeout(1800)
async def test_what_is_booked_is_what_the_models_server_counted(
    written: Stand, server: ModelServer, tenant: TenantMaker
) -> None:
    plan = list(mixed(ANSWERS))
    shares = [plan[place * len(plan) // TENANTS : (place + 1) * len(plan) // TENANTS] for place in range(TENANTS)]
    askers = [await an_asker(written, tenant, share) for share in shares]

    async with asyncio.TaskGroup() as group:
        for asker, share in zip(askers, shares, strict=True):
            group.create_task(ask_all(written, asker, share))
    await written.app.turns.drain(60)

    total: Booked = Counter()
    for asker in askers:
        total += await booked(written, asker)
    assert total == counted(server)
    assert {heard.told.model.rstrip("-0123456789") for heard in server.heard} == {*GOOD, *BAD}
    assert any("<last_question>" in heard.told.question for heard in server.heard)
    throttled = Counter(heard.status for heard in server.heard if heard.told.model.startswith("throttled"))
    assert throttled[429] == 2 * throttled[200] > 0
