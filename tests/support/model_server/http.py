"""As much of HTTP/1.1 as providers' clients need, by hand: a fake must be able to break off at any byte."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, cast

JSON: Final = "application/json"
_END_OF_HEAD: Final = b"\r\n\r\n"


@dataclass(frozen=True)
class Request:
    """`headers` have lower-case names; `path` is as it came, still quoted, without a query."""

    method: str
    path: str
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        """The JSON in it; an empty object if there is none."""
        return json.loads(self.content) if self.content else {}


class Reply:
    """What goes back on one request: a whole body, or a head and then chunks."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    async def whole(self, status: int, content: bytes, media_type: str = JSON, **headers: str) -> None:
        length = {"Content-Length": str(len(content))}
        await self._connection.write(_head(status, {"Content-Type": media_type, **length, **headers}) + content)

    async def begin(self, media_type: str) -> None:
        head = _head(200, {"Content-Type": media_type, "Transfer-Encoding": "chunked", "Cache-Control": "no-cache"})
        await self._connection.write(head)

    async def chunk(self, content: bytes) -> None:
        if content:
            await self._connection.write(b"%x\r\n%s\r\n" % (len(content), content))

    async def end(self) -> None:
        await self._connection.write(b"0\r\n\r\n")

    async def cut(self) -> None:
        """The connection is gone in the middle of what was being said."""
        self._connection.close()


Answer = Callable[[Request, Reply], Awaitable[None]]


class Connection(asyncio.Protocol):
    """One client's connection: its requests in turn. A client that leaves cancels the answer under way."""

    def __init__(self, answer: Answer, everybody: set["Connection"]) -> None:
        self._answer = answer
        self._everybody = everybody
        self._buffer = bytearray()
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without saying so
        self._everybody.add(self)
        self._task = asyncio.create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._news.set()

    def connection_lost(self, _: Exception | None) -> None:
        self._everybody.discard(self)
        self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def write(self, content: bytes) -> None:
        self._transport.write(content)
        await self._writable.wait()

    def close(self) -> None:
        self._transport.close()

    async def _serve(self) -> None:
        try:
            while not self._transport.is_closing():
                await self._answer(await self._request(), Reply(self))
        finally:
            self._transport.close()

    async def _request(self) -> Request:
        while (end := self._buffer.find(_END_OF_HEAD)) < 0:
            await self._more()
        lines = self._take(end + len(_END_OF_HEAD)).decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        if headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return Request(method, target.partition("?")[0], headers, await self._content(headers))

    async def _content(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return await self._exactly(int(headers.get("content-length", "0")))
        whole = bytearray()
        while size := int(await self._line(), 16):
            whole += await self._exactly(size)
            await self._line()
        await self._line()
        return bytes(whole)

    async def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            await self._more()
        return self._take(end + 2)[:-2]

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        return self._take(size)

    async def _more(self) -> None:
        self._news.clear()
        await self._news.wait()

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Other"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + _END_OF_HEAD
