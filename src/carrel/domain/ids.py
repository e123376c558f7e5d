"""Identifiers: one type for each kind, and the rules by which some follow from others."""

import os
import time
import uuid
from typing import NewType

TenantId = NewType("TenantId", uuid.UUID)
UserId = NewType("UserId", uuid.UUID)
KeyId = NewType("KeyId", uuid.UUID)
SessionId = NewType("SessionId", uuid.UUID)
InvitationId = NewType("InvitationId", uuid.UUID)
GroupGrantId = NewType("GroupGrantId", uuid.UUID)
SourceId = NewType("SourceId", uuid.UUID)
BotId = NewType("BotId", uuid.UUID)
CredentialId = NewType("CredentialId", uuid.UUID)
DocumentId = NewType("DocumentId", uuid.UUID)
FileId = NewType("FileId", uuid.UUID)
BatchId = NewType("BatchId", uuid.UUID)
VersionId = NewType("VersionId", uuid.UUID)
GenerationId = NewType("GenerationId", uuid.UUID)
ChunkId = NewType("ChunkId", uuid.UUID)
JobId = NewType("JobId", uuid.UUID)
ChatId = NewType("ChatId", uuid.UUID)
MessageId = NewType("MessageId", uuid.UUID)
WebhookId = NewType("WebhookId", uuid.UUID)
DeliveryId = NewType("DeliveryId", uuid.UUID)


def new_id() -> uuid.UUID:
    """A UUIDv7 (RFC 9562): ordered by time in milliseconds, so newest-first lists follow the primary key."""
    return _of_time(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big"))


def first_id(age: float) -> uuid.UUID:
    """Below every id that was made in the last so many seconds, and above the older ones."""
    return _of_time(time.time_ns() // 1_000_000 - int(age * 1000), 0)


def _of_time(milliseconds: int, noise: int) -> uuid.UUID:
    value = (milliseconds & (1 << 48) - 1) << 80
    value |= 0x7 << 76 | (noise >> 68 & 0xFFF) << 64
    value |= 0b10 << 62 | noise & (1 << 62) - 1
    return uuid.UUID(int=value)


def document_id(source: SourceId, key: str) -> DocumentId:
    """A document is (source, key), for ever."""
    return DocumentId(uuid.uuid5(source, key))


def chunk_id(version: VersionId, generation: GenerationId, ordinal: int) -> ChunkId:
    """A retry writes the same ids; purging a version can never hit another."""
    return ChunkId(uuid.uuid5(version, f"{generation}:{ordinal}"))
