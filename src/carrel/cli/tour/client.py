"""Carrel over HTTP, as any client sees it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Self

import httpx2

from carrel.cli.files import File
from carrel.cli.tour.corpus import MEDIA_TYPES
from carrel.domain.errors import Refusal

_LOOK: Final = 0.1
_PATIENCE: Final = 180.0
_SETTLED: Final = frozenset({"ready", "failed"})


class TourError(Refusal):
    """A door did not do what the tour came to show."""

    default_code = "tour_failed"


class Client:
    """One credential's view of one server."""

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx2.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def make_or_find(self, path: str, wish: dict[str, str], *, by: str) -> dict[str, Any]:
        """A tenant or a source; one that is there already is found by the field `by`."""
        answer = await self._http.post(path, json=wish)
        if answer.status_code != httpx2.codes.CONFLICT:
            return _body(answer, 201)
        return [item async for item in self._all(path) if item[by] == wish[by]][0]  # noqa: RUF015 - it is asynchronous

    async def upload(self, source: str, documents: Sequence[File]) -> list[dict[str, Any]]:
        """One request with all files; what became of each, in their order."""
        parts = [("files", (one.key, one.path.read_bytes(), MEDIA_TYPES[one.path.suffix])) for one in documents]
        answer = await self._http.post(f"/v1/sources/{source}/documents", files=parts)
        results: list[dict[str, Any]] = _body(answer, 202)["results"]
        return results

    async def settled(self, documents: Sequence[str]) -> AsyncIterator[dict[str, Any]]:
        """Each document as soon as it is ready or failed. Raises TourError when that takes too long."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        for document in documents:
            seen = await self.document(document)
            while seen["status"] not in _SETTLED:
                if asyncio.get_running_loop().time() > deadline:
                    raise TourError(f"{seen['key']} was not ready after {_PATIENCE:.0f} seconds.")
                await asyncio.sleep(_LOOK)
                seen = await self.document(document)
            yield seen

    async def document(self, document: str) -> dict[str, Any]:
        return _body(await self._http.get(f"/v1/documents/{document}"), 200)

    async def knock(self, document: str) -> tuple[int, str]:
        """Status and body of a look at a document that may be somebody else's."""
        answer = await self._http.get(f"/v1/documents/{document}")
        return answer.status_code, answer.text

    async def ask(self, message: str) -> dict[str, Any]:
        return _body(await self._http.post("/v1/chat", json={"message": message}), 200)

    async def _all(self, path: str) -> AsyncIterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            params = {"limit": "200"} | ({"cursor": cursor} if cursor else {})
            page = _body(await self._http.get(path, params=params), 200)
            for item in page["items"]:
                yield item
            cursor = page["next_cursor"]
            if cursor is None:
                return


def _body(answer: httpx2.Response, expected: int) -> dict[str, Any]:
    if answer.status_code != expected:
        request = answer.request
        raise TourError(f"{request.method} {request.url.path} answered {answer.status_code}: {answer.text[:300]}")
    body: dict[str, Any] = answer.json()
    return body
