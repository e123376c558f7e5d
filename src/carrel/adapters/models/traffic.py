"""What leaves for a provider and what comes back, whichever library speaks.

The libraries read keys, addresses and headers from the environment, and would send them to whoever is called. So they
get a key that is none; here the true one is put in, everything that is not part of the protocol is taken out, and what
comes back is counted. Nothing is taken from the environment, no redirect is followed.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

import httpx
import httpx2

from carrel.domain.secret import Secret

NO_KEY: Final = "none"

_PASSED: Final = frozenset(
    {b"host", b"content-type", b"content-length", b"transfer-encoding", b"accept", b"user-agent", b"anthropic-version"}
)
_MOST: Final = 16 << 20  # bytes of an answer: 300 bytes around each of fifty thousand words


class ProviderTraffic(httpx2.AsyncBaseTransport):
    """Only the protocol's own headers and our key go out; an answer is not packed, and not longer than `most` bytes."""

    def __init__(
        self,
        inner: httpx2.AsyncBaseTransport,
        secret: Secret | None,
        *,
        header: str,
        scheme: str = "",
        most: int = _MOST,
    ) -> None:
        self._inner = inner
        self._secret = secret
        self._header = header.encode()
        self._scheme = scheme
        self._most = most

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises what the inner transport raises, and httpx2.DecodingError for an answer that is packed or too long."""
        headers = [(name, value) for name, value in request.headers.raw if name.lower() in _PASSED]
        headers.append((b"Accept-Encoding", b"identity"))
        if self._secret is not None:
            headers.append((self._header, (self._scheme + self._secret.reveal()).encode()))
        outgoing = httpx2.Request(
            request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
        )
        answer = await self._inner.handle_async_request(outgoing)
        if answer.headers.get("content-encoding", "identity").strip().lower() != "identity":
            await answer.aclose()
            raise httpx2.DecodingError("The answer is packed, which was not asked for.")
        assert isinstance(answer.stream, httpx2.AsyncByteStream)
        counted = _Counted(answer.stream, self._most)
        return httpx2.Response(answer.status_code, headers=answer.headers, stream=counted, extensions=answer.extensions)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Counted(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, most: int) -> None:
        self._inner = inner
        self._left = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._inner:
            self._left -= len(piece)
            if self._left < 0:
                raise httpx2.DecodingError("The answer is too long.")
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


class ForHttpx(httpx.AsyncBaseTransport):
    """The same way out for libraries that still use httpx, the predecessor."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        outgoing = httpx2.Request(
            request.method,
            str(request.url),
            headers=request.headers.raw,
            content=await request.aread(),
            extensions=dict(request.extensions),
        )
        with _as_httpx():
            answer = await self._inner.handle_async_request(outgoing)
        assert isinstance(answer.stream, httpx2.AsyncByteStream)
        return httpx.Response(
            answer.status_code,
            headers=answer.headers.raw,
            stream=_HttpxStream(answer.stream),
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


class _HttpxStream(httpx.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx():
            async for piece in self._inner:
                yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


@contextmanager
def _as_httpx() -> Iterator[None]:
    """Both have the same names for their errors."""
    try:
        yield
    except httpx2.TransportError as error:
        raise getattr(httpx, type(error).__name__, httpx.TransportError)(str(error)) from error
    except httpx2.DecodingError as error:
        raise httpx.DecodingError(str(error)) from error
