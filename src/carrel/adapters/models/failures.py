"""Providers' errors become ours: by status where there is one, by any-llm's classes where the words decide.

What a provider writes never becomes part of a sentence or of a log: it may hold the prompt, or the key.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, Final

import structlog
from any_llm.exceptions import (
    AnyLLMError,
    AuthenticationError,
    ContentFilterError,
    ContextLengthExceededError,
    InsufficientFundsError,
    ModelNotFoundError,
    RateLimitError,
)
from any_llm.utils.exception_handler import convert_exception

from carrel.adapters.models.calls import Failed, broke_off
from carrel.domain.errors import ModelFailed, Refusal

log = structlog.get_logger(__name__)

_SPENT: Final = re.compile(r"insufficient_quota|credit balance|billing|current quota|usage limit|insufficient balance")
_PLAIN: Final = re.compile(r"[\w.-]{1,64}", re.ASCII)
_REJECTED: Final = frozenset({400, 413, 422})
_OVERLOADED: Final = frozenset({429, 529})
_SERVER: Final = range(500, 600)
_UNREACHED: Final = frozenset({"APIConnectionError", "ConnectError", "ConnectionError", "ClientConnectorError"})
_BROKEN: Final = frozenset({"RemoteProtocolError", "ReadError", "ClientPayloadError", "ConnectionClosedError"})

_UNREADABLE: Final = frozenset({"DecodingError", "ResponseParserError", "ChecksumMismatch", "InvalidPayloadLength"})


@contextmanager
def translated(provider: str, model: str) -> Iterator[None]:
    """Raises Failed for whatever a provider's library raises; a caller that leaves is let go."""
    try:
        yield
    except ModelFailed:
        raise
    except Exception as error:  # noqa: BLE001 - four libraries, each with errors of its own and of the ones below it
        failure = _failure(error, provider, model)
        _tell(failure, error, provider, model)
        raise failure from None  # the chain holds what the provider wrote


def told_of(error: object, provider: str, model: str) -> Failed:
    """Of an error that came as an event of the stream itself."""
    body = error if isinstance(error, dict) else {}
    kind = f"{body.get('type') or ''} {body.get('code') or ''}"
    log.warning("model.failed", provider=provider, model=model, said=_plain(body.get("type")), status=None)
    if "overloaded" in kind or "rate_limit" in kind or "429" in kind:
        return _throttled(None)
    return Failed("The provider broke off with an error of its own.", code="model_broke_off", again=True)


def not_understood() -> Failed:
    return Failed("What the provider answered cannot be understood.", code="model_failed")


def _failure(error: Exception, provider: str, model: str) -> Failed:
    chain = tuple(_chain(error))
    refusal = next((one for one in chain if isinstance(one, Refusal)), None)
    if refusal is not None:
        return Failed(f"The provider cannot be reached. {refusal.detail}", code="model_unreachable")
    unified = convert_exception(error, provider)
    status = unified.status_code if unified.status_code and unified.status_code > 0 else None
    return _by_words(unified, chain) if status is None else _by_status(status, unified, model)


def _by_status(status: int, error: AnyLLMError, model: str) -> Failed:
    if status in _REJECTED:
        return _rejected(status, error, model)
    if status in _OVERLOADED:
        return _spent() if _SPENT.search(_words(error)) else _throttled(_seconds(_retry_after(error)))
    if status in _SIMPLE:
        return _SIMPLE[status](model)
    wait = _seconds(_retry_after(error))
    return Failed(f"The provider answered {status}.", code="model_failed", wait=wait, again=status in _SERVER)


def _rejected(status: int, error: AnyLLMError, model: str) -> Failed:
    """The status says that it was refused, the words say why."""
    if isinstance(error, InsufficientFundsError) or _SPENT.search(_words(error)):
        return _spent()
    if isinstance(error, ContextLengthExceededError) or "too long" in _words(error) or status == 413:  # noqa: PLR2004
        return Failed("Question and evidence are longer than the model takes.", code="context_too_long")
    if isinstance(error, ModelNotFoundError):
        return _unknown(model)
    if isinstance(error, AuthenticationError):
        return _key_refused()
    if isinstance(error, ContentFilterError):
        return refused_input()
    return Failed(f"The provider refuses this request ({status}).", code="model_refused_input")


def _by_words(error: AnyLLMError, chain: tuple[BaseException, ...]) -> Failed:
    names = {type(one).__name__ for one in chain}
    if any("Timeout" in name for name in names):
        return _waited(names)
    if names & _BROKEN:
        return broke_off()
    if names & _UNREADABLE:
        return not_understood()
    if names & _UNREACHED:
        return Failed("The provider cannot be reached.", code="model_unreachable", again=True)
    if isinstance(error, RateLimitError):
        return _throttled(_seconds(error.retry_after))
    return not_understood()


def _waited(names: set[str]) -> Failed:
    if any("Connect" in name for name in names):
        return Failed("The provider could not be connected to in time.", code="model_timeout")
    return Failed("The provider said nothing for too long.", code="model_timeout")


def refused_input() -> Failed:
    return Failed("The provider does not answer this, by rules of its own.", code="model_refused_input")


def _late(_: str) -> Failed:
    return Failed("The provider itself waited in vain.", code="model_timeout")


def _key_refused(_: str = "") -> Failed:
    return Failed("The provider refuses the key.", code="model_key_refused")


def _unknown(model: str) -> Failed:
    return Failed(f"The provider has no model {model}, or not for this key.", code="model_unknown")


def _spent(_: str = "") -> Failed:
    return Failed("The account at the provider is used up.", code="model_quota_exhausted")


_SIMPLE: Final[Mapping[int, Callable[[str], Failed]]] = {
    401: _key_refused,
    402: _spent,
    403: _key_refused,
    404: _unknown,
    408: _late,
    504: _late,
}


def _throttled(wait: float | None) -> Failed:
    return Failed("The provider is asked too often.", code="model_throttled", wait=wait, again=True)


def _retry_after(error: AnyLLMError) -> str | None:
    if isinstance(error, RateLimitError):
        return error.retry_after
    headers: Any = getattr(getattr(error.original_exception, "response", None), "headers", None)
    found = headers.get("retry-after") if headers is not None else None
    return found if isinstance(found, str) else None


def _seconds(text: str | None) -> float | None:
    """From a number or an HTTP date (RFC 9110, 10.2.3); None for anything else."""
    if text is None:
        return None
    with suppress(ValueError):
        seconds = float(text)
        return max(seconds, 0.0) if isfinite(seconds) else None
    try:
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None


def _words(error: AnyLLMError) -> str:
    return f"{error.message} {error.code or ''} {error.error_type or ''}".lower()


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _tell(failure: Failed, error: Exception, provider: str, model: str) -> None:
    unified = convert_exception(error, provider)
    said = _plain(unified.code) or _plain(unified.error_type) or type(error).__name__
    log.warning(
        "model.failed", provider=provider, model=model, code=failure.code, said=said, status=unified.status_code
    )


def _plain(word: object) -> str | None:
    """A provider's own code for an error; never a sentence."""
    return word if isinstance(word, str) and _PLAIN.fullmatch(word) else None
