"""A tenant of its own for a labelled set, filled by the same uploads and workers as everybody's."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from carrel.cli.deliveries import Deliveries, Landing
from carrel.cli.files import File
from carrel.cli.pages import everything
from carrel.cli.progress import following
from carrel.cli.terminal import note
from carrel.domain.access import Principal, console
from carrel.domain.errors import Conflict, NotFound
from carrel.domain.ids import DocumentId
from carrel.domain.library import Source, Tenant

if TYPE_CHECKING:
    from carrel.cli.hired import HiredWorker
    from carrel.evaluate.sets import LabelledSet, SetDocument
    from carrel.wiring import Application

_SOURCE: Final = "documents"
_PATIENCE: Final = 180.0
_LOOK: Final = 0.25


@dataclass(frozen=True, slots=True)
class Filled:
    """`documents` gives for each document that is ready its id in the set; `bad` are those that are not."""

    tenant: Tenant
    principal: Principal
    documents: dict[DocumentId, str]
    bad: tuple[Landing, ...]
    seconds: float


@asynccontextmanager
async def filled(
    carrel: "Application", labelled: "LabelledSet", *, worker: "HiredWorker", keep: bool
) -> AsyncIterator[Filled]:
    """What an earlier time left is used again, and what the set no longer has is forgotten.

    The documents go at the end, unless they are to be kept; the empty tenant stays. Raises Conflict `tenant_exists`,
    Unavailable.
    """
    tenant = await _tenant(carrel, labelled.name)
    who = console(tenant.id)
    source = await _source(carrel, who)
    try:
        yield await _fill(carrel, tenant, source, labelled, worker=worker)
    finally:
        if not keep:
            await carrel.forgetting.source(who, source.id)
    if not keep:
        await _quiet(carrel, worker)


async def _tenant(carrel: "Application", name: str) -> Tenant:
    """Raises Conflict when somebody else's has the slug: its documents must not be touched."""
    from carrel.tenancy.tenants import slug_of

    title, slug = f"Evaluation of {name}", slug_of(f"eval {name}")
    try:
        tenant = await carrel.tenants.find(console(None), slug)
    except NotFound:
        return await carrel.tenants.create(console(None), title, slug=slug)
    if tenant.name != title:
        raise Conflict(f"The tenant {slug!r} was not made for this set.", code="tenant_exists")
    return tenant


async def _source(carrel: "Application", who: Principal) -> Source:
    from carrel.library.sources import NewSource

    return await carrel.sources.named(who, _SOURCE) or await carrel.sources.create(who, NewSource(_SOURCE))


async def _fill(
    carrel: "Application", tenant: Tenant, source: Source, labelled: "LabelledSet", *, worker: "HiredWorker"
) -> Filled:
    who, began = console(tenant.id), asyncio.get_running_loop().time()
    corpus = [document for document in labelled.corpus if document.content.strip()]
    with (
        TemporaryDirectory(prefix="carrel-set-") as folder,
        following(len(corpus), f"Ingesting {labelled.name}") as told,
    ):
        files = await asyncio.to_thread(_written, Path(folder), corpus)
        dock = await carrel.uploads.dock(who, source.id)
        landings = await Deliveries(carrel.uploads, dock, worker=worker, tell=told.landed, show=told.show).bring(files)
    names = {
        landing.document: document.id
        for landing, document in zip(landings, corpus, strict=True)
        if landing.document is not None
    }
    await _forget_others(carrel, who, source, names)
    await _quiet(carrel, worker)
    bad = tuple(landing for landing in landings if not landing.is_good)
    return Filled(tenant, who, names, bad, asyncio.get_running_loop().time() - began)


def _written(folder: Path, corpus: Sequence["SetDocument"]) -> list[File]:
    """Numbered: a document's id need not be a file's name."""
    files = []
    for number, document in enumerate(corpus):
        path = folder / str(number)
        path.write_bytes(document.content.encode())
        files.append(File(path, document.key))
    return files


async def _forget_others(carrel: "Application", who: Principal, source: Source, wanted: dict[DocumentId, str]) -> None:
    from carrel.library.documents import Shelf

    shelf = Shelf(source=source.id)
    present = await everything(lambda cursor: carrel.documents.listed(who, shelf, limit=200, cursor=cursor))
    for document in present:
        if document.id not in wanted:
            await carrel.forgetting.document(who, document.id)


async def _quiet(carrel: "Application", worker: "HiredWorker") -> None:
    """Until the small jobs that follow (the statistics of the words, purging) are done too, or after a while."""
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while (await carrel.desk.backlog()).outstanding:
        worker.need()
        if asyncio.get_running_loop().time() > deadline:
            note("Other jobs still wait in the queue; the evaluation goes on beside them.")
            return
        await asyncio.sleep(_LOOK)
