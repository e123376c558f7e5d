"""Upload: bytes stream to the blob store, hashed and counted; the document and its job commit together."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeAlias

from carrel.domain.access import Principal, enter
from carrel.domain.errors import Conflict, Invalid, Throttled, Unavailable
from carrel.domain.ids import SourceId, document_id
from carrel.domain.keys import document_key
from carrel.domain.library import Blob, Document, DocumentStatus, Outcome, Source
from carrel.domain.quotas import NO_QUOTAS, Quotas, Resource
from carrel.domain.rights import Permission
from carrel.ingest.commit import Commits, Delivery, Report
from carrel.ingest.dock import Dock
from carrel.ingest.presence import Presence
from carrel.ports.blobs import Blobs
from carrel.store import documents, idempotency, sources, versions
from carrel.store import quotas as counters
from carrel.store.idempotency import Memo
from carrel.store.quotas import Wanted
from carrel.store.transaction import Database, Transaction
from carrel.store.versions import Arrival

__all__ = ["MOST_BYTES", "SMALL", "Arrival", "Brought", "Delivery", "Dock", "Held", "JudgeType", "Uploads"]

JudgeType = Callable[[str, str | None, bytes], str]

MOST_BYTES: Final = 50 * 1024 * 1024
SMALL: Final = 1024 * 1024
_HEAD: Final = 4096
_TOGETHER: Final = 20  # documents that one transaction makes: others of the tenant wait for it
_STEP: Final = 4 * SMALL  # bytes of room that are made at once for a sender that does not say how much will come
_FIRST_LOOK: Final = 0.01
_SLOWEST_LOOK: Final = 0.25


@dataclass(frozen=True, slots=True)
class Held:
    """A small file in memory, judged. It is written to the disk only if its document does not have these bytes."""

    key: str
    content: bytes
    sha256: bytes
    media_type: str


Brought: TypeAlias = Arrival | Held | Delivery


@dataclass(frozen=True, slots=True)
class _Batch:
    """What the files of one request have in common: what is staged, what is unchanged, and their event."""

    waiting: list[Arrival]
    known: Mapping[str, Delivery]
    report: Report


class Uploads:
    """`judge_type(key, declared media type, first bytes)` gives the media type or raises Unsupported.

    `quotas` are those of tenants that have none of their own.
    """

    def __init__(self, database: Database, blobs: Blobs, *, judge_type: JudgeType, quotas: Quotas = NO_QUOTAS) -> None:
        self._database = database
        self._quotas = quotas
        self._blobs = blobs
        self._judge_type = judge_type
        self._presence = Presence(database, blobs)
        self._commits = Commits(database, blobs, presence=self._presence, quotas=quotas)

    async def dock(self, principal: Principal, source: SourceId) -> Dock:
        """Before any byte is read; what comes is judged by the quota when it is committed.

        Raises Denied, NotFound, Conflict `source_refreshes`.
        """
        grant = enter(principal, Permission.INGEST)
        async with self._database.transaction(grant) as tx:
            return Dock(grant, _open(await sources.find(tx, source)), principal.person)

    @asynccontextmanager
    async def docked(
        self, principal: Principal, source: SourceId, *, expects: int | None, key: str | None = None
    ) -> AsyncIterator[Dock]:
        """As `dock`, with room for as many bytes as are expected; what was not needed is given back at the end.

        None is for a sender that does not say: then room is made while it sends. With a key, a document that would be
        new is refused when the quota of documents is used up. Raises Denied, NotFound, Throttled `quota_exceeded`,
        Conflict `source_refreshes`.
        """
        grant, room = enter(principal, Permission.INGEST), _STEP if expects is None else expects
        async with self._database.transaction(grant) as tx:
            found = _open(await sources.find(tx, source))
            hold = (await counters.reserve(tx, Wanted(bytes=room), self._quotas)).hold
            if key is not None and hold.is_full(Resource.DOCUMENTS):
                await _demand_known(tx, found, key)
        dock = Dock(grant, found, principal.person, hold, room)
        try:
            yield dock
        finally:
            if hold.id is not None:
                async with self._database.transaction(grant) as tx:
                    await counters.release(tx, hold)

    async def counted(self, dock: Dock, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The content, with more room made when there is more of it than was expected.

        Raises Throttled `quota_exceeded`.
        """
        room, came = dock.room, 0
        async for piece in content:
            came += len(piece)
            if came > room and dock.hold.id is not None:
                more = max(_STEP, came - room)
                async with self._database.transaction(dock.grant) as tx:
                    await counters.extend(tx, dock.hold, more, self._quotas)
                room += more
            yield piece

    async def deliver(
        self, dock: Dock, name: str, content: AsyncIterator[bytes], *, declared: str | None, limit: int = MOST_BYTES
    ) -> Delivery:
        """Raises Invalid (also TooLarge, Unsupported) for a file that cannot be taken; then nothing is kept.

        A small file that is known already is never written to the disk, which is most of what a repetition costs.
        """
        whole, again = await _read_ahead(content, SMALL)
        if whole and (known := await self._known(dock, name, whole, declared)):
            return known
        return await self.commit(dock, await self.stage(dock, name, again, declared=declared, limit=limit))

    async def _known(self, dock: Dock, name: str, content: bytes, declared: str | None) -> Delivery | None:
        key, fingerprint = dock.key_of(name), sha256(content).digest()
        self._judge_type(key, declared, content[:_HEAD])
        document = document_id(dock.source.id, key)
        async with self._database.transaction(dock.grant) as tx:
            known = await versions.unchanged_one(tx, document, fingerprint)
        if known is None or await self._presence.lost(dock.grant, {document: known}):
            return None
        return Delivery(key, Outcome.UNCHANGED, document, sha256=fingerprint)

    def judge(self, name: str, declared: str | None, head: bytes) -> str:
        """The media type, by the first bytes, before the rest is read. Raises Invalid (also Unsupported)."""
        return self._judge_type(document_key(name), declared, head)

    async def take(
        self, dock: Dock, name: str, content: AsyncIterator[bytes], *, declared: str | None, room: int
    ) -> Arrival | Held:
        """As `stage`, but what has at most `room` bytes is held in memory."""
        whole, again = await _read_ahead(content, room)
        if not whole:
            return await self.stage(dock, name, again, declared=declared)
        key = dock.key_of(name)
        return Held(key, whole, sha256(whole).digest(), self._judge_type(key, declared, whole[:_HEAD]))

    async def stage(
        self, dock: Dock, name: str, content: AsyncIterator[bytes], *, declared: str | None, limit: int = MOST_BYTES
    ) -> Arrival:
        """The bytes, kept and judged, which no document has yet. Raises as `deliver`; then nothing is kept."""
        key = dock.key_of(name)
        blob = await self._blobs.put(dock.grant.tenant, content, limit=limit)
        try:
            return Arrival(key, blob, self._judged(key, blob, declared))
        except BaseException:
            await self._blobs.delete(blob.key)
            raise

    async def commit(self, dock: Dock, arrival: Arrival) -> Delivery:
        """What was staged becomes a document; when that is refused, nothing is kept."""
        return await self._commits.one(dock, arrival, Report())

    async def commit_all(
        self, dock: Dock, arrivals: Sequence[Brought], *, memo: Memo[list[Delivery]] | None = None
    ) -> list[Delivery]:
        """What is plainly new some at a time, each of the others in a transaction of its own, in order.

        A delivery among them (it was rejected) stays as it is. Repeating it is harmless: what was taken is `unchanged`.
        What no quota has room for is rejected, and an answer that says so is not kept under the memo. Raises Replayed,
        Invalid `idempotency_mismatch`, Throttled `quota_exceeded` when there is room for none: then nothing is kept.
        """
        waiting = [arrival for arrival in arrivals if isinstance(arrival, Arrival)]
        try:
            async with idempotency.held(self._database, dock.grant, memo):
                return await self._committed(dock, arrivals, waiting, memo)
        finally:
            await self.drop(waiting)

    async def _committed(
        self, dock: Dock, arrivals: Sequence[Brought], waiting: list[Arrival], memo: Memo[list[Delivery]] | None
    ) -> list[Delivery]:
        known = await self._all_known(dock, [arrival for arrival in arrivals if isinstance(arrival, Held)])
        batch = _Batch(waiting, known, Report(len(arrivals)))
        parts = (arrivals[first : first + _TOGETHER] for first in range(0, len(arrivals), _TOGETHER))
        deliveries = [delivery for part in parts for delivery in await self._part(dock, part, batch)]
        lacking = [delivery.problem for delivery in deliveries if isinstance(delivery.problem, Throttled)]
        if lacking and len(lacking) == len(deliveries):
            raise lacking[0]
        if memo is not None:
            async with self._database.transaction(dock.grant) as tx:
                await (idempotency.give_up(tx, memo) if lacking else idempotency.keep(tx, memo, deliveries))
        return deliveries

    async def _all_known(self, dock: Dock, held: Sequence[Held]) -> dict[str, Delivery]:
        """Those that are unchanged, by key: one transaction for all is most of what a repetition costs."""
        if not held:
            return {}
        documents = {document_id(dock.source.id, one.key): one for one in held}
        async with self._database.transaction(dock.grant) as tx:
            same = await versions.unchanged(tx, {document: one.sha256 for document, one in documents.items()})
        lost = await self._presence.lost(dock.grant, same)
        found = ((documents[document], document) for document in same.keys() - lost)
        return {one.key: Delivery(one.key, Outcome.UNCHANGED, document, sha256=one.sha256) for one, document in found}

    async def _part(self, dock: Dock, part: Sequence[Brought], batch: _Batch) -> list[Delivery]:
        staged = await self._staged(dock, part, batch)
        arrivals = [one for one in staged if isinstance(one, Arrival)]
        new = await self._commits.together(dock, arrivals, batch.report, waiting=batch.waiting)
        return [
            one if isinstance(one, Delivery) else new.get(one.blob.key) or await self._settle(dock, one, batch)
            for one in staged
        ]

    async def _staged(self, dock: Dock, part: Sequence[Brought], batch: _Batch) -> list[Arrival | Delivery]:
        """The small files are written to the disk now, but for those whose documents have these bytes."""
        new = [one for one in part if isinstance(one, Held) and one.key not in batch.known]
        blobs = await self._blobs.put_all(dock.grant.tenant, [one.content for one in new])
        arrivals = {one.key: Arrival(one.key, blob, one.media_type) for one, blob in zip(new, blobs, strict=True)}
        batch.waiting.extend(arrivals.values())
        known: dict[str, Arrival | Delivery] = {**batch.known, **arrivals}
        return [known[one.key] if isinstance(one, Held) else one for one in part]

    async def _settle(self, dock: Dock, arrival: Arrival, batch: _Batch) -> Delivery:
        """What no quota has room for is rejected alone: the others are taken."""
        batch.waiting.remove(arrival)
        try:
            return await self._commits.one(dock, arrival, batch.report)
        except Throttled as problem:
            return Delivery(arrival.key, Outcome.REJECTED, problem=problem)

    async def drop(self, arrivals: Iterable[Arrival]) -> None:
        """Staged bytes that nobody wants after all."""
        for arrival in arrivals:
            await self._blobs.delete(arrival.blob.key)

    async def deliver_or_reject(
        self, dock: Dock, name: str, content: AsyncIterator[bytes], *, declared: str | None
    ) -> Delivery:
        """As `deliver`, but a file that cannot be taken is an outcome: `rejected`, with its problem."""
        try:
            return await self.deliver(dock, name, content, declared=declared)
        except Invalid as problem:
            return Delivery(name, Outcome.REJECTED, problem=problem)

    async def settled(
        self, dock: Dock, delivery: Delivery, *, seconds: float, seen: Callable[[Document], None] = lambda _: None
    ) -> Document:
        """The document once its newest version is ready or failed, or as it is when the time is over.

        `seen` is shown it at each look.
        """
        if delivery.document is None:
            raise Unavailable("There is nothing to wait for.")
        deadline = asyncio.get_running_loop().time() + seconds
        pause = _FIRST_LOOK
        while True:
            async with self._database.transaction(dock.grant) as tx:
                document = await documents.get(tx, delivery.document)
            seen(document)
            if document.status in {DocumentStatus.READY, DocumentStatus.FAILED} or _now() + pause > deadline:
                return document
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _SLOWEST_LOOK)

    def _judged(self, key: str, blob: Blob, declared: str | None) -> str:
        if blob.size == 0:
            raise Invalid("The file is empty.", code="empty_document", field="files")
        return self._judge_type(key, declared, blob.head)


def _open(source: Source) -> Source:
    """Raises Conflict `source_refreshes` for one that nobody brings anything to."""
    if source.place is not None:
        raise Conflict("This source fetches its documents itself: bring yours to another one.", code="source_refreshes")
    return source


async def _demand_known(tx: Transaction, source: Source, key: str) -> None:
    if not await versions.exists(tx, document_id(source.id, document_key(key))):
        raise counters.full(Resource.DOCUMENTS)


async def _read_ahead(content: AsyncIterator[bytes], most: int) -> tuple[bytes, AsyncIterator[bytes]]:
    """The whole content if it has at most so many bytes, else nothing; and all of it to be read again."""
    held: list[bytes] = []
    size = 0
    async for piece in content:
        held.append(piece)
        size += len(piece)
        if size > most:
            return b"", _chained(held, content)
    return b"".join(held), _chained(held, content)


async def _chained(held: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for piece in held:
        yield piece
    async for piece in rest:
        yield piece


def _now() -> float:
    return asyncio.get_running_loop().time()
