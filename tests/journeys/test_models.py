"""Which model writes: the deployment's, one that a bot names, or one that the tenant itself pays."""

import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import structlog

from carrel.adapters.lexical.analyzer import EnglishAnalyzer
from carrel.adapters.models.calls import Account
from carrel.adapters.models.extractive import Extractive
from carrel.adapters.models.providers import Own, Providers
from carrel.adapters.models.remote import Patience
from carrel.adapters.models.ways import Ways
from carrel.adapters.web import Allowed, JudgedTransport, Rules
from carrel.ask.pipeline import ChatWish, Done
from carrel.domain.answers import Answer, AnswerStatus
from carrel.domain.errors import Invalid, NotFound
from carrel.domain.ids import CredentialId
from carrel.domain.library import Bot
from carrel.domain.models import Offer
from carrel.domain.secret import Secret
from carrel.library.bots import BotChange, NewBot
from carrel.tenancy.credentials import CredentialChange, CredentialWish
from carrel.wiring import assemble
from conftest import TenantMaker
from support.model_server import ModelServer, a_model_server
from support.stand import Stand
from support.tenants import SomeTenant

QUESTION = "On which port does the payment service listen?"
TEXT = "# Payments\n\nThe payment service listens on port 7443. Team Heron owns the payment service."
OURS = "sk-a-key-of-the-deployment"
THEIRS = "sk-a-key-of-the-tenant"


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[ModelServer]:
    async with a_model_server(keys=frozenset({OURS, THEIRS})) as standing:
        yield standing


@pytest.fixture
async def ours(carrel: Stand, server: ModelServer) -> AsyncIterator[Stand]:
    """The deployment has `cite` and `echo`; tenants may have providers on this machine."""
    async with a_stand_with(carrel, server, allowed="127.0.0.0/8") as standing:
        yield standing


@asynccontextmanager
async def a_stand_with(carrel: Stand, server: ModelServer, *, allowed: str) -> AsyncIterator[Stand]:
    offer = Offer("cite", ("echo",))
    own = Own(Account("openai", server.openai, Secret(OURS), is_ours=True), offer)
    rules = Rules(Allowed.read(allowed), frozenset({80, 443, server.port}))
    ways = Ways(lambda trust, _: JudgedTransport(rules, trust, kept=4), Patience())
    models = Providers(Extractive(EnglishAnalyzer()), carrel.app.credentials, ways, own=own)
    parts = replace(carrel.parts, base=replace(carrel.parts.base, offer=offer), models=models)
    try:
        yield replace(carrel, app=assemble(parts), parts=parts)
    finally:
        await models.close()


@pytest.fixture
async def acme(ours: Stand, tenant: TenantMaker) -> SomeTenant:
    acme = await tenant("Acme")
    await acme.put((await acme.source()).id, "payments.md", TEXT)
    return acme


async def a_bot(ours: Stand, who: SomeTenant, model: str | None = None, credential: CredentialId | None = None) -> Bot:
    sources = frozenset(one.id for one in (await ours.app.sources.listed(who.console)).items)
    wish = NewBot(f"bot {uuid.uuid4()}", sources, model=model, credential=credential)
    return await ours.app.bots.create(who.console, wish)


async def a_credential(
    ours: Stand, who: SomeTenant, provider: str, base_url: str | None, *, secret: str = THEIRS
) -> CredentialId:
    wish = CredentialWish(f"credential {uuid.uuid4()}", provider, Secret(secret), base_url)
    return (await ours.app.credentials.create(who.console, wish)).id


async def asked(ours: Stand, who: SomeTenant, bot: Bot | None) -> Answer:
    allowed = await ours.app.asking.allow(who.console, ChatWish(QUESTION, bot=bot.id if bot else None))
    events = [event async for event in ours.app.asking.chat(allowed)]
    assert isinstance(events[-1], Done)
    return events[-1].remembered.answer


async def refused(ours: Stand, who: SomeTenant, model: str, credential: CredentialId | None = None) -> Invalid:
    with pytest.raises(Invalid) as failed:
        await a_bot(ours, who, model, credential)
    return failed.value


async def test_a_bot_without_a_wish_is_answered_by_the_deployments_model(ours: Stand, acme: SomeTenant) -> None:
    answer = await asked(ours, acme, await a_bot(ours, acme))

    assert (answer.status, answer.usage.model) == (AnswerStatus.ANSWERED, "openai:cite")
    assert (await asked(ours, acme, None)).usage.model == "openai:cite"


async def test_a_bot_may_name_what_the_deployment_allows(ours: Stand, acme: SomeTenant) -> None:
    assert (await asked(ours, acme, await a_bot(ours, acme, "echo"))).usage.model == "openai:echo"
    assert (await asked(ours, acme, await a_bot(ours, acme, "extractive"))).usage.model == "extractive"


