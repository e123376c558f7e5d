"""Which embedder reads texts and questions: the one in this process, or a provider's."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, assert_never
from urllib.parse import urlsplit

from carrel.ports.embedder import Embedder
from carrel.settings import BedrockEmbedder, MiniLM, OllamaEmbedder, OpenAIEmbedder, RemoteEmbedder, Settings
from carrel.wiring.models import model

if TYPE_CHECKING:
    from carrel.adapters.embedders import remote

_QUESTIONS: Final = 64  # connections kept for questions, beside those of texts


@dataclass(frozen=True, slots=True)
class Loaded:
    """The same embedder twice: as it reads texts, and as it reads questions."""

    texts: Embedder
    questions: Embedder
    close: Callable[[], Awaitable[None]]


async def load(settings: Settings) -> Loaded:
    """Imports only what the chosen kind needs. Raises Unavailable `model_missing`, EmbedderFailed."""
    chosen = settings.embedder
    if isinstance(chosen, MiniLM):
        return await asyncio.to_thread(_minilm, settings, chosen)
    embedder = await _remote(chosen)
    return Loaded(embedder, embedder.for_questions(), embedder.close)


@dataclass(frozen=True, slots=True)
class AtHand:
    """The embedder of these settings, as a list shows it. A provider's has no weights here."""

    name: str
    ready: bool
    state: str
    weights: Path | None = None


def at_hand(settings: Settings) -> AtHand:
    """Asks nobody."""
    chosen = settings.embedder
    if not isinstance(chosen, MiniLM):
        return AtHand(f"{chosen.kind}/{chosen.model}", True, f"asked at {place_of(chosen)}")
    found = model(settings)
    state = "ready" if found.built else "built at the first start" if found.weights else "weights are missing"
    return AtHand(found.name, found.built, state, found.weights)


def place_of(chosen: RemoteEmbedder) -> str:
    """Host and port, for a sentence to the operator."""
    return urlsplit(_base_url(chosen)).netloc


def _minilm(settings: Settings, chosen: MiniLM) -> Loaded:
    from carrel.adapters.embedders import minilm

    embedder = minilm.prepare(settings.folder, threads=chosen.threads)

    async def close() -> None:
        embedder.close()

    return Loaded(embedder, embedder, close)


async def _remote(chosen: RemoteEmbedder) -> "remote.RemoteEmbedder":
    from carrel.adapters.embedders import remote

    plan = remote.Plan(
        dimension=chosen.dimension,
        max_tokens=chosen.max_tokens * 3 // 4,
        concurrency=chosen.concurrency,
        seconds=chosen.seconds,
        question_seconds=chosen.question_seconds,
    )
    wire = _wire(chosen)
    try:
        return await remote.opened(wire, plan)
    except BaseException:
        await wire.close()
        raise


def _wire(chosen: RemoteEmbedder) -> "remote.Wire":
    from carrel.adapters.embedders.remote import Place

    connections = chosen.concurrency + _QUESTIONS
    key = chosen.api_key.get_secret_value() if chosen.api_key else None
    place = Place(_base_url(chosen), key, connections)
    match chosen:
        case OpenAIEmbedder():
            from carrel.adapters.embedders.remote.openai import OpenAiWire

            return OpenAiWire(chosen.model, place)
        case OllamaEmbedder():
            from carrel.adapters.embedders.remote.ollama import OllamaWire

            return OllamaWire(chosen.model, place)
        case BedrockEmbedder():
            from carrel.adapters.embedders.remote.bedrock import BedrockWire, ByAccount, ByKey

            by_account = ByAccount(region=chosen.region, base_url=chosen.base_url, connections=connections)
            return BedrockWire(chosen.model, ByKey(place) if key else by_account)
        case _:
            assert_never(chosen)


def _base_url(chosen: RemoteEmbedder) -> str:
    if chosen.base_url:
        return chosen.base_url
    match chosen:
        case OpenAIEmbedder():
            return "https://api.openai.com/v1"
        case OllamaEmbedder():
            return "http://127.0.0.1:11434"
        case BedrockEmbedder():
            return f"https://bedrock-runtime.{chosen.region or 'unknown'}.amazonaws.com"
        case _:
            assert_never(chosen)
