"""What the audit log tells apart. An event names who did what to which object, never content."""

from enum import StrEnum


class Act(StrEnum):
    """What was done, or refused; `object` in the log is the id of what it was done to."""

    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
