"""Small things that the instruments load."""

import uuid

import numpy as np

from bench.load import Room
from bench.prepared import Document
from bench.texts import Text
from carrel.domain.ids import GenerationId, SourceId, TenantId
from carrel.domain.text import Chunk


def a_room() -> Room:
    """Of a tenant that is nowhere."""
    return Room(TenantId(uuid.uuid4()), "slug", SourceId(uuid.uuid4()), GenerationId(uuid.uuid4()), "ck_none")


def a_document(key: str, *, chunks: int = 1) -> Document:
    """So many chunks, without vectors or words."""
    cut = tuple(Chunk(number, f"text {number}", (), None, 0, 6, (1,)) for number in range(chunks))
    nothing = np.zeros((chunks, 384), np.float32)
    return Document(Text(key, b"text"), "text/markdown", key, cut, (), nothing, (), (), b"")