async def test_another_model_needs_a_credential(ours: Stand, acme: SomeTenant) -> None:
    failed = await refused(ours, acme, "obey")

    assert (failed.code, failed.field) == ("unknown_model", "model")
    assert failed.detail == "Without a credential_id a bot may name: cite, echo, extractive."


async def test_a_name_that_no_model_has_is_refused(ours: Stand, acme: SomeTenant) -> None:
    for name in ("two words", "../secret\n", "a" * 201, "-x"):
        assert (await refused(ours, acme, name)).code == "invalid_model"


@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama", "vllm"])
async def test_a_tenants_credential_pays_for_any_model_of_its_provider(
    ours: Stand, server: ModelServer, acme: SomeTenant, provider: str
) -> None:
    url = server.openai if provider in {"openai", "vllm"} else server.url
    bot = await a_bot(ours, acme, "cite", await a_credential(ours, acme, provider, url))

    answer = await asked(ours, acme, bot)

    assert (answer.status, answer.usage.model) == (AnswerStatus.ANSWERED, f"{provider}:cite")
    assert [citation.passage.title for citation in answer.citations] == ["Payments"]
    assert server.heard[-1].told.key == THEIRS or provider == "ollama"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (
        server.heard[-1].input_tokens,
        server.heard[-1].output_tokens,
    )


async def test_a_provider_that_could_never_be_called_is_refused(ours: Stand, acme: SomeTenant) -> None:
    for provider, url in (("vllm", None), ("ollama", None), ("bedrock", "https://models.example.org")):
        credential = await a_credential(ours, acme, provider, url)

        assert (await refused(ours, acme, "any", credential)).code == "unusable_credential"


async def test_another_tenants_credential_pays_for_nothing(
    ours: Stand, server: ModelServer, acme: SomeTenant, tenant: TenantMaker
) -> None:
    foreign = await a_credential(ours, await tenant("Other"), "openai", server.openai)

    with pytest.raises(NotFound):
        await a_bot(ours, acme, "cite", foreign)


async def test_a_bot_is_given_another_model_and_the_deployments_again(ours: Stand, acme: SomeTenant) -> None:
    bot = await a_bot(ours, acme, "echo")

    bot = await ours.app.bots.change(acme.console, bot.id, BotChange(instructions="Be brief."))
    assert bot.model == "echo"
    with pytest.raises(Invalid):
        await ours.app.bots.change(acme.console, bot.id, BotChange(model="obey"))
    bot = await ours.app.bots.change(acme.console, bot.id, BotChange(model=""))
    assert bot.model is None
    assert (await asked(ours, acme, bot)).usage.model == "openai:cite"


async def test_without_its_credential_a_bot_shows_passages(ours: Stand, server: ModelServer, acme: SomeTenant) -> None:
    credential = await a_credential(ours, acme, "openai", server.openai)
    bot = await a_bot(ours, acme, "obey", credential)
    await ours.app.credentials.delete(acme.console, credential)

    answer = await asked(ours, acme, bot)

    assert (answer.status, answer.problem and answer.problem.code) == (
        AnswerStatus.DEGRADED,
        "model_credential_missing",
    )
    assert "7443" in answer.text


async def test_a_wrong_key_shows_passages_until_it_is_changed(
    ours: Stand, server: ModelServer, acme: SomeTenant
) -> None:
    credential = await a_credential(ours, acme, "openai", server.openai, secret="sk-wrong")
    bot = await a_bot(ours, acme, "cite", credential)
    codes = [answer.problem and answer.problem.code for answer in [await asked(ours, acme, bot) for _ in range(6)]]
    assert codes == ["model_key_refused"] * 5 + ["model_paused"]

    await ours.app.credentials.change(acme.console, credential, CredentialChange(secret=Secret(THEIRS)))

    assert (await asked(ours, acme, bot)).status is AnswerStatus.ANSWERED


async def test_a_private_address_is_not_called(carrel: Stand, server: ModelServer, acme: SomeTenant) -> None:
    async with a_stand_with(carrel, server, allowed="") as ours:
        bot = await a_bot(ours, acme, "cite", await a_credential(ours, acme, "openai", server.openai))
        before = len(server.heard)

        answer = await asked(ours, acme, bot)

    assert (answer.status, answer.problem and answer.problem.code) == (AnswerStatus.DEGRADED, "model_unreachable")
    assert len(server.heard) == before


async def test_no_key_stands_in_an_answer_or_a_log(
    ours: Stand, server: ModelServer, acme: SomeTenant, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    credential = await a_credential(ours, acme, "openai", server.openai)
    bots = [await a_bot(ours, acme, name, credential) for name in ("cite", "obey", "cut", "key-refused")]

    with structlog.testing.capture_logs() as events:
        answers = [await asked(ours, acme, bot) for bot in bots]

    everything = f"{answers} {events} {[record.getMessage() for record in caplog.records]}"
    assert THEIRS not in everything
    assert OURS not in everything
