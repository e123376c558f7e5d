"""Files brought over HTTP as a client brings them, a hundred in a request, and waited for."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2

from bench.load import Room, furnish
from bench.stand import a_stand
from bench.texts import Text

_MOST: Final = 100  # files in a request
_LOOK: Final = 0.2  # seconds: looking costs the server a few milliseconds each time
_PATIENCE: Final = 300.0


class IngestError(Exception):
    """Something was not taken, or not read; the sentence says what."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """A room's source, over HTTP."""

    client: httpx2.AsyncClient
    room: Room

    async def bring(self, texts: Sequence[Text], *, outcome: str) -> None:
        """Raises IngestError for any other outcome."""
        for batch in _batches(texts):
            files = [("files", (text.key, text.content, "application/octet-stream")) for text in batch]
            answer = await self._asked("POST", f"/v1/sources/{self.room.source}/documents", files=files)
            others = [result for result in answer["results"] if result["outcome"] != outcome]
            if others:
                raise IngestError(f"Expected {outcome}, got {others[0]}.")

    async def put(self, text: Text) -> float:
        """Seconds from the first byte sent until it is ready. Raises IngestError."""
        path, began = f"/v1/sources/{self.room.source}/documents/{text.key}", time.perf_counter()
        answer = await self._asked("PUT", path, params={"wait": "true"}, content=text.content)
        took = time.perf_counter() - began
        if answer["document"]["status"] != "ready":
            raise IngestError(f"Expected ready, got {answer}.")
        return took

    async def pause(self) -> None:
        """Once nothing of the source is in hand any more; what waits will wait until it is resumed."""
        await self._asked("POST", f"/v1/sources/{self.room.source}/pause")
        while (await self.counts())["processing"]:  # noqa: ASYNC110 - another process knows it
            await asyncio.sleep(_LOOK)

    async def resume(self) -> None:
        await self._asked("POST", f"/v1/sources/{self.room.source}/resume")

    async def settled(self) -> None:
        """Once every document is ready. Raises IngestError when one failed."""
        while (counts := await self.counts())["pending"] or counts["processing"]:  # noqa: ASYNC110 - another process knows it
            await asyncio.sleep(_LOOK)
        if counts["failed"]:
            raise IngestError(f"{counts['failed']} documents failed.")

    async def counts(self) -> dict[str, int]:
        """Documents by status."""
        (source,) = (await self._asked("GET", "/v1/sources"))["items"]
        counts: dict[str, int] = source["documents"]
        return counts

    async def chunks(self) -> int:
        """Of all documents together."""
        total = 0
        cursor: str | None = ""
        while cursor is not None:
            page = await self._asked("GET", "/v1/documents", params={"limit": 200, **_following(cursor)})
            total, cursor = total + sum(int(item["chunks"]) for item in page["items"]), page["next_cursor"]
        return total

    async def _asked(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        answer = await self.client.request(method, path, **more)
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        return body


@asynccontextmanager
async def a_shelf(url: str, room: Room) -> AsyncIterator[Shelf]:
    headers = {"Authorization": f"Bearer {room.key}"}
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=_PATIENCE) as client:
        yield Shelf(client, room)


async def rooms(home: Path, *, tenants: int) -> list[Room]:
    """Empty tenants in a home that nobody serves yet."""
    async with a_stand(home) as stand:
        return await furnish(stand.app, stand.parts.base.database, stand.parts.embedder.profile, tenants=tenants)


def _following(cursor: str) -> dict[str, str]:
    return {"cursor": cursor} if cursor else {}


def _batches(texts: Sequence[Text]) -> Iterator[Sequence[Text]]:
    for first in range(0, len(texts), _MOST):
        yield texts[first : first + _MOST]
