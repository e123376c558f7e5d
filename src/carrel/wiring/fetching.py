"""What a worker needs for sources that refresh themselves: their walks, and the ears for their places."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from carrel.domain.jobs import JobKind
from carrel.ingest.listen import Listening
from carrel.ingest.pipeline import Work
from carrel.ingest.refresh import Refreshing
from carrel.ingest.schedule import Schedules
from carrel.ingest.take import Taking
from carrel.ingest.upload import Uploads
from carrel.ports.origins import Origins
from carrel.wiring.database import Base
from carrel.wiring.origins import places


@dataclass(frozen=True, slots=True)
class Fetching:
    """Walks have places of their own in a worker: they wait for documents, and must not keep them waiting.

    After `leave` they stop at their next thing.
    """

    tasks: dict[JobKind, Callable[[Work], Awaitable[None]]]
    concurrency: int
    listening: Listening
    leave: Callable[[], None]
    mend: Callable[[], Awaitable[None]]


def fetching(base: Base, origins: Origins | None = None) -> Fetching:
    """`origins` are those of the settings unless others are given."""
    uploads = Uploads(base.database, base.blobs, judge_type=base.judge_type, quotas=base.quotas)
    taking = Taking(base.database, base.blobs, uploads, quotas=base.quotas)
    found, pending = origins or places(base), base.places.pending
    refreshing = Refreshing(base.database, found, taking, pending=pending)
    listening = Listening(base.database, found, taking, pending=pending)
    mend = Schedules(base.database).mend
    return Fetching({JobKind.REFRESH: refreshing.run}, base.places.walks, listening, refreshing.leave, mend)
