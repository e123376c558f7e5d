"""An origin that shows what a test tells it to, and breaks where it is told to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from carrel.domain.errors import Refusal
from carrel.domain.origins import Place
from carrel.ports.origins import Failed, Found, Gone, Known, Notice, Origin, Same, Sight

Meanwhile = Callable[[], Awaitable[None]]


@dataclass
class LyingPlace:
    """`things` are bytes by key, a refusal for what cannot be had; `breaks_after` so many sights, and then `breaks`.

    `news` are keys that an event names, `deaf` what the next looks are refused with. `meanwhile` runs before each sight
    is given, `while_reading` in the middle of each thing's bytes.
    """

    things: dict[str, bytes | Refusal] = field(default_factory=dict)
    breaks: BaseException | None = None
    breaks_after: int = 0
    meanwhile: Meanwhile | None = None
    while_reading: Meanwhile | None = None
    read: list[str] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    news: list[str | None] = field(default_factory=list)
    deaf: list[Refusal] = field(default_factory=list)

    async def demand(self, slug: str, place: Place) -> None:
        """Every place is allowed."""

    @asynccontextmanager
    async def opened(self, *_: object) -> AsyncIterator[Origin]:
        yield self

    async def walk(self, known: Known) -> AsyncIterator[Sight]:
        keys = list(self.things)
        for first in range(0, len(keys), 100):
            some = keys[first : first + 100]
            self.asked.append(len(some))
            tags = await known(some)
            for number, key in enumerate(some, first):
                if self.breaks is not None and number >= self.breaks_after:
                    raise self.breaks
                if self.meanwhile is not None:
                    await self.meanwhile()
                yield self._sight(key, tags.get(key))
        if self.breaks is not None:
            raise self.breaks

    async def look(self, key: str, known: Known) -> Sight:
        if self.deaf:
            raise self.deaf.pop()
        if key not in self.things:
            return Gone(key)
        return self._sight(key, (await known([key])).get(key))

    async def events(self) -> AsyncIterator[Notice]:
        """What is not settled is told again by whoever listens next."""
        for key in list(self.news):
            yield Notice(key, self._settled(key))
        await asyncio.Event().wait()

    @asynccontextmanager
    async def _settled(self, key: str | None) -> AsyncIterator[None]:
        yield
        self.news.remove(key)

    def _sight(self, key: str, tag: str | None) -> Sight:
        thing = self.things.get(key)
        if thing is None:
            return Gone(key)
        if isinstance(thing, Refusal):
            return Failed(key, thing)
        now = f"{len(thing)}-{hash(thing)}"
        return Same(key) if now == tag else Found(key, now, self._content(key, thing))

    async def _content(self, key: str, thing: bytes) -> AsyncIterator[bytes]:
        self.read.append(key)
        yield thing[:10]
        if self.while_reading is not None:
            await self.while_reading()
        yield thing[10:]


def texts(names: Iterable[str]) -> dict[str, bytes | Refusal]:
    return {name: f"# {name}\n\nThis is about {name}.".encode() for name in names}
