"""Files beyond their door: they move with their tenant, go with their owner, and are swept by nobody."""

import asyncio
import uuid
from pathlib import Path

import pytest

from carrel.domain.access import Principal, console
from carrel.domain.errors import NotFound
from carrel.domain.files import Attachment, File
from carrel.domain.library import DocumentStatus, Outcome
from carrel.ingest.sweep import Sweep
from carrel.ingest.upload import Delivery
from carrel.library.files import NewFile
from carrel.library.sources import NewSource, Step
from conftest import TenantMaker
from support.people import a_person
from support.stand import Stand
from support.tally import files_of
from support.tenants import pieces

OPERATOR = console(None)
BOATS = b"Boats float on water."


async def brought(carrel: Stand, who: Principal, name: str = "boats.md", content: bytes = BOATS) -> File:
    async with carrel.app.files.counter(who, expects=None) as counter:
        blob = await carrel.app.files.stage(counter, pieces(content))
        return await carrel.app.files.keep(counter, NewFile(name, "assistants", "text/markdown", blob))


async def read(carrel: Stand, who: Principal, file: File) -> bytes:
    download = await carrel.app.files.download(who, file.id)
    return b"".join([piece async for piece in download.content])


async def test_files_move_with_their_tenant(carrel: Stand, tenant: TenantMaker, tmp_path: Path) -> None:
    place = await tenant("Mover")
    person = await a_person(carrel, owner=place.id)
    owner = await person.principal(place.id)
    source = await carrel.app.sources.create(owner, NewSource("books"))
    file, loose = await brought(carrel, owner), await brought(carrel, owner, "loose.txt", b"Nowhere yet.")
    made = await carrel.app.attaching.attach(owner, source.id, Attachment(file.id, {"team": "red"}))
    path = tmp_path / "whole.tar"
    found = await carrel.app.exports.begin(place.console, place.id)
    path.write_bytes(b"".join([piece async for piece in found.content]))

    archive = await carrel.app.imports.judge(path)
    there = (await carrel.app.imports.run(OPERATOR, archive, slug=f"moved-{uuid.uuid4().hex[:8]}")).tenant

    arrived = await person.principal(there.id)
    files = (await carrel.app.files.walk(arrived, Step(10))).items
    assert sorted(one.name for one in files) == ["boats.md", "loose.txt"]
    assert {one.id for one in files}.isdisjoint({file.id, loose.id})
    (boats,) = (one for one in files if one.name == "boats.md")
    assert (await read(carrel, arrived, boats), boats.purpose) == (BOATS, "assistants")
    (books,) = (await carrel.app.sources.walk(arrived, Step(10))).items
    document = await carrel.app.documents.in_source(arrived, books.id, boats.id)
    assert (document.key, document.attributes, document.file) == (made.key, {"team": "red"}, boats.id)
    await carrel.app.files.delete(arrived, boats.id)
    with pytest.raises(NotFound):
        await carrel.app.documents.get(arrived, document.id)
    assert (await carrel.app.documents.get(owner, made.id)).file == file.id


async def test_who_is_removed_takes_files_along_and_leaves_documents(carrel: Stand, tenant: TenantMaker) -> None:
    place = await tenant("Leaver")
    await a_person(carrel, owner=place.id)
    leaving = await a_person(carrel, editor=place.id)
    principal = await leaving.principal(place.id)
    source = await carrel.app.sources.create(place.console, NewSource("shared"))
    file = await brought(carrel, principal)
    await brought(carrel, principal, "loose.txt", b"Nowhere yet.")
    made = await carrel.app.attaching.attach(principal, source.id, Attachment(file.id))
    dock = await carrel.app.uploads.dock(principal, source.id)
    await carrel.app.uploads.settled(dock, Delivery(made.key, Outcome.CREATED, made.id), seconds=60)
    assert len(files_of(carrel, place.id)) == 3

    await carrel.app.members.remove(place.console, leaving.id)
    for _ in range(600):
        if len(files_of(carrel, place.id)) == 1:
            break
        await asyncio.sleep(0.05)

    assert len(files_of(carrel, place.id)) == 1
    left = await carrel.app.documents.get(place.console, made.id)
    assert left.status is DocumentStatus.READY
    assert (await carrel.app.documents.in_source(place.console, source.id, file.id)).id == made.id


async def test_a_sweep_leaves_the_bytes_of_files(carrel: Stand, tenant: TenantMaker) -> None:
    place = await tenant("Swept")
    principal = await place.principal()
    file = await brought(carrel, principal)
    async with carrel.app.files.counter(principal, expects=None) as counter:
        await carrel.app.files.stage(counter, pieces(b"Nobody keeps this."))
    assert len(files_of(carrel, place.id)) == 2
    await Sweep(carrel.database, carrel.parts.base.blobs, grace=-1).run()
    assert len(files_of(carrel, place.id)) == 1
    assert await read(carrel, principal, file) == BOATS
