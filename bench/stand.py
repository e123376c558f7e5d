"""A loaded Carrel: prepared documents of many tenants in a home of its own, ready to be served or to be looked into."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load import Loaded, Room, furnish, interleaved, load, shares
from bench.prepared import Document
from carrel.adapters.postgres import EmbeddedPostgres, Endpoint
from carrel.settings import MiniLM, Settings
from carrel.wiring import Application, Parts, assemble
from carrel.wiring.application import equipped


@dataclass(frozen=True, slots=True)
class Stand:
    """A whole Carrel but for its doors, in this process."""

    app: Application
    parts: Parts
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Filled:
    rooms: list[Room]
    shares: list[list[Document]]
    loaded: Loaded


@asynccontextmanager
async def a_stand(home: Path) -> AsyncIterator[Stand]:
    """The database runs until the end of the context, or for as long as anybody else uses it.

    Its embedder has every core, so that texts are prepared quickly; a question takes one thread of it.
    """
    settings = Settings(home=home, embedder=MiniLM(threads=len(os.sched_getaffinity(0))))
    with EmbeddedPostgres(home) as endpoint:
        async with equipped(settings) as parts:
            yield Stand(assemble(parts), parts, endpoint)


async def fill(stand: Stand, documents: Sequence[Document], *, tenants: int, chunks: int) -> Filled:
    """So many new tenants, each with exactly so many chunks, loaded interleaved."""
    database = stand.parts.base.database
    rooms = await furnish(stand.app, database, stand.parts.embedder.profile, tenants=tenants)
    given = shares(documents, tenants=tenants, chunks=chunks)
    loaded = await load(stand.endpoint.superuser_url, database, interleaved(rooms, given))
    return Filled(rooms, given, loaded)
