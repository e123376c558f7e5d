"""A real receiver of webhooks on loopback: it verifies what it is told, and answers as a test wants, also badly."""

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any


@dataclass(frozen=True)
class Told:
    """A request as it came, and which of the known secrets had signed it."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    signed_with: tuple[str, ...]

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def payload(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


@dataclass
class Receiver:
    """`status` is its answer, or the next of `statuses`; `secrets` are those that it knows.

    `stalls`: it says nothing. `floods`: its body has no end. `drips`: its head comes byte by byte.
    """

    port: int = 0
    secrets: list[str] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    status: int = 204
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    stalls: bool = False
    floods: bool = False
    drips: bool = False
    wait: float = 0.0
    open: int = 0
    most_open: int = 0
    _heard: asyncio.Event = field(default_factory=asyncio.Event)
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _closed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def heard(self, count: int = 1, *, seconds: float = 30.0) -> list[Told]:
        """What it was told, once that is so much."""
        async with asyncio.timeout(seconds):
            while len(self.told) < count:
                self._heard.clear()
                await self._heard.wait()
        return self.told

    async def close(self) -> None:
        """Whoever still waits for an answer gets none."""
        self._over.set()
        while self.open:
            self._closed.clear()
            await self._closed.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._take(reader)
                await self._answer(writer)
        finally:
            writer.close()
            self.open -= 1
            self._closed.set()

    async def _take(self, reader: asyncio.StreamReader) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.told.append(Told(head[0].split(" ")[1], headers, body, self._signers(headers, body)))
        self._heard.set()

    def _signers(self, headers: Mapping[str, str], body: bytes) -> tuple[str, ...]:
        moment = headers.get("webhook-timestamp", "")
        signed = f"{headers.get('webhook-id')}.{moment}.".encode() + body
        given = headers.get("webhook-signature", "").split(" ")
        return tuple(secret for secret in self.secrets if _signature(secret, signed) in given)

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        if self.stalls:
            await self._over.wait()
            return
        await asyncio.sleep(self.wait)
        status = self.statuses.pop(0) if self.statuses else self.status
        lines = [f"HTTP/1.1 {status} Said", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if not self.floods:
            lines.append("Content-Length: 0")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode()
        if self.drips:
            for byte in head:
                writer.write(bytes([byte]))
                await writer.drain()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._over.wait(), 1)
        writer.write(head)
        await writer.drain()
        while self.floods and not self._over.is_set():
            writer.write(bytes(64 * 1024))
            await writer.drain()


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.digest(key, signed, sha256)).decode()


@asynccontextmanager
async def a_receiver(**manners: Any) -> AsyncIterator[Receiver]:
    receiver = Receiver(**manners)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await receiver.close()
