"""A web site on loopback, under names that only the test's resolver knows; its pages behave as they are told."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from carrel.adapters.origins.manners import Manners
from carrel.adapters.origins.site import WebSite
from carrel.adapters.web import Allowed, OutboundWeb, Rules
from carrel.domain.origins import Site
from carrel.ports.origins import Failed, Found, Gone, Same, Sight

HTML = {"Content-Type": "text/html; charset=utf-8"}
NAME = "docs.example.org"


@dataclass(frozen=True)
class Request:
    host: str
    path: str
    headers: Mapping[str, str]


@dataclass
class Reply:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: dict(HTML))


Behaviour = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class LoopbackSite:
    """`pages` by path, or by host and path for other names; what is not there is a 404, robots.txt too."""

    port: int = 0
    pages: dict[str, Reply | Behaviour] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    def at(self, path: str, name: str = NAME) -> str:
        return f"http://{name}:{self.port}{path}"

    def put(self, path: str, body: str | bytes, **headers: str) -> None:
        """A page; `last_modified=…` becomes `Last-Modified`."""
        named = {name.replace("_", "-").title(): value for name, value in headers.items()}
        self.pages[path] = Reply(body.encode() if isinstance(body, str) else body, headers={**HTML, **named})

    def link(self, path: str, *others: str) -> None:
        """A page that only links to others."""
        self.put(path, f"<p>Page {path}.</p>" + "".join(f'<a href="{other}">x</a>' for other in others))

    def moved(self, path: str, place: str, status: int = 302) -> None:
        self.pages[path] = Reply(b"", status, {"Location": place})

    @property
    def asked(self) -> Counter[str]:
        return Counter(request.path for request in self.requests)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                request = _read((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
                self.requests.append(request)
                await self._answer(request, writer)
                await writer.drain()
        finally:
            self.at_once -= 1
            writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        page = self.pages.get(request.host.partition(":")[0] + request.path) or self.pages.get(request.path)
        if callable(page):
            await page(request, writer)
        else:
            write(request, writer, page or Reply(b"", 404))


def _read(head: str) -> Request:
    first, *lines = head.strip().split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Request(headers.get("host", ""), first.split(" ")[1], headers)


def write(request: Request, writer: asyncio.StreamWriter, reply: Reply) -> None:
    """With an ETag or a Last-Modified that the request knows already it is a 304."""
    etag, date = reply.headers.get("Etag"), reply.headers.get("Last-Modified")
    same = (etag and request.headers.get("if-none-match") == etag) or (
        not etag and date and request.headers.get("if-modified-since") == date
    )
    status, body = (304, b"") if same else (reply.status, reply.body)
    headers = {"Content-Length": str(len(body)), "Connection": "close", **reply.headers}
    lines = [f"HTTP/1.1 {status} x", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)


async def stall(request: Request, writer: asyncio.StreamWriter) -> None:
    """Headers, and then nothing."""
    writer.write(b"HTTP/1.1 200 x\r\nContent-Type: text/html\r\nContent-Length: 100\r\n\r\n<p>")
    await writer.drain()
    await asyncio.sleep(60)


async def flood(request: Request, writer: asyncio.StreamWriter) -> None:
    """Text without an end."""
    writer.write(b"HTTP/1.1 200 x\r\nContent-Type: text/html\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"<p>more</p>" * 10_000)
        await writer.drain()


async def drip(request: Request, writer: asyncio.StreamWriter) -> None:
    """A byte now and then: each in time, and no end of them."""
    writer.write(b"HTTP/1.1 200 x\r\nContent-Type: text/html\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


def raw(content: bytes) -> Behaviour:
    """Exactly these bytes, and the end of the connection."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(content)

    return answer


@asynccontextmanager
async def a_site(address: str = "127.0.0.1") -> AsyncIterator[LoopbackSite]:
    site = LoopbackSite()
    server = await asyncio.start_server(site.serve, address, 0)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()


@dataclass
class Names:
    """A resolver: what a name leads to, the last answer for good. Names that it does not know do not exist."""

    answers: dict[str, list[list[str]]] = field(default_factory=lambda: {NAME: [["127.0.0.1"]]})
    asked: Counter[str] = field(default_factory=Counter)

    async def __call__(self, host: str, port: int) -> list[IPv4Address | IPv6Address]:  # noqa: ARG002 - as resolvers are asked
        self.asked[host] += 1
        try:
            return [ip_address(host.strip("[]"))]
        except ValueError:
            answers = self.answers.get(host.rstrip("."), [[]])
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [ip_address(one) for one in found]


@cache
def the_trust() -> ssl.SSLContext:
    """The machine's: reading it takes a while."""
    return ssl.create_default_context()


@dataclass
class Pauses:
    """A clock that only waiting moves."""

    now: float = 0.0
    waited: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now += seconds


def a_web(
    site: LoopbackSite, *, names: Names | None = None, allowed: str = "127.0.0.0/8", seconds: float = 5.0
) -> OutboundWeb:
    rules = Rules(Allowed.read(allowed), frozenset({80, 443, site.port}), total=seconds)
    return OutboundWeb(rules, trust=the_trust(), resolve=names or Names())


def an_origin(
    site: LoopbackSite,
    *starts: str,
    web: OutboundWeb | None = None,
    manners: Manners | None = None,
    sitemap: bool = False,
    depth: int = 0,
    pages: int = 100,
) -> WebSite:
    urls = tuple(start if "://" in start else site.at(start) for start in starts)
    place = Site(urls, sitemap=sitemap, depth=depth, pages=pages)
    return WebSite(place, web or a_web(site), manners or Manners(0.0))


@dataclass
class Memory:
    """Known tags, as a source would keep them."""

    tags: dict[str, str] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str | None] = field(default_factory=dict)

    async def __call__(self, keys: Sequence[str]) -> Mapping[str, str]:
        return {key: self.tags[key] for key in keys if key in self.tags}

    async def take(self, sight: Sight) -> str:
        """What happened, as in `found http://…`."""
        match sight:
            case Found(key, tag, content, media_type):
                self.contents[key] = b"".join([piece async for piece in content])
                self.types[key] = media_type
                if tag is not None:
                    self.tags[key] = tag
                return f"found {key}"
            case Same(key):
                return f"same {key}"
            case Failed(key, refusal):
                return f"{refusal.code} {key}"
            case Gone(key):
                self.tags.pop(key, None)
                return f"gone {key}"


async def walked(origin: WebSite, memory: Memory, site: LoopbackSite) -> list[str]:
    """What a walk tells, with paths instead of whole addresses where they are of the site."""
    root = site.at("")
    return [(await memory.take(sight)).replace(root, "") async for sight in origin.walk(memory)]
