"""Files brought to a source, several at a time, each followed until it is ready or failed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from carrel.cli.files import File
from carrel.domain.ids import DocumentId
from carrel.domain.library import Document, DocumentStatus, Outcome

if TYPE_CHECKING:
    from carrel.cli.hired import HiredWorker
    from carrel.ingest.upload import Delivery, Dock, Uploads

FAILED: Final = "failed"
_AT_ONCE: Final = 8
_PIECE: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Landing:
    """What became of one file: an outcome of the upload, or `failed`; `code` and `detail` say why it is not good."""

    key: str
    outcome: str
    document: DocumentId | None = None
    status: DocumentStatus | None = None
    code: str | None = None
    detail: str | None = None

    @property
    def is_good(self) -> bool:
        return self.code is None


class Deliveries:
    """`worker` is asked for when something has to be waited for; without one nothing is waited for.

    `tell` hears what became of each file, `show` how far a document is.
    """

    def __init__(
        self,
        uploads: "Uploads",
        dock: "Dock",
        *,
        worker: "HiredWorker | None",
        tell: Callable[[Landing], None],
        show: Callable[[Document], None] = lambda _: None,
    ) -> None:
        self._uploads = uploads
        self._dock = dock
        self._worker = worker
        self._tell = tell
        self._show = show

    async def bring(self, files: Sequence[File]) -> list[Landing]:
        """What became of each file, in their order."""
        landings: dict[int, Landing] = {}
        waiting = iter(enumerate(_with_twice(files)))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(self._carry(waiting, landings))
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        return [landings[number] for number in sorted(landings)]

    async def _carry(self, waiting: Iterator[tuple[int, tuple[File, bool]]], landings: dict[int, Landing]) -> None:
        for number, (file, twice) in waiting:
            landings[number] = _came_twice(file) if twice else await self._land(file)
            self._tell(landings[number])

    async def _land(self, file: File) -> Landing:
        try:
            delivery = await self._uploads.deliver_or_reject(self._dock, file.key, _pieces(file.path), declared=None)
        except OSError as error:
            return Landing(file.key, FAILED, code="unreadable_file", detail=f"{error.strerror}: {file.path}")
        if delivery.problem is not None:
            return Landing(file.key, delivery.outcome, code=delivery.problem.code, detail=delivery.problem.detail)
        return await self._follow(delivery)

    async def _follow(self, delivery: "Delivery") -> Landing:
        if delivery.outcome is Outcome.DUPLICATE or self._worker is None:
            return Landing(delivery.key, delivery.outcome, delivery.document)
        document = await self._uploads.settled(self._dock, delivery, seconds=0)
        if document.status not in {DocumentStatus.READY, DocumentStatus.FAILED}:
            self._worker.need()
            document = await self._uploads.settled(self._dock, delivery, seconds=float("inf"), seen=self._show)
        if document.error is not None:
            why = document.error
            return Landing(delivery.key, FAILED, document.id, document.status, code=why.code, detail=why.detail)
        return Landing(delivery.key, delivery.outcome, document.id, document.status)


def _with_twice(files: Sequence[File]) -> Iterator[tuple[File, bool]]:
    """Each file, and whether its key came before."""
    seen: set[str] = set()
    for file in files:
        yield file, file.key in seen
        seen.add(file.key)


def _came_twice(file: File) -> Landing:
    detail = f"Another file of this call has the same key: {file.path} was left out."
    return Landing(file.key, Outcome.REJECTED, code="duplicate_key", detail=detail)


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as content:
        while piece := await asyncio.to_thread(content.read, _PIECE):
            yield piece
