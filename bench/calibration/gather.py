"""Observations by the product's own way: a worker ingests the sets, questions go through retrieval and `observe`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench.calibration.observations import Observation, Shelf, kind_of, spread
from bench.stand import Stand, a_stand
from carrel.ask.authorize import Leave, authorize
from carrel.ask.judge import observe
from carrel.ask.question import Asker, Question
from carrel.ask.retrieve import Need, Retrieved, Retriever
from carrel.domain.access import Principal, console
from carrel.domain.answers import Wish
from carrel.domain.keys import document_key
from carrel.domain.rights import Permission
from carrel.evaluate.sets import SetQuery
from carrel.settings import Settings
from carrel.store.sources import NewSource
from carrel.wiring import tasks
from carrel.wiring.parsing import parsing
from carrel.worker.loop import Worker

DEPTH: Final = 20  # as many passages as a chat looks at
_FOREIGN: Final = 150  # of another set's questions
_LOOK: Final = 0.5


async def gather(home: Path, shelves: Sequence[Shelf]) -> list[Observation]:
    """Each set in a tenant of its own, asked its own questions and those of the others. Raises what asking raises."""
    async with a_stand(home) as stand:
        async with _a_worker(stand, home):
            owners = [await fill(stand, shelf) for shelf in shelves]
            while (await stand.app.desk.backlog()).outstanding:  # noqa: ASYNC110 - the queue is in the database
                await asyncio.sleep(_LOOK)
        return [
            one
            for owner, shelf in zip(owners, shelves, strict=True)
            for asked in shelves
            for one in await ask(stand, owner, shelf, asked)
        ]


async def fill(stand: Stand, shelf: Shelf) -> Principal:
    """The owner of a new tenant to which the set's documents were delivered."""
    tenant = await stand.app.tenants.create(console(None), shelf.labelled.name)
    owner = console(tenant.id)
    source = await stand.app.sources.create(owner, NewSource("documents"))
    dock = await stand.app.uploads.dock(owner, source.id)
    for document in shelf.labelled.corpus:
        await stand.app.uploads.deliver_or_reject(dock, document.key, _whole(document.content), declared=None)
    return owner


async def ask(stand: Stand, owner: Principal, shelf: Shelf, asked: Shelf) -> list[Observation]:
    """One set's questions to the documents of a set: its own all, another's not more than 150."""
    leave = await authorize(stand.parts.base.database, owner, Permission.SEARCH, Wish())
    queries = asked.labelled.queries
    observations = []
    for query in queries if asked is shelf else spread(queries, _FOREIGN):
        question, retrieved = await _retrieved(stand, leave, query)
        answering = shelf.answering(query)
        observations.append(
            Observation(
                tenant=shelf.family,
                asked=asked.family,
                question=query.id,
                kind=kind_of(shelf, asked, query),
                features=tuple(map(tuple, observe(stand.parts.analyzer, question, retrieved).features)),
                right=tuple(document_key(passage.key) in answering for passage in retrieved.passages),
            )
        )
    return observations


async def _retrieved(stand: Stand, leave: Leave, query: SetQuery) -> tuple[Question, Retrieved]:
    parts = stand.parts
    assert leave.generation is not None
    question = await Asker(parts.embedder, parts.analyzer).understand(query.text)
    need = Need(question, leave.generation.id, DEPTH, None)
    return question, await Retriever(parts.base.database, parts.vectors, parts.words).retrieve(leave.scope, need)


@asynccontextmanager
async def _a_worker(stand: Stand, home: Path) -> AsyncIterator[None]:
    async with parsing(Settings(home=home)) as parser:
        worker = Worker(stand.app.desk, tasks(stand.parts, parser), concurrency=2, lease=30.0)
        stop = asyncio.Event()
        running = asyncio.create_task(worker.run(stop))
        try:
            yield
        finally:
            stop.set()
            await running


async def _whole(content: str) -> AsyncIterator[bytes]:
    yield content.encode()
