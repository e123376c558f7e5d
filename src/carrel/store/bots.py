"""Bots: profiles that read the sources that they were given, and no other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from carrel.domain.access import TenantGrant
from carrel.domain.errors import Conflict, NotFound
from carrel.domain.ids import BotId, CredentialId, SourceId, new_id
from carrel.domain.library import AttributeValue, Bot
from carrel.store import sources
from carrel.store.pages import Page, Place, page, place_of
from carrel.store.transaction import Statement, Transaction

# Both join `sources`: a private one is neither shown to another member nor taken from the bot by it.
_LISTED: Final = "bots"
_COLUMNS = """
    b.id, b.name, b.instructions, b.model, b.retrieval, b.credential_id, b.created_at,
    array(select l.source_id from bot_sources l join sources s on s.tenant_id = l.tenant_id and s.id = l.source_id
          where l.tenant_id = b.tenant_id and l.bot_id = b.id) as source_ids
"""
_ADD = Statement("""
    insert into bots (tenant_id, id, name, instructions, model, retrieval, credential_id)
    values (:tenant, :id, :name, :instructions, :model, :retrieval, :credential)
""")
_GIVE = Statement("""
    insert into bot_sources (tenant_id, bot_id, source_id)
    select :tenant, :bot, source from unnest(:sources::uuid[]) as source
""")
_TAKE = Statement("""
    delete from bot_sources l using sources s
    where l.tenant_id = :tenant and l.bot_id = :bot and l.source_id <> all (:sources::uuid[])
      and s.tenant_id = l.tenant_id and s.id = l.source_id
""")
_HELD = Statement("select source_id from bot_sources where tenant_id = :tenant and bot_id = :bot")
_GET = Statement(f"""
    select {_COLUMNS} from bots b
    where b.tenant_id = :tenant and b.id = :id and (:bots::uuid[] is null or b.id = any (:bots))
""")
_NAMED = Statement(f"""
    select {_COLUMNS} from bots b
    where b.tenant_id = :tenant and b.name = :name and (:bots::uuid[] is null or b.id = any (:bots))
""")
_LIST = Statement(f"""
    select {_COLUMNS} from bots b
    where b.tenant_id = :tenant and (:bots::uuid[] is null or b.id = any (:bots))
      and (:moment::timestamptz is null or (b.created_at, b.id) < (:moment, :id::uuid))
    order by b.created_at desc, b.id desc limit :most
""")
_CHANGE = Statement("""
    update bots set name = coalesce(:name, name), instructions = coalesce(:instructions, instructions),
                    retrieval = coalesce(:retrieval, retrieval), credential_id = coalesce(:credential, credential_id),
                    model = case when :model::text is null then model else nullif(:model, '') end
    where tenant_id = :tenant and id = :id
""")
_DELETE = Statement("delete from bots where tenant_id = :tenant and id = :id")


@dataclass(frozen=True, slots=True)
class NewBot:
    name: str
    sources: frozenset[SourceId]
    instructions: str = ""
    model: str | None = None
    retrieval: Mapping[str, AttributeValue] = field(default_factory=dict)
    credential: CredentialId | None = None


@dataclass(frozen=True, slots=True)
class BotChange:
    """None leaves a field as it is; a model without a name is the deployment's own again."""

    name: str | None = None
    sources: frozenset[SourceId] | None = None
    instructions: str | None = None
    model: str | None = None
    retrieval: Mapping[str, AttributeValue] | None = None
    credential: CredentialId | None = None


async def add(tx: Transaction, bot: NewBot) -> Bot:
    """Raises NotFound if a source or the credential is not this tenant's, Conflict `bot_exists`."""
    await sources.resolve(tx, bot.sources)
    identifier = BotId(new_id())
    try:
        await tx.run(
            _ADD,
            id=identifier,
            name=bot.name,
            instructions=bot.instructions,
            model=bot.model,
            retrieval=dict(bot.retrieval),
            credential=bot.credential,
        )
    except asyncpg.ForeignKeyViolationError as error:
        raise NotFound from error
    except asyncpg.UniqueViolationError as error:
        raise Conflict(f"A bot {bot.name!r} exists already.", code="bot_exists") from error
    await tx.run(_GIVE, bot=identifier, sources=list(bot.sources))
    return await get(tx, identifier)


async def get(tx: Transaction, bot: BotId) -> Bot:
    """Raises NotFound."""
    row = await tx.row(_GET, id=bot, bots=_limit(tx))
    if row is None:
        raise NotFound
    return _bot(row)


async def named(tx: Transaction, name: str) -> Bot | None:
    row = await tx.row(_NAMED, name=name, bots=_limit(tx))
    return _bot(row) if row else None


async def listed(tx: Transaction, *, limit: int, cursor: str | None) -> Page[Bot]:
    place = place_of(cursor, of=_LISTED)
    moment, identifier = (place.created_at, place.id) if place else (None, None)
    rows = await tx.rows(_LIST, bots=_limit(tx), moment=moment, id=identifier, most=limit + 1)
    places = [Place(row["created_at"], row["id"]) for row in rows]
    return page([_bot(row) for row in rows], places, limit, of=_LISTED)


async def change(tx: Transaction, bot: BotId, new: BotChange) -> Bot:
    """Raises NotFound for the bot, a source or a credential that is not this tenant's, Conflict `bot_exists`."""
    await get(tx, bot)
    retrieval = None if new.retrieval is None else dict(new.retrieval)
    try:
        await tx.run(
            _CHANGE,
            id=bot,
            name=new.name,
            instructions=new.instructions,
            retrieval=retrieval,
            model=new.model,
            credential=new.credential,
        )
    except asyncpg.ForeignKeyViolationError as error:
        raise NotFound from error
    except asyncpg.UniqueViolationError as error:
        raise Conflict(f"A bot {new.name!r} exists already.", code="bot_exists") from error
    if new.sources is not None:
        await _give(tx, bot, new.sources)
    return await get(tx, bot)


async def delete(tx: Transaction, bot: BotId) -> None:
    """Raises NotFound."""
    await get(tx, bot)
    await tx.run(_DELETE, id=bot)


async def _give(tx: Transaction, bot: BotId, wanted: frozenset[SourceId]) -> None:
    await sources.resolve(tx, wanted)
    held = {row["source_id"] for row in await tx.rows(_HELD, bot=bot)}
    await tx.run(_TAKE, bot=bot, sources=list(wanted))
    await tx.run(_GIVE, bot=bot, sources=list(wanted - held))


def _limit(tx: Transaction) -> list[BotId] | None:
    if isinstance(tx.grant, TenantGrant) and tx.grant.bots is not None:
        return list(tx.grant.bots)
    return None


def _bot(row: Any) -> Bot:
    return Bot(
        id=BotId(row["id"]),
        name=row["name"],
        instructions=row["instructions"],
        model=row["model"],
        retrieval=row["retrieval"],
        credential=row["credential_id"] and CredentialId(row["credential_id"]),
        sources=frozenset(map(SourceId, row["source_ids"])),
        created_at=row["created_at"],
    )
