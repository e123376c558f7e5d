"""A whole Carrel in one process: database, sandbox, embedder, application and worker, all real."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from carrel.adapters.blobs.local import LocalBlobs
from carrel.adapters.embedders import minilm
from carrel.adapters.lexical.analyzer import EnglishAnalyzer
from carrel.adapters.lexical.postgres import PostgresWords
from carrel.adapters.models.extractive import Extractive
from carrel.adapters.models.single import OnlyModel
from carrel.adapters.parsers.sandbox import SandboxedParser
from carrel.adapters.postgres import Endpoint
from carrel.adapters.vectors.pgvector import PgvectorIndexes
from carrel.ingest.desk import Desk
from carrel.ports.parser import Parser
from carrel.store import schema
from carrel.store.transaction import Database
from carrel.tenancy.passwords import Passwords
from carrel.wiring import Application, Base, Parts, Secrets, assemble, tasks
from carrel.wiring.outgoing import way_out
from carrel.worker.loop import Worker
from support.brakes import RenewableLimiter

SECRETS = Secrets(b"a pepper for tests, of thirty-two bytes", b"a master key for tests, of 32 bytes")


@dataclass(frozen=True)
class Stand:
    """`app` is what the doors see; the rest is for looking behind the scenes."""

    app: Application
    parts: Parts
    parser: Parser
    endpoint: Endpoint

    @property
    def database(self) -> Database:
        return self.parts.base.database


@asynccontextmanager
async def a_database(endpoint: Endpoint, *, connections: int = 8) -> AsyncIterator[Database]:
    await schema.migrate(endpoint.owner_url, app_login=endpoint.app)
    database = await Database.connect(endpoint.app_url, connections=connections)
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def a_stand(endpoint: Endpoint, home: Path, *, models: Path) -> AsyncIterator[Stand]:
    embedder = await asyncio.to_thread(minilm.prepare, models, threads=1)
    parser = SandboxedParser()
    async with a_database(endpoint) as database:
        parts = Parts(
            base=Base(
                database,
                LocalBlobs(home / "blobs"),
                SECRETS,
                RenewableLimiter(),
                passwords=Passwords(passes=1, memory=8),
                outgoing=way_out("127.0.0.1", frozenset(range(1, 1 << 16))),
            ),
            embedder=embedder,
            analyzer=EnglishAnalyzer(),
            vectors=PgvectorIndexes(database),
            words=PostgresWords(database),
            models=OnlyModel(Extractive(EnglishAnalyzer())),
        )
        yield Stand(assemble(parts), parts, parser, endpoint)
    await parser.close()
    embedder.close()


@asynccontextmanager
async def a_worker(stand: Stand, *, concurrency: int = 3, lease: float = 30.0) -> AsyncIterator[Worker]:
    """A worker that runs beside the test, and is stopped gently."""
    worker = Worker(Desk(stand.database), tasks(stand.parts, stand.parser), concurrency=concurrency, lease=lease)
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    try:
        yield worker
    finally:
        stop.set()
        await running
