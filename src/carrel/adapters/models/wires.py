"""Three protocols, spoken by the clients that any-llm makes. Importing this costs time and memory: do it late.

Keys, addresses, retries, redirects and headers are decided here and in traffic.py, and never by a library's defaults.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, Final

import anthropic
import httpx
import httpx2
import openai
from any_llm import AnyLLM

from carrel.adapters.models.calls import Account, Piece, Told, Wire
from carrel.adapters.models.events import MOST, events
from carrel.adapters.models.failures import not_understood, refused_input, told_of, translated
from carrel.adapters.models.traffic import NO_KEY, ForHttpx, ProviderTraffic
from carrel.domain.models import Protocol
from carrel.ports.model import Speaker

OPENAI: Final = "https://api.openai.com/v1"
ANTHROPIC: Final = "https://api.anthropic.com"
OLLAMA: Final = "http://127.0.0.1:11434"

_EACH: Final = "continuous_usage_stats"
_LIMITS: Final = ("max_completion_tokens", "max_tokens")
_FILTERED: Final = frozenset({"content_filter", "refusal"})
_TOO_MUCH: Final = re.compile(r"too (?:large|long|many)|context (?:length|window)|at most|exceed", re.IGNORECASE)


def wire(account: Account, transport: httpx2.AsyncBaseTransport, *, timeout: httpx2.Timeout) -> Wire:
    """For every protocol but Bedrock's."""
    match account.protocol:
        case Protocol.ANTHROPIC:
            return AnthropicWire(account, transport, timeout)
        case Protocol.OLLAMA:
            return OllamaWire(account, transport, timeout)
        case _:
            return OpenAIWire(account, transport, timeout)


_Parts = frozenset[tuple[str, str]]


class _EventWire(ABC):
    """A protocol of server-sent events. Of a request, what an address does not take is left out from then on."""

    def __init__(self, provider: str, llm: Any) -> None:
        self._provider = provider
        self._llm = llm
        self._left_out: set[tuple[str, str]] = set()

    async def stream(self, told: Told) -> AsyncGenerator[Piece]:
        with translated(self._provider, told.model):
            while True:
                left_out = frozenset(self._left_out)
                try:
                    async with (
                        self._create(**self._request(told)) as answer,
                        aclosing(events(answer.iter_bytes())) as found,
                    ):
                        async for event in found:
                            if piece := self._piece(event, told.model):
                                yield piece
                except (anthropic.BadRequestError, openai.BadRequestError) as error:
                    if not self._leaves_out(error, told.model, already=left_out):
                        raise
                else:
                    return

    async def close(self) -> None:
        await self._llm.client.close()

    @property
    @abstractmethod
    def _create(self) -> Callable[..., AbstractAsyncContextManager[Any]]: ...

    @property
    @abstractmethod
    def _dispensable(self) -> tuple[str, ...]:
        """The parts of a request that it can do without."""

    @abstractmethod
    def _request(self, told: Told) -> dict[str, Any]: ...

    @abstractmethod
    def _piece(self, event: dict[str, Any], model: str) -> Piece | None: ...

    def _leaves_out(
        self, error: anthropic.BadRequestError | openai.BadRequestError, model: str, *, already: _Parts
    ) -> bool:
        """Whether the address named a part that this request can do without; another one may have learned it since.

        Not where it names it beside what was too much: then every later call, of whichever tenant, would do without.
        """
        if _TOO_MUCH.search(error.message):
            return False
        news = [part for part in self._dispensable if (model, part) not in already]
        named = getattr(error, "param", None)
        found = next((part for part in news if part == named), None)
        found = found or next((part for part in news if part in error.message), None)
        if found is not None:
            self._left_out.add((model, found))
        return found is not None


class OpenAIWire(_EventWire):
    """OpenAI's chat completions, and whoever speaks like it.

    Elsewhere than at OpenAI `max_tokens` is the name that all know, and usage is asked for with every piece: then that
    of a stream that breaks is known too.
    """

    def __init__(self, account: Account, transport: httpx2.AsyncBaseTransport, timeout: httpx2.Timeout) -> None:
        self._is_openai = account.base_url is None or account.base_url.rstrip("/") == OPENAI
        traffic = ProviderTraffic(transport, account.secret, header="Authorization", scheme="Bearer ")
        llm = AnyLLM.create(
            "openai",
            api_key=NO_KEY,
            api_base=account.base_url or OPENAI,
            unified_exceptions=True,
            max_retries=0,
            http_client=_client(traffic, timeout),
        )
        super().__init__(account.provider, llm)
        self._limits = _LIMITS if self._is_openai else _LIMITS[::-1]

    @property
    def _create(self) -> Callable[..., AbstractAsyncContextManager[Any]]:
        client: openai.AsyncOpenAI = self._llm.client
        return client.chat.completions.with_streaming_response.create

    @property
    def _dispensable(self) -> tuple[str, ...]:
        return (_EACH, "temperature", "stream_options", *self._limits)

    def _request(self, told: Told) -> dict[str, Any]:
        optional = {
            "temperature": told.temperature,
            "stream_options": {"include_usage": True, **self._every_piece(told.model)},
        }
        taken = {name: value for name, value in optional.items() if (told.model, name) not in self._left_out}
        limit = next((name for name in self._limits if (told.model, name) not in self._left_out), None)
        body = {limit: told.most_tokens} if limit else {}
        return {"model": told.model, "messages": _messages(told), "stream": True, "extra_body": body, **taken}

    def _every_piece(self, model: str) -> dict[str, bool]:
        is_left_out = self._is_openai or (model, _EACH) in self._left_out
        return {} if is_left_out else {_EACH: True}

    def _piece(self, event: dict[str, Any], model: str) -> Piece | None:
        if error := event.get("error"):
            raise told_of(error, self._provider, model)
        usage = _of(event, "usage")
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        reason, text = choice.get("finish_reason"), _of(choice, "delta").get("content")
        if reason in _FILTERED:
            raise refused_input()
        return Piece(
            text=text if isinstance(text, str) else "",
            input_tokens=_count(usage.get("prompt_tokens")),
            output_tokens=_count(usage.get("completion_tokens")),
            is_last=reason is not None,
        )


