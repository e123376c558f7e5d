"""The database: the embedded one or another, at the present schema, with all its walls standing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from carrel.adapters.parsers.media import media_type_of
from carrel.domain.hosts import KnownHosts
from carrel.domain.ids import TenantId
from carrel.domain.limits import Rates
from carrel.domain.models import Offer
from carrel.domain.prices import NO_PRICES, Prices
from carrel.domain.quotas import Quotas
from carrel.ingest.upload import JudgeType
from carrel.ports.blobs import Blobs
from carrel.ports.issuers import Issuer
from carrel.ports.limits import Limiter
from carrel.ports.web import Outgoing
from carrel.settings import Settings
from carrel.store import catalogue, schema
from carrel.store.schema import SchemaError
from carrel.store.transaction import Database, Meet
from carrel.tenancy.origins import Network, networks
from carrel.tenancy.passwords import Passwords
from carrel.wiring.blobs import blobs
from carrel.wiring.home import Secrets, SettingsError, make_home, secrets_of
from carrel.wiring.limits import in_memory, limiter, prices, quotas, rates
from carrel.wiring.login import issuer
from carrel.wiring.opened import Opened
from carrel.wiring.outgoing import outgoing, way_out
from carrel.wiring.parsing import judge_type
from carrel.wiring.providers import offer


@dataclass(frozen=True, slots=True)
class Addresses:
    """How to reach the database, as the serving role and (for migrations) as the owner; `meet` as for `connect`."""

    app: str
    owner: str | None
    meet: Meet | None = None


@dataclass(frozen=True, slots=True)
class Base:
    """What everything else stands on; opens quickly."""

    database: Database
    blobs: Blobs
    secrets: Secrets
    limiter: Limiter = field(default_factory=in_memory)
    issuer: Issuer | None = None
    passwords: Passwords = field(default_factory=Passwords)
    proxies: tuple[Network, ...] = ()
    hosts: KnownHosts = field(default_factory=KnownHosts)
    rates: Rates = field(default_factory=Rates)
    quotas: Quotas = field(default_factory=dict)
    prices: Prices = NO_PRICES
    chat_days: int | None = None
    offer: Offer = field(default_factory=Offer)
    outgoing: Callable[[TenantId], Outgoing] = field(default_factory=way_out)
    places: Opened = field(default_factory=Opened)
    judge_type: JudgeType = media_type_of


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Base]:
    """The database, at the present schema, all walls standing. Raises SchemaError, SettingsError, Unavailable."""
    make_home(settings.folder)
    async with addresses(settings) as found:
        if found.owner and migrates_itself(settings):
            await schema.migrate(found.owner, app_login=schema.login_of(found.app))
        findings = await catalogue.inspect(found.app)
        if findings:
            raise SchemaError(" ".join(finding.sentence for finding in findings))
        database = await Database.connect(
            found.app,
            connections=settings.database.connections,
            patience=settings.database.patience,
            meet=found.meet,
        )
        try:
            async with limiter(settings.limits) as counting:
                proxies = networks(settings.proxies)
                yield Base(
                    database,
                    blobs(settings),
                    secrets_of(settings),
                    counting,
                    issuer(settings),
                    proxies=proxies,
                    hosts=KnownHosts(frozenset(settings.mcp.host_list), frozenset(settings.mcp.origin_list)),
                    rates=rates(settings.limits),
                    quotas=quotas(settings.quotas),
                    prices=prices(settings.price_table),
                    chat_days=settings.chats.retention_days,
                    offer=offer(settings),
                    outgoing=outgoing(settings),
                    places=Opened.by(settings),
                    judge_type=judge_type(settings),
                )
        finally:
            await database.close()


@asynccontextmanager
async def addresses(settings: Settings) -> AsyncIterator[Addresses]:
    """Of the configured server, or of the embedded one, which runs as long as anybody uses it."""
    if settings.database.url is not None:
        owner = settings.database.owner_url
        yield Addresses(settings.database.url.get_secret_value(), owner.get_secret_value() if owner else None)
        return
    from carrel.adapters.postgres import EmbeddedPostgres, yield_like_us

    embedded = EmbeddedPostgres(settings.folder)
    endpoint = await asyncio.to_thread(embedded.start)
    try:
        yield Addresses(endpoint.app_url, endpoint.owner_url, meet=yield_like_us)
    finally:
        await asyncio.to_thread(embedded.stop)


async def migrate(settings: Settings) -> bool:
    """Bring the database to the present schema. True if anything was done. Raises SchemaError, SettingsError."""
    make_home(settings.folder)
    async with addresses(settings) as found:
        if found.owner is None:
            raise SettingsError("CARREL_DATABASE__OWNER_URL: give the owner's address; migrations run as the owner.")
        return await schema.migrate(found.owner, app_login=schema.login_of(found.app))


def migrates_itself(settings: Settings) -> bool:
    """The embedded database always; another only where it has an owner's address, and never in production."""
    if settings.database.url is None:
        return True
    return settings.database.owner_url is not None and settings.environment != "production"
