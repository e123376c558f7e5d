"""Settings become an application: the one place where choices are made."""

import asyncio
import ctypes
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from carrel.adapters.blobs.local import LocalBlobs
from carrel.adapters.lexical.analyzer import EnglishAnalyzer
from carrel.adapters.lexical.postgres import PostgresWords
from carrel.adapters.models.extractive import Extractive
from carrel.adapters.parsers.media import SUPPORTED, media_type_of
from carrel.adapters.vectors.pgvector import PgvectorIndexes
from carrel.ask.answer import Answerer
from carrel.ask.pipeline import Asking
from carrel.ask.question import Asker
from carrel.ask.retrieve import Retriever
from carrel.domain.errors import Refusal
from carrel.domain.jobs import JobKind
from carrel.ingest.desk import Desk
from carrel.ingest.forget import Forgetting, Purge
from carrel.ingest.index import Indexer
from carrel.ingest.pipeline import Ingestion, Tools, Work
from carrel.ingest.retry import Retries
from carrel.ingest.sweep import Sweep
from carrel.ingest.upload import Uploads
from carrel.ingest.weigh import Weighing
from carrel.library.bots import Bots
from carrel.library.documents import Documents
from carrel.library.sources import Sources
from carrel.operate.doctor import Mark, Patient, Remark, examine
from carrel.operate.health import Health
from carrel.ports.blobs import Blobs
from carrel.ports.embedder import Embedder
from carrel.ports.lexical import Analyzer, LexicalIndexes
from carrel.ports.model import Model
from carrel.ports.parser import Parser
from carrel.ports.vectors import VectorIndexes
from carrel.settings import Settings, explained
from carrel.store import catalogue, schema
from carrel.store.schema import SchemaError
from carrel.store.transaction import Database
from carrel.telemetry import configure
from carrel.tenancy.keys import Keys
from carrel.tenancy.principals import Principals
from carrel.tenancy.tenants import Tenants

if TYPE_CHECKING:
    from carrel.adapters.embedders.minilm import Condition, MiniLM
    from carrel.adapters.parsers.sandbox import SandboxedParser

__all__ = ["Application", "Bench", "Office", "Parts", "Settings", "SettingsError", "configure", "load"]

Task = Callable[[Work], Awaitable[None]]

_PATIENCE: Final = 60.0
_PEPPER_BYTES: Final = 32


class SettingsError(Refusal):
    """A setting is wrong; the sentence names the variable."""

    default_code = "settings"


