"""The way to a machine: the name is resolved once, judged, and connected to by the judged address.

The certificate is checked for the name, and `Host` names it too. No proxy and no credential is taken from the
environment, and no connection is kept: one that was opened for a name is used for that name alone.
"""

import socket
import ssl
from dataclasses import dataclass, field
from typing import Final

import httpx2

from carrel.adapters.web.addresses import Address, Allowed, Judge, is_local_name
from carrel.adapters.web.names import Names, Resolve
from carrel.domain.errors import Invalid, Unavailable

PORTS: Final = {"http": 80, "https": 443}
_NOBODY: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


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
    `resolve` finds a name's addresses; without it that is done in threads of this transport's own.
    """

    def __init__(self, rules: Rules, trust: ssl.SSLContext, *, kept: int = 0, resolve: Resolve | None = None) -> None:
        self._judge = Judge(rules.allowed)
        self._ports = rules.ports
        self._resolve = resolve or Names().of(None)
        self._inner = httpx2.AsyncHTTPTransport(
            verify=trust, trust_env=False, limits=httpx2.Limits(max_keepalive_connections=kept)
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises Invalid `address_refused`, Unavailable `web_unavailable`, and what httpx2 raises."""
        host, port = _destination(request.url, self._ports)
        addresses = await self._addresses(host, port)
        if self._judge.refuses(host, addresses):
            raise refused_address()
        return await self._connected(request, addresses)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _addresses(self, host: str, port: int) -> list[Address]:
        """A name that nobody has, or that only this network could have, is refused as an internal one is.

        Otherwise the refusals would tell which names exist inside.
        """
        try:
            return await self._resolve(host, port)
        except UnicodeError as error:
            raise refused_address() from error
        except OSError as error:
            if is_local_name(host) or error.errno in _NOBODY:
                raise refused_address() from error
            raise Unavailable(f"The name {host[:100]!r} cannot be resolved now.", code="web_unavailable") from error

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


def refused_address() -> Invalid:
    """One answer for all that is not fetched from: another would tell what stands inside the operator's network."""
    return Invalid(
        "Carrel does not fetch from this address: it fetches over http and https, at ports that are open for it, from"
        " public machines and those that the operator has allowed.",
        code="address_refused",
    )


def _destination(url: httpx2.URL, ports: frozenset[int]) -> tuple[str, int]:
    if url.scheme not in PORTS or not url.host or url.userinfo:
        raise refused_address()
    port = url.port or PORTS[url.scheme]
    if port not in ports:
        raise refused_address()
    return url.raw_host.decode("ascii"), port
