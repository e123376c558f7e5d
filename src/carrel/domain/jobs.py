"""Work that waits: what a job is, and when a failed one is tried again."""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from carrel.domain.ids import JobId, TenantId, UserId


class JobKind(StrEnum):
    INGEST = "ingest"
    PURGE = "purge"
    EMPTY = "empty"
    WEIGH = "weigh"
    RESHAPE = "reshape"
    FAREWELL = "farewell"
    DESTROY = "destroy"
    REFRESH = "refresh"


# What waits until its tenant is active; the others forget, and forgetting waits for nobody.
FOR_ACTIVE_TENANTS: Final = frozenset({JobKind.INGEST, JobKind.WEIGH, JobKind.RESHAPE, JobKind.REFRESH})


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this worker holds until its lease ends. `epoch` is the fence: an older one writes nothing.

    `attempts` counts this one too. `orphaned`: whoever had it before never gave it back, and may have died of it.
    """

    tenant: TenantId
    job: JobId
    kind: JobKind
    subject: UUID
    owner: UserId | None
    attempts: int
    epoch: int
    orphaned: bool = False

    @property
    def is_suspect(self) -> bool:
        """A document whose worker died while it was at work on it: it may have been the reason."""
        return self.kind is JobKind.INGEST and self.orphaned and self.attempts > 1


MOST_ATTEMPTS = 5
MOST_CRASHES: Final = 2
CRASHES: Final = frozenset({"parser_crashed", "parser_memory", "parser_timeout"})
"""What a reading ends with that took its process down; what a document refuses in good order is no crash."""
LONGEST_DELAY = 300.0
_DOUBLINGS = 9  # more give the longest delay anyway, and a purge is tried for ever


def delay_before(attempt: int) -> float:
    """Seconds to wait before the next try: 2, 4, 8 … up to 300, with full jitter on the upper half."""
    ceiling = min(2.0 ** min(attempt, _DOUBLINGS), LONGEST_DELAY)
    return ceiling * (0.5 + random.random() / 2)  # noqa: S311 - jitter, not a secret
