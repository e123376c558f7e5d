"""The journeys with their collaborators: for the doors that need all of them, and for those that need few."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from carrel.adapters.lexical.analyzer import EnglishAnalyzer
from carrel.adapters.lexical.postgres import PostgresWords
from carrel.adapters.vectors.pgvector import PgvectorIndexes
from carrel.ask.across import Across
from carrel.ask.answer import Answerer
from carrel.ask.chats import Chats
from carrel.ask.pipeline import Asking
from carrel.ask.question import Asker
from carrel.ask.retrieve import Retriever
from carrel.ask.turns import RunningTurns
from carrel.ask.vectors import Embeddings
from carrel.domain.errors import Refusal
from carrel.domain.hosts import KnownHosts
from carrel.domain.jobs import JobKind
from carrel.domain.layout import Thresholds
from carrel.ingest.attach import Attaching
from carrel.ingest.desk import Desk
from carrel.ingest.farewell import Farewell
from carrel.ingest.forget import Emptying, Forgetting, Purge
from carrel.ingest.index import Indexer
from carrel.ingest.pipeline import Ingestion, Tools
from carrel.ingest.reshape import Reshaping
from carrel.ingest.retry import Retries
from carrel.ingest.scrub import Scrub
from carrel.ingest.sweep import Sweep
from carrel.ingest.text import Texts
from carrel.ingest.upload import Uploads
from carrel.ingest.weigh import Weighing
from carrel.library.bots import Bots
from carrel.library.documents import Documents
from carrel.library.files import Files
from carrel.library.progress import Watching
from carrel.library.refreshes import Refreshes
from carrel.library.sources import Sources
from carrel.operate.audit import Audit
from carrel.operate.health import Health
from carrel.operate.seal import Sealer
from carrel.ports.embedder import Embedder
from carrel.ports.lexical import Analyzer, LexicalIndexes
from carrel.ports.model import MOST_ANSWER_TOKENS, Models
from carrel.ports.parser import Parser
from carrel.ports.vectors import VectorIndexes
from carrel.settings import Settings
from carrel.tenancy.brakes import Brakes
from carrel.tenancy.credentials import Credentials
from carrel.tenancy.destroy import Destroying
from carrel.tenancy.dispatch import Dispatch
from carrel.tenancy.export import Exports
from carrel.tenancy.groups import GroupGrants
from carrel.tenancy.imports import Imports
from carrel.tenancy.invitations import Invitations
from carrel.tenancy.keys import Keys
from carrel.tenancy.life import Life
from carrel.tenancy.limits import Gate
from carrel.tenancy.logins import Exchange, IssuerLogins
from carrel.tenancy.mailroom import Mailroom
from carrel.tenancy.members import Members
from carrel.tenancy.principals import Principals
from carrel.tenancy.quotas import Allowances
from carrel.tenancy.refusals import Refusals
from carrel.tenancy.retention import Retention
from carrel.tenancy.tenants import Tenants
from carrel.tenancy.tidy import Tidying
from carrel.tenancy.tokens import AccessTokens
from carrel.tenancy.webhooks import Webhooks
from carrel.wiring import embedders, memory
from carrel.wiring.credentials import credentials
from carrel.wiring.database import Base, opened
from carrel.wiring.embedders import Loaded
from carrel.wiring.entrance import Entrance, entrance
from carrel.wiring.fetching import Fetching, fetching
from carrel.wiring.intake import UploadIntake
from carrel.wiring.mail import mailer, mailroom
from carrel.wiring.memory import Task
from carrel.wiring.origins import places
from carrel.wiring.parsing import parsing
from carrel.wiring.providers import providers
from carrel.wiring.webhooks import dispatch, webhooks


@dataclass(frozen=True, slots=True)
class Parts:
    """Every collaborator that could be another product, and when a tenant is large.

    `questions` is the embedder as it reads questions; None where it reads them like texts.
    """

    base: Base
    embedder: Embedder
    analyzer: Analyzer
    vectors: VectorIndexes
    words: LexicalIndexes
    models: Models
    thresholds: Thresholds = field(default_factory=Thresholds)
    answer_tokens: int = MOST_ANSWER_TOKENS
    questions: Embedder | None = None


@dataclass(frozen=True, slots=True)
class Office:
    """Everything but asking: it needs no embedder and opens quickly."""

    principals: Principals
    entrance: Entrance
    exchange: Exchange
    groups: GroupGrants
    tenants: Tenants
    life: Life
    exports: Exports
    imports: Imports
    keys: Keys
    credentials: Credentials
    webhooks: Webhooks
    audit: Audit
    gate: Gate
    allowances: Allowances
    refusals: Refusals
    members: Members
    invitations: Invitations
    sources: Sources
    refreshes: Refreshes
    bots: Bots
    documents: Documents
    files: Files
    uploads: Uploads
    texts: Texts
    attaching: Attaching
    forgetting: Forgetting
    retries: Retries
    chats: Chats
    retention: Retention
    desk: Desk
    health: Health
    hosts: KnownHosts


@dataclass(frozen=True, slots=True)
class Application(Office):
    asking: Asking
    across: Across
    embeddings: Embeddings
    turns: RunningTurns
    watching: Watching


def _office(base: Base) -> Office:
    database, secrets = base.database, base.secrets
    tokens, refusals = AccessTokens(secrets.master_keys), Refusals(database)
    tenants, life = Tenants(database), Life(database)
    files = Files(database, base.blobs, quotas=base.quotas)
    uploads = Uploads(database, base.blobs, judge_type=base.judge_type, quotas=base.quotas)
    return Office(
        principals=_principals(base, tokens, refusals),
        entrance=entrance(base, tokens),
        exchange=Exchange(database, tokens),
        groups=GroupGrants(database, issuer=base.issuer.name if base.issuer else None),
        tenants=tenants,
        life=life,
        exports=Exports(database, base.blobs),
        imports=Imports(database, tenants, life, intake=UploadIntake(uploads, files), webhooks=webhooks(base)),
        keys=Keys(database, pepper=secrets.pepper),
        credentials=credentials(base),
        webhooks=webhooks(base),
        audit=Audit(database),
        gate=Gate(database, base.limiter, base.rates),
        allowances=Allowances(database, defaults=base.quotas),
        refusals=refusals,
        members=Members(database),
        invitations=Invitations(database, Brakes(base.limiter, pepper=secrets.pepper), pepper=secrets.pepper),
        sources=Sources(database, places(base)),
        refreshes=Refreshes(database),
        bots=Bots(database, base.offer),
        documents=Documents(database, base.blobs),
        files=files,
        uploads=uploads,
        texts=Texts(database, uploads),
        attaching=Attaching(database, base.blobs, uploads),
        forgetting=Forgetting(database),
        retries=Retries(database),
        chats=Chats(database),
        retention=Retention(database, days=base.chat_days),
        desk=Desk(database),
        health=Health(database),
        hosts=base.hosts,
    )


def _principals(base: Base, tokens: AccessTokens, refusals: Refusals) -> Principals:
    logins = IssuerLogins(base.database, base.issuer) if base.issuer else None
    return Principals(base.database, pepper=base.secrets.pepper, tokens=tokens, logins=logins, refusals=refusals)


def assemble(parts: Parts) -> Application:
    office = _office(parts.base)
    asking = Asking(
        parts.base.database,
        Retriever(parts.base.database, parts.vectors, parts.words),
        Answerer(most_tokens=parts.answer_tokens),
        models=parts.models,
        asker=Asker(parts.questions or parts.embedder, parts.analyzer),
        analyzer=parts.analyzer,
        quotas=parts.base.quotas,
        prices=parts.base.prices,
    )
    across = Across(parts.base.database, asking, gate=office.gate)
    fields = {name: getattr(office, name) for name in Office.__dataclass_fields__}
    embeddings = Embeddings(parts.base.database, parts.embedder, quotas=parts.base.quotas, prices=parts.base.prices)
    return Application(
        **fields,
        asking=asking,
        across=across,
        turns=RunningTurns(),
        watching=Watching(parts.base.database),
        embeddings=embeddings,
    )


def tasks(parts: Parts, parser: Parser) -> dict[JobKind, Task]:
    """What a worker does with each kind of job."""
    database, blobs = parts.base.database, parts.base.blobs
    indexer = Indexer(database, parts.vectors, parts.words, analyzer=parts.analyzer)
    tools = Tools(database, blobs, parser, parts.embedder, parts.analyzer, parts.vectors, indexer)
    destroying = Destroying(database, blobs)
    return {
        JobKind.DESTROY: lambda work: destroying.run(work.grant, work.claim),
        JobKind.INGEST: memory.returning(Ingestion(tools).run),
        JobKind.EMPTY: Emptying(database).run,
        JobKind.PURGE: Purge(database, blobs, parts.vectors, parts.words).run,
        JobKind.WEIGH: memory.returning(Weighing(database, parts.words, parts.thresholds).run),
        JobKind.RESHAPE: Reshaping(database, parts.thresholds).run,
        JobKind.FAREWELL: Farewell(database, blobs).run,
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
    drain: float
    sweep: Callable[[], Awaitable[None]]
    sealer: Sealer
    mailroom: Mailroom
    dispatch: Dispatch
    tidy: Callable[[], Awaitable[None]]
    forget_chats: Callable[[], Awaitable[None]]
    scrub: Callable[[], Awaitable[None]]
    fetching: Fetching
    rest: Callable[[], None]


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[Bench]:
    memory.allocate_in_one_place()
    async with equipped(settings) as parts, parsing(settings) as parser:
        rules, sweep = settings.worker, Sweep(parts.base.database, parts.base.blobs, thresholds=parts.thresholds)
        post, tidying = mailroom(parts.base, mailer(settings)), Tidying(parts.base.database)
        yield Bench(
            Desk(parts.base.database),
            tasks(parts, parser),
            rules.concurrency,
            rules.lease,
            rules.drain,
            sweep.run,
            Sealer(parts.base.database),
            post,
            dispatch(parts.base),
            tidying.run,
            Retention(parts.base.database, days=parts.base.chat_days).sweep,
            Scrub(parts.base.database, parts.base.blobs, days=settings.blobs.scrub_days).run,
            fetching(parts.base),
            memory.rest,
        )


@asynccontextmanager
async def equipped(settings: Settings) -> AsyncIterator[Parts]:
    """The embedder loads while the database starts: on the first run each takes seconds.

    Raises what `opened` raises, and Unavailable `model_missing` with what to do.
    """
    async with (
        _loading(settings) as embedder,
        opened(settings) as base,
        providers(settings, credentials(base)) as models,
    ):
        loaded = await embedder
        parts = Parts(
            base=base,
            embedder=loaded.texts,
            questions=loaded.questions,
            analyzer=EnglishAnalyzer(),
            vectors=PgvectorIndexes(base.database),
            words=PostgresWords(base.database),
            models=models,
            thresholds=Thresholds(settings.layout.promote_at, settings.layout.demote_below),
            answer_tokens=settings.answers.tokens,
        )
        memory.give_back()
        yield parts


@asynccontextmanager
async def _loading(settings: Settings) -> AsyncIterator["asyncio.Task[Loaded]"]:
    task = asyncio.create_task(embedders.load(settings))
    try:
        yield task
    finally:
        with suppress(Refusal):  # whoever awaited it has got it
            await (await task).close()
