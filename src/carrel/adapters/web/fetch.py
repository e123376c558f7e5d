"""Fetching over HTTP: what is taken from the other side, how much of it, and how far it may send one on.

The other side may lie about everything: the length is counted after unpacking, the type must be one that was asked for,
a redirect is a new address to judge, and all of it together has its time.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import httpx2

from carrel.adapters.web.answers import content_of, media_of, packed_tag, refusal_of, reminders
from carrel.adapters.web.judged import JudgedTransport, Rules, refused_address
from carrel.adapters.web.names import Names, Resolve
from carrel.domain.errors import Invalid, Refusal, TooLarge, Unavailable, Unsupported
from carrel.ports.web import Absent, Fetched, Follows, Left, Page, Reading, Unchanged

_OK: Final = 200
_UNCHANGED: Final = 304
_ABSENT: Final = frozenset({404, 410})
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS: Final = 3
_PRODUCT: Final = f"Carrel/{version('carrel')}"
_MOST_DROPPED: Final = 64 * 1024
_DROPPING: Final = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class _Wish:
    most: int
    accepts: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class _Way:
    """Requests alone: a client would remember cookies, and look where a redirect leads before it was judged."""

    transport: JudgedTransport
    timeout: httpx2.Timeout

    @asynccontextmanager
    async def asked(self, url: str, wish: _Wish, *, tag: str | None = None) -> AsyncIterator[httpx2.Response]:
        headers = {
            "Accept": ", ".join(sorted(filter(None, wish.accepts or ()))) or "*/*",
            "Accept-Encoding": "gzip, identity",
            "User-Agent": _PRODUCT,
            **reminders(tag),
        }
        async with self._answered(self._request("GET", url, headers)) as answer:
            yield answer

    @asynccontextmanager
    async def told(self, url: str, body: bytes, headers: Mapping[str, str]) -> AsyncIterator[httpx2.Response]:
        asked = {"User-Agent": _PRODUCT, **headers, "Accept-Encoding": "identity"}
        async with self._answered(self._request("POST", url, asked, body)) as answer:
            yield answer

    def _request(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> httpx2.Request:
        extensions = {"timeout": self.timeout.as_dict()}
        return httpx2.Request(method, url, headers=headers, content=body, extensions=extensions)

    @asynccontextmanager
    async def _answered(self, request: httpx2.Request) -> AsyncIterator[httpx2.Response]:
        answer = await self.transport.handle_async_request(request)
        try:
            yield answer
        finally:
            await answer.aclose()


class OutboundWeb:
    """Keeps the port `Web` by these rules. It holds no connections, so there is nothing to close.

    `trust` says which certificates count; without it those that the machine trusts. `resolve` finds a name's addresses;
    without it the system does, in threads that nothing else waits for.
    """

    def __init__(self, rules: Rules, *, trust: ssl.SSLContext | None = None, resolve: Resolve | None = None) -> None:
        self._rules = rules
        self._trust = trust or ssl.create_default_context()
        self._resolve = resolve or Names().of(None)

    async def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> int:
        """Some of the answer is read, so that whoever sends it is not cut off, and dropped.

        Raises Invalid `address_refused`, Unavailable `web_unavailable`.
        """
        with _translated():
            async with self._way() as way, way.told(url, body, headers) as answer:
                await _drop(answer)
                return answer.status_code

    async def get(self, url: str, *, most: int, accepts: frozenset[str]) -> Fetched:
        """Raises Invalid `address_refused` or `answer_refused`, Unavailable `web_unavailable`."""
        with _translated():
            try:
                async with self._way() as way, way.asked(url, _Wish(most, accepts)) as answer:
                    media_type = _judged(answer, accepts)
                    return Fetched(media_type, await content_of(answer, most))
            except (TooLarge, Unsupported) as refusal:
                raise Invalid(refusal.detail, code="answer_refused") from refusal

    async def read(
        self,
        url: str,
        *,
        most: int,
        accepts: frozenset[str] | None = None,
        tag: str | None = None,
        follows: Follows | None = None,
    ) -> Reading:
        """Raises Invalid `address_refused`, `answer_refused`, `redirects_refused` or `page_denied`, Unsupported,
        TooLarge, Throttled `web_throttled`, Unavailable `web_unavailable`.
        """
        wish, seen = _Wish(most, accepts), [url]
        with _translated():
            async with self._way() as way:
                found = await _step(way, url, wish, tag=tag)
                while isinstance(found, Left):
                    if found.url in seen or len(seen) > _MOST_REDIRECTS:
                        raise Invalid("It sends one round in circles, or on and on.", code="redirects_refused")
                    if follows is not None and not await follows(found.url):
                        return found
                    seen.append(found.url)
                    found = await _step(way, found.url, wish, tag=None)
                return found

    @asynccontextmanager
    async def _way(self) -> AsyncIterator[_Way]:
        """One way out, for its time as a whole."""
        async with asyncio.timeout(self._rules.total):
            transport = JudgedTransport(self._rules, self._trust, resolve=self._resolve)
            async with transport:
                yield _Way(transport, httpx2.Timeout(self._rules.total, connect=self._rules.connect))


async def _step(way: _Way, url: str, wish: _Wish, *, tag: str | None) -> Reading:
    """One answer. `Left` is a redirect."""
    async with way.asked(url, wish, tag=tag) as answer:
        if answer.status_code == _UNCHANGED and reminders(tag):
            return Unchanged()
        if answer.status_code in _ABSENT:
            return Absent()
        if answer.status_code in _MOVED and (place := answer.headers.get("location")):
            return Left(str(httpx2.URL(url).join(place).copy_with(fragment=None)))
        if answer.status_code != _OK:
            raise refusal_of(answer)
        media_type, charset = media_of(answer, wish.accepts)
        content = await content_of(answer, wish.most)
        robots = tuple(answer.headers.get_list("x-robots-tag"))
        return Page(url, media_type, charset, content, packed_tag(answer), robots)


def _judged(answer: httpx2.Response, accepts: frozenset[str]) -> str:
    """Its media type."""
    if answer.status_code == _OK:
        return media_of(answer, accepts)[0]
    if answer.is_server_error:
        raise Unavailable(f"The other side answered {answer.status_code}.", code="web_unavailable")
    detail = f"The other side answered {answer.status_code}; only 200 is taken, and no redirect."
    raise Invalid(detail, code="answer_refused")


async def _drop(answer: httpx2.Response) -> None:
    """A status is an answer, however its body goes on or breaks off."""
    dropped = 0
    with suppress(httpx2.HTTPError, TimeoutError):
        async with asyncio.timeout(_DROPPING):
            async for piece in answer.aiter_raw():
                dropped += len(piece)
                if dropped > _MOST_DROPPED:
                    return


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except Refusal:
        raise
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        raise refused_address() from error
    except (httpx2.HTTPError, TimeoutError, OSError) as error:
        raise Unavailable("The other side does not answer, or breaks off.", code="web_unavailable") from error
