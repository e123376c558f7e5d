"""Users of many tenants at once, and a ledger of what they were told is kept.

Each user has a calendar of its own, drawn by chance: what comes late because the former request took long counts from
the time at which it was due. Keys belong to one user, so what a key must hold follows from that user's answers alone.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from bench.load import Room

_PAUSE: Final = 3.0  # seconds between two requests of a user, on average
_KEYS: Final = 12  # documents that a user has at most
_PATIENCE: Final = 60.0
_WISHES: Final = {"search": 45, "chat": 10, "list": 20, "put": 20, "delete": 5}
_PAGE: Final = 200


@dataclass(slots=True)
class Slot:
    """What a key may hold: one content if we were told, several if a request ended without an answer; None is none."""

    document: str = ""
    held: set[bytes | None] = field(default_factory=lambda: {None})


@dataclass(slots=True)
class Tally:
    """`latencies` in milliseconds by wish; `errors` by wish and reason; `refused` by the clock of `time.monotonic`."""

    latencies: dict[str, list[float]] = field(default_factory=lambda: {wish: [] for wish in _WISHES})
    errors: Counter[str] = field(default_factory=Counter)
    refused: list[float] = field(default_factory=list)
    answered_at: list[float] = field(default_factory=list)
    writes: int = 0

    @property
    def all(self) -> list[float]:
        return [latency for found in self.latencies.values() for latency in found]


class UnexpectedError(Exception):
    """An answer that is none: its status and code."""


class User:
    """One person of one tenant with a connection of its own."""

    def __init__(self, number: int, room: Room, client: httpx2.AsyncClient, *, questions: Sequence[str]) -> None:
        self.room = room
        self._name = f"user-{number}"
        self._client = client
        self._headers = {"Authorization": f"Bearer {room.key}"}
        self._questions = questions
        self._chance = random.Random(number)  # noqa: S311 - repeatable
        self.slots: dict[str, Slot] = {}
        self._chat: str | None = None
        self._written = 0

    async def live(self, end: float, tally: Tally) -> None:
        """Until the moment `end`."""
        due = time.monotonic() + self._chance.uniform(0, _PAUSE)
        while due < end:
            await asyncio.sleep(due - time.monotonic())
            wish = self._chance.choices([*_WISHES], [*_WISHES.values()])[0]
            await self._noted(wish, due, tally)
            due += self._chance.expovariate(1 / _PAUSE)

    async def _noted(self, wish: str, due: float, tally: Tally) -> None:
        deeds: dict[str, Callable[[Tally], Awaitable[None]]] = {
            "search": self._search,
            "chat": self._ask,
            "list": self._list,
            "put": self._put,
            "delete": self._delete,
        }
        try:
            await deeds[wish](tally)
        except httpx2.ConnectError:
            tally.refused.append(time.monotonic())
        except (httpx2.HTTPError, UnexpectedError) as error:
            tally.errors[f"{wish}: {type(error).__name__} {error}".strip()] += 1
        else:
            tally.answered_at.append(time.monotonic())
            tally.latencies[wish].append((time.monotonic() - due) * 1000)

    async def _search(self, _: Tally) -> None:
        await self.asked("POST", "/v1/search", json={"query": self._question()})

    async def _ask(self, _: Tally) -> None:
        """Half of the time the last chat goes on, which must be there still."""
        known = {"chat_id": self._chat} if self._chat and self._chance.random() < 0.5 else {}  # noqa: PLR2004 - half
        answer = await self.asked("POST", "/v1/chat", json={"message": self._question(), **known})
        self._chat = answer.json()["chat_id"]

    async def _list(self, _: Tally) -> None:
        await self.asked("GET", "/v1/documents", params={"source_id": str(self.room.source), "limit": 50})

    async def _put(self, tally: Tally) -> None:
        key = f"{self._name}/{self._chance.randrange(_KEYS)}.md"
        self._written += 1
        content = f"# Note {self._written} of {self._name}\n\n{' '.join(self._question() for _ in range(6))}\n".encode()
        slot = self.slots.setdefault(key, Slot())
        answer = await self._write(slot, content, "PUT", f"/v1/sources/{self.room.source}/documents/{key}")
        slot.document = answer.json()["document_id"]
        tally.writes += 1

    async def _delete(self, tally: Tally) -> None:
        kept = [slot for slot in self.slots.values() if slot.held and None not in slot.held and slot.document]
        if kept:
            slot = self._chance.choice(kept)
            await self._write(slot, None, "DELETE", f"/v1/documents/{slot.document}")
            tally.writes += 1

    async def _write(self, slot: Slot, content: bytes | None, method: str, path: str) -> httpx2.Response:
        """Acknowledged, the slot holds just this; without an answer it may hold it or not."""
        before = set(slot.held)
        slot.held.add(content)
        try:
            answer = await self.asked(method, path, content=content)
        except httpx2.ConnectError:
            slot.held = before
            raise
        slot.held = {content}
        return answer

    async def asked(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """Raises UnexpectedError for any status but 2xx, and what the client raises."""
        answer = await self._client.request(method, path, headers=self._headers, **more)
        if not answer.is_success:
            raise UnexpectedError(f"{answer.status_code} {answer.text[:200]}")
        return answer

    def _question(self) -> str:
        return self._chance.choice(self._questions)


async def users(
    stack: AsyncExitStack, url: str, rooms: Sequence[Room], questions: Sequence[str], *, most: int
) -> list[User]:
    """So many, spread over the rooms."""
    made = []
    for number in range(most):
        client = await stack.enter_async_context(httpx2.AsyncClient(base_url=url, timeout=_PATIENCE))
        made.append(User(number, rooms[number % len(rooms)], client, questions=questions))
    return made


@dataclass(frozen=True, slots=True)
class Audit:
    """Of `checked` keys, `lost` do not hold what was acknowledged; `unread` are kept and never became ready."""

    checked: int
    lost: tuple[str, ...]
    unread: int


async def audit(everybody: Sequence[User]) -> Audit:
    """What each key holds, after the last of the documents is read."""
    lost, unread, checked = [], 0, 0
    for user in everybody:
        documents = {item["key"]: item for item in await _listed(user)}
        for key, slot in user.slots.items():
            document, checked = documents.get(key), checked + 1
            held = (
                None
                if document is None
                else (await user.asked("GET", f"/v1/documents/{document['id']}/content")).content
            )
            lost += [] if held in slot.held else [key]
            unread += document is not None and document["status"] != "ready"
    return Audit(checked, tuple(lost), unread)


async def _listed(user: User) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        params = {"source_id": str(user.room.source), "limit": _PAGE, **({"cursor": cursor} if cursor else {})}
        page = (await user.asked("GET", "/v1/documents", params=params)).json()
        items, cursor = items + page["items"], page["next_cursor"]
    return items
