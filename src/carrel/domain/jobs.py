"""Work that waits: what a job is, and when a failed one is tried again."""

import random
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from carrel.domain.ids import JobId, TenantId, UserId


class JobKind(StrEnum):
    INGEST = "ingest"
    PURGE = "purge"
    WEIGH = "weigh"


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this worker holds until its lease ends. `epoch` is the fence: an older one writes nothing."""

    tenant: TenantId
    job: JobId
    kind: JobKind
    subject: UUID
    owner: UserId | None
    attempts: int
    epoch: int


MOST_ATTEMPTS = 5


def delay_before(attempt: int) -> float:
    """Seconds to wait before the next try: 2, 4, 8 … up to 300, with full jitter on the upper half."""
    ceiling = min(2.0**attempt, 300.0)
    return ceiling * (0.5 + random.random() / 2)  # noqa: S311 - jitter, not a secret
