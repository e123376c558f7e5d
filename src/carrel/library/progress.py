"""Watching ingestion: what changes is told as it happens, to whoever may read the source.

One connection of the process hears which documents changed. A stream that is due looks at these, all at once and under
its reader's own grant, twice a second at most. What may have been missed is looked at anew, as at the beginning. No
transaction is open between two looks.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import structlog

from carrel.domain.access import Principal, TenantGrant, enter
from carrel.domain.errors import Throttled, Unavailable
from carrel.domain.ids import DocumentId, SourceId, TenantId
from carrel.domain.library import Progress
from carrel.domain.rights import Permission
from carrel.library.tally import Counts, Tally
from carrel.store import progress, sources
from carrel.store.transaction import Database

__all__ = ["Counts", "Progress", "Told", "Watch", "Watching"]

log = structlog.get_logger(__name__)

_MOST_WATCHERS: Final = 100  # of one tenant, in this process
_MOST_CHANGED: Final = 1_000  # documents between two looks; when there are more, everything is looked at anew
_MOST_SHOWN: Final = 500
_MOST_REMEMBERED: Final = 1_000
_REST: Final = 0.5  # seconds between two looks of one stream
_BREATH: Final = 1.0  # seconds after which a stream sees whether its reader may still see
_LOOK: Final = 4.0
_WAIT: Final = 5.0
_PATIENCE: Final = 2.0  # seconds to wait for the connection that hears

Asker: TypeAlias = Callable[[], Awaitable[Principal]]


Told: TypeAlias = Progress | Counts


@dataclass(frozen=True, slots=True)
class Watch:
    """What to watch: one source or all, for ever or until nothing is left to do. `leaving`: the server will stop."""

    source: SourceId | None = None
    until_settled: bool = False
    leaving: asyncio.Event = field(default_factory=asyncio.Event)


class _Watcher:
    """What one stream has not looked at yet; None is everything."""

    def __init__(self) -> None:
        self.changed: set[DocumentId] | None = None
        self.news = asyncio.Event()

    def hear(self, document: DocumentId | None) -> None:
        if document is None or (self.changed is not None and len(self.changed) >= _MOST_CHANGED):
            self.changed = None
        elif self.changed is not None:
            self.changed.add(document)
        self.news.set()

    def take(self) -> set[DocumentId] | None:
        taken, self.changed = self.changed, set()
        self.news.clear()
        return taken


class Watching:
    """All streams of this process; `run` listens for them while there are any."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tally = Tally(database)
        self._watchers: dict[TenantId, set[_Watcher]] = {}
        self._wanted = asyncio.Event()
        self._over = asyncio.Event()
        self._hearing = asyncio.Event()

    async def run(self) -> None:
        """For ever. Raises nothing: a database that is away is waited for."""
        while True:
            await self._wanted.wait()
            try:
                await self._listen()
            except Unavailable as problem:
                log.warning("progress.deaf", problem=problem.detail)
                await asyncio.sleep(_BREATH)

    async def follow(self, asker: Asker, watch: Watch) -> AsyncGenerator[Told]:
        """What is unfinished, the counts, and then what changes. `asker` says every few seconds who asks, or refuses.

        Raises Denied, NotFound for a source that is not there, Throttled when there are too many streams, Unavailable.
        """
        grant = _entered(await asker())
        await self._demand(grant, watch.source)
        with self._watching(grant.tenant) as watcher:
            await _first_of(self._hearing, seconds=_PATIENCE)  # what is heard before the first look is not missed
            if not self._hearing.is_set():
                self._tally.change(grant.tenant)  # it may have, and nobody heard
            view = _View(self._database, self._tally, watch)
            clock = asyncio.get_running_loop().time
            asked = clock()
            while not watch.leaving.is_set():
                if clock() - asked >= _LOOK:
                    grant, asked = _entered(await asker()), clock()
                for told in await view.look(grant, watcher):
                    yield told
                if watch.until_settled and view.is_settled:
                    return
                await asyncio.sleep(_REST)
                await _first_of(watcher.news, seconds=_BREATH - _REST)

    async def _demand(self, grant: TenantGrant, source: SourceId | None) -> None:
        if source is not None:
            async with self._database.transaction(grant) as tx:
                await sources.find(tx, source)

    @contextmanager
    def _watching(self, tenant: TenantId) -> Iterator[_Watcher]:
        watchers = self._watchers.setdefault(tenant, set())
        if len(watchers) >= _MOST_WATCHERS:
            raise Throttled("Too many streams of this organisation are open now.", wait=_WAIT)
        watcher = _Watcher()
        watchers.add(watcher)
        self._wanted.set()
        try:
            yield watcher
        finally:
            watchers.discard(watcher)
            if not watchers:
                self._watchers.pop(tenant, None)
                self._tally.forget(tenant)
            if not self._watchers:
                self._wanted.clear()
                self._over.set()

    async def _listen(self) -> None:
        """Until nobody watches any more. Raises Unavailable when the connection is lost."""
        over, is_lost = asyncio.Event(), False
        self._over = over
        if not self._watchers:
            return

        def lost(*_: object) -> None:
            nonlocal is_lost
            is_lost = True
            over.set()

        def heard(*said: object) -> None:
            tenant, document = progress.heard(str(said[-1]))
            if tenant in self._watchers:
                self._tally.change(tenant)
            for watcher in self._watchers.get(tenant, ()):
                watcher.hear(document)

        async with self._database.listening(progress.CHANNEL, heard, lost=lost):
            self._hear_all()
            self._hearing.set()
            try:
                await over.wait()
            finally:
                self._hearing.clear()
        if is_lost:
            raise Unavailable("The connection that listens was lost.")

    def _hear_all(self) -> None:
        """What happened before is told by nobody."""
        for tenant, watchers in self._watchers.items():
            self._tally.change(tenant)
            for watcher in watchers:
                watcher.hear(None)


