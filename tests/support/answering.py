"""A Carrel whose answers are written by the scriptable model server, over real HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import httpx2

from carrel.adapters.lexical.analyzer import EnglishAnalyzer
from carrel.adapters.models.calls import Account
from carrel.adapters.models.extractive import Extractive
from carrel.adapters.models.providers import Own, Providers
from carrel.adapters.models.remote import Patience
from carrel.adapters.models.ways import Ways
from carrel.domain.models import Offer
from carrel.domain.secret import Secret
from carrel.wiring import assemble
from support.model_server import ModelServer
from support.stand import Stand

IMPATIENT: Final = Patience(connect=5, first_token=0.6, whole=1.2)
"""For models that stand still."""


@asynccontextmanager
async def answering(
    stand: Stand, server: ModelServer, model: str = "cite", *, patience: Patience | None = None, context: int = 16_000
) -> AsyncIterator[Stand]:
    """The stand with the server as its deployment's provider; a bot may name any of its models."""
    patience = patience or Patience()
    account = Account("openai", server.openai, Secret("a key of the deployment"), is_ours=True)
    own = Own(account, Offer(model, tuple(server.scripts)), context_tokens=context)
    providers = Providers(
        Extractive(EnglishAnalyzer()), stand.app.credentials, Ways(_nowhere, patience), own=own, patience=patience
    )
    try:
        base = replace(stand.parts.base, offer=own.offer)
        parts = replace(stand.parts, base=base, models=providers)
        yield replace(stand, app=assemble(parts), parts=parts)
    finally:
        await providers.close()


def _nowhere(*_: object) -> httpx2.AsyncBaseTransport:
    raise AssertionError("No tenant's provider is called here.")