def load() -> Settings:
    """From the environment and `.env`. Raises SettingsError."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(explained(error)) from error


@dataclass(frozen=True, slots=True)
class Addresses:
    """How to reach the database, as the serving role and (for migrations) as the owner."""

    app: str
    owner: str | None


@dataclass(frozen=True, slots=True)
class Base:
    """What everything else stands on; opens quickly."""

    database: Database
    blobs: Blobs
    pepper: bytes


@dataclass(frozen=True, slots=True)
class Parts:
    """Every collaborator that could be another product."""

    base: Base
    embedder: Embedder
    analyzer: Analyzer
    vectors: VectorIndexes
    words: LexicalIndexes
    model: Model


@dataclass(frozen=True, slots=True)
class Office:
    """Everything but asking: it needs no embedder and opens quickly."""

    principals: Principals
    tenants: Tenants
    keys: Keys
    sources: Sources
    bots: Bots
    documents: Documents
    uploads: Uploads
    forgetting: Forgetting
    retries: Retries
    desk: Desk
    health: Health


@dataclass(frozen=True, slots=True)
class Application(Office):
    asking: Asking


def _office(base: Base) -> Office:
    database = base.database
    return Office(
        principals=Principals(database, pepper=base.pepper),
        tenants=Tenants(database),
        keys=Keys(database, pepper=base.pepper),
        sources=Sources(database),
        bots=Bots(database),
        documents=Documents(database, base.blobs),
        uploads=Uploads(database, base.blobs, judge_type=media_type_of),
        forgetting=Forgetting(database),
        retries=Retries(database),
        desk=Desk(database),
        health=Health(database),
    )


def assemble(parts: Parts) -> Application:
    office = _office(parts.base)
    asking = Asking(
        parts.base.database,
        Retriever(parts.base.database, parts.vectors, parts.words),
        Answerer(parts.model, patience=_PATIENCE),
        asker=Asker(parts.embedder, parts.analyzer),
        analyzer=parts.analyzer,
    )
    return Application(**{name: getattr(office, name) for name in Office.__dataclass_fields__}, asking=asking)


def tasks(parts: Parts, parser: Parser) -> dict[JobKind, Task]:
    """What a worker does with each kind of job."""
    database, blobs = parts.base.database, parts.base.blobs
    indexer = Indexer(database, parts.vectors, parts.words, analyzer=parts.analyzer)
    tools = Tools(database, blobs, parser, parts.embedder, parts.analyzer, parts.vectors, indexer)
    return {
        JobKind.INGEST: Ingestion(tools).run,
        JobKind.PURGE: Purge(database, blobs, parts.vectors, parts.words).run,
        JobKind.WEIGH: Weighing(database, parts.words).run,
    }


@asynccontextmanager
async def office(settings: Settings) -> AsyncIterator[Office]:
    async with opened(settings) as base:
        yield _office(base)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Application]:
    async with equipped(settings) as parts:
        yield assemble(parts)


@dataclass(frozen=True, slots=True)
class Bench:
    """What a worker process needs: the desk, what to do with each kind of job and how many at a time, and the sweep."""

    desk: Desk
    tasks: dict[JobKind, Task]
    concurrency: int
    lease: float
    sweep: Callable[[], Awaitable[None]]


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[Bench]:
    async with equipped(settings) as parts, parsing(settings) as parser:
        rules, sweep = settings.worker, Sweep(parts.base.database, parts.base.blobs)
        yield Bench(Desk(parts.base.database), tasks(parts, parser), rules.concurrency, rules.lease, sweep.run)


@asynccontextmanager
async def parsing(settings: Settings) -> AsyncIterator["SandboxedParser"]:
    from carrel.adapters.parsers.sandbox import SandboxedParser

    rules = settings.parser
    parser = SandboxedParser(memory=rules.memory_mb << 20, seconds=rules.seconds, wall=rules.seconds * 1.5)
    try:
        yield parser
    finally:
        await parser.close()


@asynccontextmanager
async def equipped(settings: Settings) -> AsyncIterator[Parts]:
    """The embedder loads while the database starts: on the first run each takes seconds.

    Raises what `opened` raises, and Unavailable `model_missing` with what to do.
    """
    async with _loading(settings) as embedder, opened(settings) as base:
        parts = Parts(
            base=base,
            embedder=await embedder,
            analyzer=EnglishAnalyzer(),
            vectors=PgvectorIndexes(base.database),
            words=PostgresWords(base.database),
            model=Extractive(EnglishAnalyzer()),
        )
        _return_memory()
        yield parts


@asynccontextmanager
async def _loading(settings: Settings) -> AsyncIterator["asyncio.Task[MiniLM]"]:
    task = asyncio.create_task(asyncio.to_thread(_load_embedder, settings))
    try:
        yield task
    finally:
        with suppress(Refusal):  # whoever awaited it has got it
            (await task).close()


def _load_embedder(settings: Settings) -> "MiniLM":
    from carrel.adapters.embedders import minilm

    return minilm.prepare(settings.folder, threads=settings.embedder.threads)


def _return_memory() -> None:
    """What only the start needed goes back to the system: 10 MB in each process."""
    with suppress(AttributeError):  # glibc's own
        ctypes.CDLL(None).malloc_trim(0)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Base]:
    """The database, at the present schema, all walls standing. Raises SchemaError, SettingsError, Unavailable."""
    _make_home(settings.folder)
    async with addresses(settings) as found:
        if found.owner and _migrates_itself(settings):
            await schema.migrate(found.owner, app_login=schema.login_of(found.app))
        findings = await catalogue.inspect(found.app)
        if findings:
            raise SchemaError(" ".join(finding.sentence for finding in findings))
        database = await Database.connect(
            found.app, connections=settings.database.connections, patience=settings.database.patience
        )
        try:
            yield Base(database, LocalBlobs(settings.blobs.path or settings.folder / "blobs"), pepper_of(settings))
        finally:
            await database.close()


@asynccontextmanager
async def addresses(settings: Settings) -> AsyncIterator[Addresses]:
    """Of the configured server, or of the embedded one, which runs as long as anybody uses it."""
    if settings.database.url is not None:
        owner = settings.database.owner_url
        yield Addresses(settings.database.url.get_secret_value(), owner.get_secret_value() if owner else None)
        return
    from carrel.adapters.postgres import EmbeddedPostgres

    embedded = EmbeddedPostgres(settings.folder)
    endpoint = await asyncio.to_thread(embedded.start)
    try:
        yield Addresses(endpoint.app_url, endpoint.owner_url)
    finally:
        await asyncio.to_thread(embedded.stop)


async def migrate(settings: Settings) -> bool:
    """Bring the database to the present schema. True if anything was done. Raises SchemaError, SettingsError."""
    _make_home(settings.folder)
    async with addresses(settings) as found:
        if found.owner is None:
            raise SettingsError("CARREL_DATABASE__OWNER_URL: give the owner's address; migrations run as the owner.")
        return await schema.migrate(found.owner, app_login=schema.login_of(found.app))


def formats() -> Mapping[str, str]:
    """Which file endings Carrel reads, each with its media type."""
    return SUPPORTED


def install_model(settings: Settings, file: Path) -> None:
    """Raises Invalid (`wrong_model`, `model_file_missing`) for anything but the published weights."""
    from carrel.adapters.embedders import minilm

    minilm.install(file, settings.folder)


def model(settings: Settings) -> "Condition":
    """Which embedder is in use, and whether it is ready."""
    from carrel.adapters.embedders import minilm

    return minilm.look(settings.folder)


async def doctor(settings: Settings, *, patience: float = 20.0) -> list[Remark]:
    """What is configured, reachable and wrong. Changes nothing, but starts an embedded database that sleeps."""
    embedded = settings.database.url is None
    patient = Patient(
        settings=list(_in_force(settings)),
        database=lambda: _serving_address(settings),
        advice=f"See {settings.folder}/postgres/log."
        if embedded
        else "Is CARREL_DATABASE__URL right, and does it run?",
        migrates_itself=_migrates_itself(settings),
        embedder=lambda: _weights(model(settings)),
        blobs=settings.blobs.path or settings.folder / "blobs",
        sandbox=lambda: _sandbox_report(settings),
    )
    return await examine(patient, patience=patience)


def _in_force(settings: Settings) -> Iterator[Remark]:
    yield Remark(Mark.GOOD, "home", f"Carrel keeps its own things in {settings.folder} (CARREL_HOME).")
    yield Remark(Mark.GOOD, "environment", f"This is {settings.environment} (CARREL_ENVIRONMENT).")
    if settings.database.url is None:
        yield Remark(Mark.GOOD, "database", "The database is the embedded one, in the home folder.")
        return
    parts = urlsplit(settings.database.url.get_secret_value())
    where = f"{parts.hostname}:{parts.port or 5432}{parts.path} as {parts.username}"
    yield Remark(Mark.GOOD, "database", f"The database is {where} (CARREL_DATABASE__URL).")


@asynccontextmanager
async def _serving_address(settings: Settings) -> AsyncIterator[str]:
    _make_home(settings.folder)
    async with addresses(settings) as found:
        yield found.app


def _weights(found: "Condition") -> Remark:
    if found.built:
        return Remark(Mark.GOOD, "embedder", f"The embedder {found.name} is built and ready.")
    if found.weights is not None:
        return Remark(Mark.NOTE, "embedder", f"The weights of {found.name} are here; the first start builds it.")
    sentence = f"The weights of {found.name} are missing: run `make setup` or `carrel models install FILE`."
    return Remark(Mark.WRONG, "embedder", sentence)


async def _sandbox_report(settings: Settings) -> list[tuple[bool, str]]:
    async with parsing(settings) as parser:
        return [(wall.stands, wall.sentence) for wall in await parser.sandbox_report()]


def pepper_of(settings: Settings) -> bytes:
    """From the settings, or a file that is made on the first run. Raises SettingsError for one that others can read."""
    if settings.pepper is not None:
        return settings.pepper.get_secret_value().encode()
    path = settings.folder / "secrets" / "pepper"
    if not path.exists():
        _write_once(path, secrets.token_bytes(_PEPPER_BYTES))
    if path.stat().st_mode & 0o077:
        raise SettingsError(f"CARREL_HOME: others can read {path}: run `chmod 600` on it.")
    return path.read_bytes()


def _write_once(path: Path, content: bytes) -> None:
    """Two first runs at once end with one secret: the link of the second one fails."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()


def _migrates_itself(settings: Settings) -> bool:
    """The embedded database always; another only where it has an owner's address, and never in production."""
    if settings.database.url is None:
        return True
    return settings.database.owner_url is not None and settings.environment != "production"


def _make_home(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"CARREL_HOME: the folder {folder} cannot be made: {error.strerror}.") from error
