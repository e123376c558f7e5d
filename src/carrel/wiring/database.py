"""The database: the embedded one or another, at the present schema, with all its walls standing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from carrel.adapters.blobs.local import LocalBlobs
from carrel.ports.blobs import Blobs
from carrel.settings import Settings
from carrel.store import catalogue, schema
from carrel.store.schema import SchemaError
from carrel.store.transaction import Database
from carrel.wiring.home import Secrets, SettingsError, make_home, secrets_of


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
    secrets: Secrets


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
            found.app, connections=settings.database.connections, patience=settings.database.patience
        )
        try:
            yield Base(database, LocalBlobs(settings.blobs.path or settings.folder / "blobs"), secrets_of(settings))
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
