"""One POST to a provider: bounded, without redirects, and every refusal in our words.

What a provider says may hold the text, or a part of the key: only its own short code for it goes to the log.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
import orjson
import structlog

from carrel.adapters.embedders.remote.wire import DimensionRefused, TooLong, garbled
from carrel.domain.errors import EmbedderFailed

log = structlog.get_logger(__name__)

_TOO_LONG: Final = re.compile(
    r"context.?length|too (long|large|many)|max\w{0,20}.{0,20}(context|input|batch|token|sequence|allowed)|exceed"
    r"|less than \d+ tokens",
    re.IGNORECASE,
)
_DIMENSION: Final = re.compile(r"dimension|matryoshka", re.IGNORECASE)
_QUOTA: Final = re.compile(r"quota|billing|balance|payment", re.IGNORECASE)
_UNPAID, _LARGE, _BROKEN = 402, 413, 500
_QUOTA_AT: Final = frozenset({400, 429})
_INPUT: Final = frozenset({400, 413, 422, _BROKEN})


@dataclass(frozen=True, slots=True)
class _Meaning:
    """Of a status: `final` when somebody must change something first."""

    code: str
    detail: str
    final: bool = False


_REFUSED_KEY: Final = _Meaning(
    code="embedder_key_refused", detail="The embedder's provider refuses the key.", final=True
)
_UNKNOWN: Final = _Meaning(
    code="embedder_unknown", detail="The provider has no such embedder, or not at this address.", final=True
)
_BY_STATUS: Final = {
    401: _REFUSED_KEY,
    _UNPAID: _Meaning(code="embedder_quota_exhausted", detail="The account at the embedder's provider is used up."),
    403: _REFUSED_KEY,
    404: _UNKNOWN,
    429: _Meaning(code="embedder_throttled", detail="The embedder's provider asks to wait."),
    503: _Meaning(code="embedder_unreachable", detail="The embedder's provider is overloaded."),
}
_MOST_SAID: Final = 10_000  # characters that are looked at
_SHORT: Final = re.compile(r'"(?:code|type)"\s*:\s*"([\w.-]{1,64})"|\A(\w{1,64}):', re.ASCII)
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Place:
    """Where a provider is, in whose name it is called, and how many connections are kept to it."""

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    connections: int = 8
    connect: float = 10.0


class Calls:
    """To one provider. The caller sets the time limit of a whole call."""

    def __init__(self, place: Place) -> None:
        self._base = place.base_url.rstrip("/")
        self._http = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {place.api_key}"} if place.api_key else {},
            timeout=httpx2.Timeout(None, connect=place.connect),
            limits=httpx2.Limits(max_connections=place.connections, max_keepalive_connections=place.connections),
            follow_redirects=False,
            trust_env=False,
        )

    async def post(self, path: str, body: object, *, most: int) -> dict[str, Any]:
        """Its JSON object of at most so many bytes. Raises EmbedderFailed, TooLong, DimensionRefused."""
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        try:
            request = self._http.build_request(
                "POST", f"{self._base}{path}", content=orjson.dumps(body), headers=headers
            )
            answer = await self._http.send(request, stream=True)
            try:
                content = await bounded(answer.aiter_bytes(), most)
            finally:
                await answer.aclose()
        except (httpx2.HTTPError, OSError) as error:
            raise EmbedderFailed("The embedder's provider cannot be reached.", code="embedder_unreachable") from error
        if answer.status_code != _OK:
            said = content.decode("utf-8", "replace")
            raise refusal(answer.status_code, said, wait=_wait(answer.headers.get("retry-after")))
        return _object(content)

    async def close(self) -> None:
        await self._http.aclose()


def refusal(status: int, said: str, *, wait: float | None = None) -> Exception:
    """What a provider's status and words mean for us."""
    said = said[:_MOST_SAID]
    short = _SHORT.search(said)
    log.warning("embedder.refused", status=status, said=short and (short[1] or short[2]))
    if status in _QUOTA_AT and _QUOTA.search(said):
        status = _UNPAID
    if status in _BY_STATUS:
        meant = _BY_STATUS[status]
        return EmbedderFailed(meant.detail, code=meant.code, wait=wait, final=meant.final)
    return _input_refused(status, said)


def _input_refused(status: int, said: str) -> Exception:
    if status in _INPUT and _DIMENSION.search(said):
        return DimensionRefused()
    if status == _LARGE or (status in _INPUT and _TOO_LONG.search(said)):
        return TooLong()
    if status in _INPUT and status != _BROKEN:
        return EmbedderFailed("The embedder's provider refuses the text.", code="embedder_input_refused", final=True)
    return EmbedderFailed(f"The embedder's provider answers {status}.", code="embedder_unreachable")


async def bounded(pieces: AsyncIterator[bytes], most: int) -> bytes:
    """All of them. Raises EmbedderFailed `embedder_garbled` beyond so many bytes."""
    content = bytearray()
    async for piece in pieces:
        content += piece
        if len(content) > most:
            raise garbled(f"It has more than {most:,} bytes.")
    return bytes(content)


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise garbled("It is not JSON.") from error
    if not isinstance(found, dict):
        raise garbled("It is not a JSON object.")
    return found


def _wait(given: str | None) -> float | None:
    """Seconds; a date is not read, for its clock may be another's."""
    return float(given) if given and re.fullmatch(r"\d{1,6}(\.\d{1,6})?", given.strip()) else None
