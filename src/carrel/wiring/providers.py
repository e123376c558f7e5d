"""Which language models write: what the settings choose for all, and what tenants' credentials lead to."""

import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, assert_never
from urllib.parse import urlsplit

from carrel.adapters.lexical.analyzer import EnglishAnalyzer
from carrel.adapters.models.breaker import Circuits
from carrel.adapters.models.calls import Account
from carrel.adapters.models.clients import Clients
from carrel.adapters.models.extractive import Extractive
from carrel.adapters.models.providers import Own, Providers, Safe
from carrel.adapters.models.remote import Patience, Remote
from carrel.adapters.models.ways import Transport, Ways
from carrel.domain.ids import TenantId
from carrel.domain.models import EXTRACTIVE, Offer
from carrel.domain.secret import Secret
from carrel.ports.model import Prompt
from carrel.settings import AnthropicModel, BedrockModel, OllamaModel, OpenAIModel, RemoteModel, Settings
from carrel.settings import Extractive as ExtractiveModel

if TYPE_CHECKING:
    from carrel.adapters.web import JudgedTransport, Names

_TRIAL = 256  # tokens: some models think before they speak
_KEPT = 16  # connections to one tenant's provider


@asynccontextmanager
async def providers(settings: Settings, safe: Safe) -> AsyncIterator[Providers]:
    """Nothing of a provider's library is imported before its first call, or before `prepare`."""
    found = Providers(
        Extractive(EnglishAnalyzer()), safe, _ways(settings), own=own(settings), patience=_patience(settings)
    )
    try:
        yield found
    finally:
        await found.close()


async def try_out(settings: Settings) -> None:
    """Raises ModelFailed when the deployment's own model does not answer a word."""
    ours = own(settings)
    assert ours is not None
    clients = Clients(_ways(settings).to)
    model = Remote(
        ours.account,
        ours.offer.model,
        clients,
        Circuits().of(None, name=ours.account.provider),
        context_tokens=ours.context_tokens,
        patience=_patience(settings),
    )
    try:
        async with aclosing(model.write(Prompt("Say yes.", (), most_tokens=_TRIAL))) as drafts:
            async for _ in drafts:
                pass
    finally:
        await clients.close()


def offer(settings: Settings) -> Offer:
    """What bots without a credential may name."""
    chosen = settings.model
    if isinstance(chosen, ExtractiveModel):
        return Offer()
    return Offer(chosen.model, chosen.allowed_models)


def at_hand(settings: Settings) -> list[tuple[str, str]]:
    """The models that bots may name without a credential, each with its state. Asks nobody."""
    chosen = settings.model
    extractive = (EXTRACTIVE, "ready, needs no weights")
    if isinstance(chosen, ExtractiveModel):
        return [extractive]
    place = urlsplit(chosen.base_url).netloc if chosen.base_url else chosen.kind
    first = (f"{chosen.kind}:{chosen.model}", f"asked at {place}, where a bot names none")
    others = [(f"{chosen.kind}:{name}", f"asked at {place}") for name in chosen.allowed_models]
    return [first, *others, extractive]


def own(settings: Settings) -> Own | None:
    """The deployment's account; None where it has none."""
    chosen = settings.model
    if isinstance(chosen, ExtractiveModel):
        return None
    return Own(_account(chosen), offer(settings), chosen.context_tokens)


def _account(chosen: RemoteModel) -> Account:
    secret = Secret(chosen.api_key.get_secret_value()) if chosen.api_key else None
    match chosen:
        case BedrockModel():
            return Account(chosen.kind, chosen.base_url, secret, is_ours=True, region=chosen.region)
        case OpenAIModel() | AnthropicModel() | OllamaModel():
            return Account(chosen.kind, chosen.base_url, secret, is_ours=True)
        case _:
            assert_never(chosen)


def _ways(settings: Settings) -> Ways:
    region = settings.model.region if isinstance(settings.model, BedrockModel) else None
    return Ways(_judged(settings), _patience(settings), region=region)


def _patience(settings: Settings) -> Patience:
    rules = settings.providers
    return Patience(rules.connect, rules.first_token, rules.whole)


def _judged(settings: Settings) -> Transport:
    """All tenants share the threads that look names up, and none takes them all."""

    @cache
    def names() -> "Names":
        from carrel.adapters.web import Names

        return Names()

    def made(trust: ssl.SSLContext, payer: TenantId | None) -> "JudgedTransport":
        from carrel.adapters.web import Allowed, JudgedTransport, Rules

        given = settings.providers
        rules = Rules(Allowed.read(given.allowed or ""), given.port_set)
        return JudgedTransport(rules, trust, kept=_KEPT, resolve=names().of(payer))

    return made