class _View:
    """What a stream's reader has been told already, so that nothing is told twice."""

    def __init__(self, database: Database, tally: Tally, watch: Watch) -> None:
        self._database = database
        self._tally = tally
        self._watch = watch
        self._shown: dict[DocumentId, Progress] = {}
        self._counts: Counts | None = None
        self._is_stale = True

    @property
    def is_settled(self) -> bool:
        return not self._is_stale and self._counts is not None and self._counts.is_settled

    async def look(self, grant: TenantGrant, watcher: _Watcher) -> list[Told]:
        """What is new; nothing is asked where nothing was heard."""
        changed = watcher.take()
        self._is_stale = self._is_stale or changed is None or bool(changed)
        found = [] if changed is not None and not changed else await self._found(grant, changed)
        counts = await self._tally.of(grant, self._watch.source) if self._is_stale else None
        self._is_stale = self._is_stale and counts is None
        return [*self._news(found), *self._recounted(counts)]

    async def _found(self, grant: TenantGrant, changed: set[DocumentId] | None) -> list[Progress]:
        """In one short transaction."""
        async with self._database.transaction(grant) as tx:
            if changed is None:
                found = await progress.unfinished(tx, self._watch.source, most=_MOST_SHOWN)
                ended = self._shown.keys() - {one.document for one in found}
                return found + (await progress.changed(tx, self._watch.source, ended) if ended else [])
            return await progress.changed(tx, self._watch.source, changed)

    def _news(self, found: list[Progress]) -> Iterator[Told]:
        for one in found:
            if self._shown.get(one.document) == one:
                continue
            if one.stage is None:
                self._shown.pop(one.document, None)
            else:
                self._shown[one.document] = one
                if len(self._shown) > _MOST_REMEMBERED:  # then one may be told twice
                    del self._shown[next(iter(self._shown))]
            yield one

    def _recounted(self, counts: Counts | None) -> Iterator[Told]:
        if counts is not None and counts != self._counts:
            self._counts = counts
            yield counts


def _entered(principal: Principal) -> TenantGrant:
    return enter(principal, Permission.METADATA)


async def _first_of(news: asyncio.Event, *, seconds: float) -> None:
    """Until it is set, or the time is over."""
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        return
