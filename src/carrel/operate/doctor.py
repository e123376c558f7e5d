"""The doctor: what is configured, what is reachable and what is wrong, in sentences."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from carrel.domain.access import console, enter, for_machine, operate
from carrel.domain.errors import Refusal
from carrel.domain.ids import first_id
from carrel.domain.library import DocumentStatus, Tenant
from carrel.domain.rights import Permission
from carrel.store import catalogue, chats, contents, credentials, documents, jobs, tenants
from carrel.store.documents import Shelf
from carrel.store.transaction import Database

_LONG_WAIT: Final = 300.0
_DAY: Final = 86_400.0
_LITTLE_SPACE, _NO_SPACE = 2 << 30, 200 << 20
_MOST_TENANTS: Final = 200
_MOST_DOCUMENTS: Final = 200


class Mark(StrEnum):
    GOOD = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Remark:
    mark: Mark
    about: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Patient:
    """What only the wiring knows. `database` gives the serving role's address for as long as it is open."""

    settings: Sequence[Remark]
    database: Callable[[], AbstractAsyncContextManager[str]]
    advice: str
    migrates_itself: bool
    embedder: Callable[[], Awaitable[Remark]]
    model: Callable[[], Awaitable[Remark]]
    blobs: Callable[[], Awaitable[Sequence[Remark]]]
    sandbox: Callable[[], Awaitable[Sequence[tuple[bool, str]]]]


async def examine(patient: Patient, *, patience: float) -> list[Remark]:
    """Everything that can be said, also when the database is down; no part takes longer than `patience` seconds."""
    parts = await asyncio.gather(
        _guarded("database", _database(patient), patience, advice=patient.advice),
        _guarded("embedder", _embedder(patient), patience),
        _guarded("model", _model(patient), patience),
        _guarded("parsers", _sandbox(patient), patience),
        _guarded("blobs", patient.blobs(), patience),
    )
    return [*patient.settings, *(remark for part in parts for remark in part)]


async def examine_queue(database: Database) -> Sequence[Remark]:
    """Whether a worker lives, and whether anything waits too long. Raises Unavailable."""
    attended = await database.listened(jobs.CHANNEL)
    async with database.transaction(for_machine()) as tx:
        backlog = await jobs.backlog(tx)
    return [_worker(backlog.waiting, attended=attended), _queue(backlog)]


async def _guarded(
    about: str, examination: Awaitable[Sequence[Remark]], patience: float, *, advice: str = ""
) -> Sequence[Remark]:
    try:
        async with asyncio.timeout(patience):
            return await examination
    except Refusal as refusal:
        return [Remark(Mark.WRONG, about, f"{refusal.detail} {advice}".strip())]
    except TimeoutError:
        return [Remark(Mark.WRONG, about, f"There was no answer within {patience:.0f} seconds. {advice}".strip())]


async def _database(patient: Patient) -> Sequence[Remark]:
    async with patient.database() as address:
        seen = await catalogue.look(address)
        if not seen.current:
            return [_server(seen), _outdated(patient)]
        database = await Database.connect(address, connections=2, patience=5)
        try:
            walls = _walls(await catalogue.inspect(address))
            known = await _tenants(database)
            content = [*await _operator(database), *await _failed(database, known), *await _faults(database, known)]
            content += await _degraded(database, known)
            return [_server(seen), *walls, *await examine_queue(database), *content]
        finally:
            await database.close()


def _server(seen: catalogue.Look) -> Remark:
    extension = f"pgvector {seen.vector}" if seen.vector else "no pgvector yet"
    return Remark(Mark.GOOD, "database", f"PostgreSQL {seen.server} answers, with {extension}.")


def _outdated(patient: Patient) -> Remark:
    if patient.migrates_itself:
        return Remark(Mark.NOTE, "schema", "The schema is not this version's; the next start brings it there.")
    return Remark(Mark.WRONG, "schema", "The schema is not this version's: run `carrel migrate`.")


def _walls(findings: Sequence[catalogue.Finding]) -> Sequence[Remark]:
    if findings:
        return [Remark(Mark.WRONG, "walls", finding.sentence) for finding in findings]
    sentence = "The schema is current, row-level security is forced on every table, and the serving role owns none."
    return [Remark(Mark.GOOD, "walls", sentence)]


async def _operator(database: Database) -> Sequence[Remark]:
    async with database.transaction(for_machine()) as tx:
        known = await credentials.has_operator(tx)
    if known:
        return [Remark(Mark.GOOD, "operator", "There is an operator key.")]
    sentence = "There is no operator key: the first `carrel serve` makes one, or `carrel keys create --operator`."
    return [Remark(Mark.NOTE, "operator", sentence)]


