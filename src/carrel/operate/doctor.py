"""The doctor: what is configured, what is reachable and what is wrong, in sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from carrel.domain.access import for_machine
from carrel.store import jobs
from carrel.store.transaction import Database

_LONG_WAIT = 300.0


class Mark(StrEnum):
    GOOD = "good"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Remark:
    mark: Mark
    about: str
    sentence: str


async def examine_queue(database: Database) -> Sequence[Remark]:
    """Whether a worker lives, and whether anything waits too long. Raises Unavailable."""
    attended = await database.listened(jobs.CHANNEL)
    async with database.transaction(for_machine()) as tx:
        backlog = await jobs.backlog(tx)
    return [_worker(backlog.waiting, attended=attended), _queue(backlog)]


def _worker(waiting: int, *, attended: bool) -> Remark:
    if attended:
        return Remark(Mark.GOOD, "worker", "A worker lives.")
    if waiting:
        return Remark(Mark.WRONG, "worker", "Jobs wait and no worker lives: start `carrel serve` or `carrel work`.")
    return Remark(Mark.NOTE, "worker", "No worker lives; `carrel serve` or `carrel work` starts one.")


def _queue(backlog: jobs.Backlog) -> Remark:
    sentence = f"{backlog.waiting} jobs are due, {backlog.running} are in hand, {backlog.later} wait for their time."
    if backlog.oldest_seconds > _LONG_WAIT:
        return Remark(Mark.WRONG, "queue", f"{sentence} The oldest has waited {backlog.oldest_seconds:.0f} seconds.")
    return Remark(Mark.GOOD, "queue", sentence)