class AnthropicWire(_EventWire):
    """Anthropic's messages. What the prompt cost stands in the first event. Newer models refuse a temperature."""

    def __init__(self, account: Account, transport: httpx2.AsyncBaseTransport, timeout: httpx2.Timeout) -> None:
        traffic = ProviderTraffic(transport, account.secret, header="X-Api-Key")
        llm = AnyLLM.create(
            "anthropic",
            api_key=NO_KEY,
            api_base=account.base_url or ANTHROPIC,
            unified_exceptions=True,
            max_retries=0,
            http_client=_httpx_client(traffic, timeout),
        )
        super().__init__(account.provider, llm)

    @property
    def _create(self) -> Callable[..., AbstractAsyncContextManager[Any]]:
        client: anthropic.AsyncAnthropic = self._llm.client
        return client.messages.with_streaming_response.create

    @property
    def _dispensable(self) -> tuple[str, ...]:
        return ("temperature",)

    def _request(self, told: Told) -> dict[str, Any]:
        system = "\n\n".join(message.text for message in told.messages if message.speaker is Speaker.SYSTEM)
        said = [message for message in _messages(told) if message["role"] != Speaker.SYSTEM]
        temperature = {} if (told.model, "temperature") in self._left_out else {"temperature": told.temperature}
        instructions = {"system": system} if system else {}
        return {
            "model": told.model,
            "messages": said,
            "max_tokens": told.most_tokens,
            "stream": True,
            **instructions,
            **temperature,
        }

    def _piece(self, event: dict[str, Any], model: str) -> Piece | None:
        match event.get("type"):
            case "message_start":
                return _counted(_of(_of(event, "message"), "usage"))
            case "content_block_delta":
                text = _of(event, "delta").get("text")
                return Piece(text) if isinstance(text, str) else None
            case "message_delta":
                reason = _of(event, "delta").get("stop_reason")
                if reason in _FILTERED:
                    raise refused_input()
                return _counted(_of(event, "usage"), is_last=reason is not None)
            case "error":
                raise told_of(event.get("error"), self._provider, model)
            case _:
                return None


class OllamaWire:
    """Ollama's own protocol, all of it by any-llm. It is told how much to remember: it would cut a prompt silently."""

    def __init__(self, account: Account, transport: httpx2.AsyncBaseTransport, timeout: httpx2.Timeout) -> None:
        self._provider = account.provider
        traffic = ProviderTraffic(transport, account.secret, header="Authorization", scheme="Bearer ")
        self._llm = AnyLLM.create(
            "ollama",
            api_base=account.base_url or OLLAMA,
            unified_exceptions=True,
            transport=ForHttpx(traffic),
            timeout=_for_httpx(timeout),
            follow_redirects=False,
            trust_env=False,
        )

    async def stream(self, told: Told) -> AsyncGenerator[Piece]:
        with translated(self._provider, told.model):
            chunks: Any = await self._llm.acompletion(
                model=told.model,
                messages=list(_messages(told)),
                stream=True,
                temperature=told.temperature,
                max_tokens=told.most_tokens,
                num_ctx=told.context_tokens,
            )
            left = MOST
            async with aclosing(chunks):
                async for chunk in chunks:
                    if (left := left - 1) < 0:
                        raise not_understood()
                    choice = chunk.choices[0] if chunk.choices else None
                    yield Piece(
                        text=(choice and choice.delta.content) or "",
                        input_tokens=chunk.usage.prompt_tokens if chunk.usage else None,
                        output_tokens=chunk.usage.completion_tokens if chunk.usage else None,
                        is_last=choice is not None and choice.finish_reason is not None,
                    )

    async def close(self) -> None:
        await self._llm.client.close()  # type: ignore[attr-defined]


def _client(transport: httpx2.AsyncBaseTransport, timeout: httpx2.Timeout) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=transport, timeout=timeout, follow_redirects=False, trust_env=False)


def _httpx_client(transport: httpx2.AsyncBaseTransport, timeout: httpx2.Timeout) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=ForHttpx(transport), timeout=_for_httpx(timeout), follow_redirects=False, trust_env=False
    )


def _for_httpx(timeout: httpx2.Timeout) -> httpx.Timeout:
    return httpx.Timeout(timeout.read, connect=timeout.connect)


def _messages(told: Told) -> list[dict[str, Any]]:
    return [{"role": message.speaker.value, "content": message.text} for message in told.messages]


def _counted(usage: dict[str, Any], *, is_last: bool = False) -> Piece:
    """What was read from a cache was read too."""
    parts = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    read = [count for part in parts if (count := _count(usage.get(part))) is not None]
    return Piece("", sum(read) if read else None, _count(usage.get("output_tokens")), is_last=is_last)


def _of(value: dict[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