async def _tenants(database: Database) -> Sequence[Tenant]:
    async with database.transaction(operate(console(None))) as tx:
        return (await tenants.listed(tx, limit=_MOST_TENANTS, cursor=None)).items


async def _failed(database: Database, known: Sequence[Tenant]) -> Sequence[Remark]:
    """Failed documents, tenant by tenant: the reason is in each tenant's own list."""
    remarks = []
    for tenant in known:
        async with database.transaction(enter(console(tenant.id), Permission.METADATA)) as tx:
            shelf = Shelf(status=DocumentStatus.FAILED)
            failed = len((await documents.listed(tx, shelf, limit=_MOST_DOCUMENTS, cursor=None)).items)
        if failed:
            count = f"{failed} or more" if failed == _MOST_DOCUMENTS else str(failed)
            sentence = f"{count} failed in {tenant.slug}; GET /v1/documents?status=failed says why."
            remarks.append(Remark(Mark.NOTE, "documents", sentence))
    return remarks or [Remark(Mark.GOOD, "documents", f"None has failed ({len(known)} tenants looked at).")]


async def _faults(database: Database, known: Sequence[Tenant]) -> Sequence[Remark]:
    """Bytes that were found missing or damaged, tenant by tenant: the log has each."""
    remarks = []
    for tenant in known:
        async with database.transaction(enter(console(tenant.id), Permission.METADATA)) as tx:
            counted = await contents.count(tx)
        if counted.missing or counted.damaged or counted.unreadable:
            sentence = (
                f"Of {counted.versions} uploads in {tenant.slug} the bytes of {counted.missing} are missing, those of"
                f" {counted.damaged} damaged, and those of {counted.unreadable} cannot be read; upload them again."
                " `content.missing`, `content.damaged` and `content.unreadable` in the log name them."
            )
            remarks.append(Remark(Mark.WRONG, "contents", sentence))
    return remarks or [Remark(Mark.GOOD, "contents", "No uploaded bytes were found missing, damaged or unreadable.")]


async def _degraded(database: Database, known: Sequence[Tenant]) -> Sequence[Remark]:
    """Answers of the last day that a model owed, tenant by tenant: the log has each with its reason."""
    remarks, since = [], first_id(_DAY)
    for tenant in known:
        async with database.transaction(enter(console(tenant.id), Permission.METADATA)) as tx:
            degraded, answers = await chats.degraded(tx, since)
        if degraded:
            sentence = (
                f"{degraded} of the last day's {answers} answers in {tenant.slug} had to do without their model;"
                " `answer.degraded` in the log says why."
            )
            remarks.append(Remark(Mark.NOTE, "answers", sentence))
    return remarks or [Remark(Mark.GOOD, "answers", "No answer of the last day had to do without its model.")]


async def _embedder(patient: Patient) -> Sequence[Remark]:
    return [await patient.embedder()]


async def _model(patient: Patient) -> Sequence[Remark]:
    return [await patient.model()]


async def _sandbox(patient: Patient) -> Sequence[Remark]:
    walls = await patient.sandbox()
    return [Remark(Mark.GOOD if stands else Mark.NOTE, "parsers", sentence) for stands, sentence in walls]


def folder_remarks(folder: Path) -> Iterator[Remark]:
    """On a folder of uploaded bytes, and on its disk."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not _is_writable(existing):
        yield Remark(Mark.WRONG, "blobs", f"Nothing can be written to {existing}: give it to the user {os.geteuid()}.")
        return
    yield Remark(Mark.GOOD, "blobs", f"Uploaded bytes are kept in {folder}, which can be written.")
    free = shutil.disk_usage(existing).free
    sentence = f"{free / (1 << 30):.1f} GB are free on its disk."
    mark = Mark.WRONG if free < _NO_SPACE else Mark.NOTE if free < _LITTLE_SPACE else Mark.GOOD
    yield Remark(mark, "disk", sentence if mark is Mark.GOOD else f"Only {sentence}")


def _is_writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _worker(waiting: int, *, attended: bool) -> Remark:
    if attended:
        return Remark(Mark.GOOD, "worker", "A worker lives.")
    if waiting:
        return Remark(Mark.WRONG, "worker", "Jobs wait and no worker lives: start `carrel serve` or `carrel work`.")
    return Remark(Mark.NOTE, "worker", "No worker lives; `carrel serve` or `carrel work` starts one.")


def _queue(backlog: jobs.Backlog) -> Remark:
    sentence = f"{backlog.waiting} jobs are due, {backlog.running} are in hand, {backlog.later} wait for their time."
    if backlog.oldest_seconds > _LONG_WAIT:
        return Remark(Mark.WRONG, "queue", f"{sentence} The oldest has waited {backlog.oldest_seconds:.0f} seconds.")
    return Remark(Mark.GOOD, "queue", sentence)
