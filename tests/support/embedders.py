"""Embedders of providers, called for real on the server of tests."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from carrel.adapters.embedders.remote import Place, Plan, RemoteEmbedder, Wire, opened
from carrel.adapters.embedders.remote.bedrock import BedrockWire, ByAccount, ByKey
from carrel.adapters.embedders.remote.ollama import OllamaWire
from carrel.adapters.embedders.remote.openai import OpenAiWire
from support.model_server import ModelServer, Script

KEY: Final = "sk-secret-of-the-deployment"
SWIFT: Final = Plan(pause=0.001)  # it waits no longer than a test must

_TITAN, _COHERE = "amazon.titan-embed-text-v2:0", "cohere.embed-v4:0"

WIRES: Final[dict[str, Callable[[ModelServer], Wire]]] = {
    "openai": lambda server: OpenAiWire("embed", Place(server.openai, KEY)),
    "ollama": lambda server: OllamaWire("embed", Place(server.url)),
    "titan": lambda server: BedrockWire(_TITAN, ByKey(Place(server.url, KEY))),
    "cohere": lambda server: BedrockWire(_COHERE, ByKey(Place(server.url, KEY))),
    "titan by account": lambda server: BedrockWire(
        _TITAN, ByAccount(region="eu-central-1", base_url=server.url, connections=8)
    ),
}
"""The last one needs AWS credentials in the environment."""


@asynccontextmanager
async def an_embedder(
    server: ModelServer, name: str = "openai", *, script: Script | None = None, plan: Plan = SWIFT, dimension: int = 64
) -> AsyncIterator[RemoteEmbedder]:
    """Of a known dimension, so it asks nothing before it is used; `script` is how its model behaves."""
    wire = WIRES[name](server)
    server.scripts[wire.model] = script or Script()
    embedder = await opened(wire, replace(plan, dimension=plan.dimension or dimension))
    try:
        yield embedder
    finally:
        await embedder.close()
