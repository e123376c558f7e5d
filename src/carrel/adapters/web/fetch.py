"""Fetching over HTTP: the name is resolved once, judged, and connected to by the judged address.

The certificate is checked for the name, and `Host` names it too. No proxy and no credential is taken from the
environment, no redirect is followed, no connection is kept: one that was opened for a name is used for that name alone.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

import httpx2

from carrel.adapters.web.addresses import Address, Allowed, Judge
from carrel.domain.errors import Invalid, Refusal, Unavailable
from carrel.ports.web import Fetched

_PORTS: Final = {"http": 80, "https": 443}
_OK: Final = 200
_ENCODINGS: Final = frozenset({"identity", "gzip"})  # packed twice, one piece could become a million times as long


@dataclass(frozen=True, slots=True)
class Rules:
    """`ports` are open whatever the host is; times are seconds."""

    allowed: Allowed = field(default_factory=Allowed)
    ports: frozenset[int] = frozenset({80, 443})
    connect: float = 10.0
    total: float = 30.0


class JudgedTransport(httpx2.AsyncBaseTransport):
    """For any client that takes a transport: it connects to judged addresses only, whoever asks.

    `kept` connections wait for a next request: only for a client of one address, since they were opened for its name.
    """

    def __init__(self, rules: Rules, trust: ssl.SSLContext, *, kept: int = 0) -> None:
        self._judge = Judge(rules.allowed)
        self._ports = rules.ports
        self._inner = httpx2.AsyncHTTPTransport(
            verify=trust, trust_env=False, limits=httpx2.Limits(max_keepalive_connections=kept)
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises Invalid `address_refused`, and what httpx2 raises."""
        host, port = _destination(request.url, self._ports)
        addresses = await _resolved(host, port)
        if self._judge.refuses(host, addresses):
            raise _refused("It leads to an address that is not public, and that the operator has not allowed.")
        return await self._connected(request, addresses)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _connected(self, request: httpx2.Request, addresses: list[Address]) -> httpx2.Response:
        """By the first address that takes a connection."""
        name = request.url.host
        for last, address in enumerate(addresses, 1 - len(addresses)):
            extensions = dict(request.extensions)
            if name != str(address):
                extensions["sni_hostname"] = name
            judged = httpx2.Request(
                request.method,
                request.url.copy_with(host=str(address)),
                headers=request.headers,  # `Host` stands in them already
                stream=request.stream,
                extensions=extensions,
            )
            try:
                return await self._inner.handle_async_request(judged)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                if last == 0:
                    raise
        raise httpx2.ConnectError("The name has no address.")


class OutboundWeb:
    """Keeps the port `Web` by these rules. It holds no connections, so there is nothing to close.

    `trust` says which certificates count; without it those that the machine trusts.
    """

    def __init__(self, rules: Rules, *, trust: ssl.SSLContext | None = None) -> None:
        self._rules = rules
        self._trust = trust or ssl.create_default_context()

    async def get(self, url: str, *, most: int, accepts: frozenset[str]) -> Fetched:
        """Raises Invalid `address_refused` or `answer_refused`, Unavailable `web_unavailable`."""
        with _translated():
            async with asyncio.timeout(self._rules.total), self._client() as client:
                headers = {"Accept": ", ".join(sorted(accepts)), "Accept-Encoding": "gzip, identity"}
                async with client.stream("GET", url, headers=headers) as answer:
                    media_type = _judged(answer, accepts)
                    return Fetched(media_type, await _content(answer, most))

    def _client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=JudgedTransport(self._rules, self._trust),
            timeout=httpx2.Timeout(self._rules.total, connect=self._rules.connect),
            follow_redirects=False,
            trust_env=False,
        )


def _destination(url: httpx2.URL, ports: frozenset[int]) -> tuple[str, int]:
    if url.scheme not in _PORTS or not url.host:
        raise _refused("Only http and https addresses are fetched.")
    if url.userinfo:
        raise _refused("An address names no user and no password.")
    port = url.port or _PORTS[url.scheme]
    if port not in ports:
        raise _refused(f"Port {port} is not open for this.")
    return url.raw_host.decode("ascii"), port


async def _resolved(host: str, port: int) -> list[Address]:
    """All that the name leads to, in the system's order, none twice."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unavailable(f"The name {host[:100]!r} cannot be resolved.", code="web_unavailable") from error
    return list(dict.fromkeys(ip_address(place[0]) for *_, place in found))


def _judged(answer: httpx2.Response, accepts: frozenset[str]) -> str:
    """Its media type."""
    if answer.status_code != _OK:
        if answer.is_server_error:
            raise Unavailable(f"The other side answered {answer.status_code}.", code="web_unavailable")
        raise _unwanted(f"The other side answered {answer.status_code}; only 200 is taken, and no redirect.")
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in accepts:
        raise _unwanted(f"The other side sent {media_type[:60]!r}; wanted is {' or '.join(sorted(accepts))}.")
    if answer.headers.get("content-encoding", "identity").strip().lower() not in _ENCODINGS:
        raise _unwanted("The other side packed its answer in another way than asked for.")
    return media_type


async def _content(answer: httpx2.Response, most: int) -> bytes:
    """Counted after decoding, piece by piece: what is declared is a hint."""
    content = bytearray()
    async for piece in answer.aiter_bytes():
        content += piece
        if len(content) > most:
            raise _unwanted(f"The answer has more than {most:,} bytes.")
    return bytes(content)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except Refusal:
        raise
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        raise _refused("This is no address.") from error
    except httpx2.DecodingError as error:
        raise _unwanted("The answer cannot be decoded.") from error
    except (httpx2.HTTPError, TimeoutError, OSError) as error:
        raise Unavailable("The other side does not answer.", code="web_unavailable") from error


def _refused(detail: str) -> Invalid:
    return Invalid(detail, code="address_refused")


def _unwanted(detail: str) -> Invalid:
    return Invalid(detail, code="answer_refused")
