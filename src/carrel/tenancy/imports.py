"""Import: an archive becomes a new tenant, with new ids, through the same ingestion as any upload.

The archive is judged whole before anything is written. Members come last, so nobody enters a tenant that is half there;
whatever goes wrong on the way, the tenant is given up again.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

import structlog

from carrel.domain.access import Principal, for_accounts, for_job, govern, operate
from carrel.domain.answers import ModelProblem
from carrel.domain.audit import Act
from carrel.domain.errors import Invalid
from carrel.domain.ids import BotId, ChatId, DocumentId, MessageId, TenantId, UserId, VersionId, new_id
from carrel.domain.library import ChunkRules, DocumentStatus, Duplicates, Source, Tenant, VersionRecord
from carrel.domain.origins import Bucket, Place
from carrel.domain.places import place_of
from carrel.domain.rights import Permission
from carrel.ports.intake import Intake
from carrel.store import audit, bots, documents, files, imports, records, sources
from carrel.store.bots import NewBot
from carrel.store.imports import OldChat, OldFeedback, OldMessage, Quote
from carrel.store.sources import NewSource
from carrel.store.transaction import Database
from carrel.tenancy.archive import (
    BotLine,
    ChatLine,
    DocumentLine,
    FeedbackLine,
    FileLine,
    HistoryLine,
    MemberLine,
    MessageLine,
    SettingsLine,
    SourceLine,
)
from carrel.tenancy.life import Life
from carrel.tenancy.tenants import Tenants
from carrel.tenancy.unpack import Archive, opened
from carrel.tenancy.webhooks import Webhooks, WebhookWish

log = structlog.get_logger(__name__)

_AT_ONCE: Final = 200
_LOOK: Final = 0.3

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Left:
    """A document that could not be taken."""

    key: str
    code: str


@dataclass(slots=True)
class Imported:
    """What came in. `absent` are members without a verified account of their address here: invite them."""

    tenant: Tenant
    sources: int = 0
    bots: int = 0
    webhooks: int = 0
    documents: dict[str, int] = field(default_factory=dict)
    rejected: list[Left] = field(default_factory=list)
    chats: int = 0
    messages: int = 0
    citations: int = 0
    citations_lost: int = 0
    joined: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)


class Imports:
    def __init__(self, database: Database, tenants: Tenants, life: Life, *, intake: Intake, webhooks: Webhooks) -> None:
        self._database = database
        self._tenants = tenants
        self._life = life
        self._intake = intake
        self._webhooks = webhooks

    async def judge(self, path: Path) -> Archive:
        """Reads everything, writes nothing. Raises Invalid `archive_damaged`, `archive_version`, `archive_invalid`."""
        return await asyncio.to_thread(opened, path)

    async def run(self, principal: Principal, archive: Archive, *, slug: str | None = None) -> Imported:
        """Until every document is ready or failed. Raises Denied, Conflict `tenant_exists`, Invalid `invalid_slug`."""
        operate(principal)
        tenant = await self._tenants.create(principal, archive.tenant.name, slug=slug or archive.tenant.slug)
        try:
            arrival = _Arrival(self._database, self._intake, archive, Imported(tenant), webhooks=self._webhooks)
            done = await arrival.run(principal.user)
            async with self._database.transaction(govern(principal, Permission.TENANT, tenant.id)) as tx:
                facts = {"documents": sum(done.documents.values()), "rejected": len(done.rejected)}
                await audit.record(tx, Act.TENANT_IMPORTED, tenant.id, facts=facts)
        except BaseException:
            await self._life.delete(principal, tenant.id)
            raise
        log.info("tenant.imported", tenant=str(tenant.id), documents=sum(done.documents.values()))
        return done


class _Arrival:
    """One import, step by step; the maps lead from the archive's ids to those that they have here."""

    def __init__(
        self, database: Database, intake: Intake, archive: Archive, done: Imported, *, webhooks: Webhooks
    ) -> None:
        self._webhooks = webhooks
        self._database = database
        self._intake = intake
        self._archive = archive
        self._done = done
        self._tenant: TenantId = done.tenant.id
        self._people: dict[UUID, UserId] = {}
        self._bots: dict[UUID, BotId] = {}
        self._sources: dict[UUID, Source] = {}
        self._documents: dict[UUID, DocumentId] = {}
        self._homes: dict[UUID, Source] = {}

    async def run(self, importer: UserId | None) -> Imported:
        """The console is the same user everywhere, so `importer` keeps what it asked."""
        if importer is not None:
            self._people[importer] = importer
        await self._find_people()
        await self._make_bots()
        await self._make_sources()
        await self._bring_documents()
        await self._bring_files()
        await self._wait()
        await self._keep_history()
        await self._give_places()
        await self._keep_chats()
        await self._make_webhooks()
        await self._let_in()
        return self._done

    def _owner(self, old: UUID | None) -> UserId | None:
        """The same person by the address; what a key or a stranger owned stays apart, and nobody's to read."""
        if old is None:
            return None
        return self._people.get(old) or UserId(uuid.uuid5(self._tenant, str(old)))

    async def _find_people(self) -> None:
        for some in _batches(self._archive.lines("members.jsonl", MemberLine)):
            async with self._database.transaction(for_accounts(tenant=self._tenant)) as tx:
                found = await imports.accounts(tx, [member.email for member in some])
            self._people.update({member.id: found[member.email] for member in some if member.email in found})

    async def _make_bots(self) -> None:
        for bot in self._archive.lines("bots.jsonl", BotLine):
            wish = NewBot(bot.name, frozenset(), bot.instructions, bot.model, dict(bot.retrieval))
            async with self._database.transaction(for_job(self._tenant, None)) as tx:
                self._bots[bot.id] = (await bots.add(tx, wish)).id
            self._done.bots += 1

    async def _make_sources(self) -> None:
        for line in self._archive.lines("sources.jsonl", SourceLine):
            owner = self._owner(line.owner_id)
            rules = ChunkRules(line.chunk_size, line.chunk_overlap)
            wish = NewSource(line.name, line.kind, line.duplicates, rules, owner)
            async with self._database.transaction(for_job(self._tenant, owner)) as tx:
                made = await sources.add(tx, wish)
                await imports.give(tx, made.id, [self._bots[bot] for bot in line.bots])
            self._sources[line.id] = made
            self._done.sources += 1

    async def _bring_documents(self) -> None:
        missing = set(self._archive.manifest.blobs.missing)
        for line in self._archive.lines("documents.jsonl", DocumentLine):
            if line.current.id in missing:
                self._done.rejected.append(Left(line.key, "content_missing"))
                continue
            try:
                await self._bring(line)
            except Invalid as refusal:
                self._done.rejected.append(Left(line.key, refusal.code))

    async def _bring(self, line: DocumentLine) -> None:
        source, version = self._sources[line.source_id], line.current
        grant = for_job(self._tenant, source.owner)
        taking = replace(source, duplicates=Duplicates.ALLOW)  # it may have twins from before it rejected any
        content = _read(self._archive.blob(version.id))
        document = await self._intake.bring(grant, taking, line.key, content, media_type=version.media_type)
        if line.attributes:
            async with self._database.transaction(grant) as tx:
                await documents.describe(tx, document, line.attributes)
        self._documents[line.id], self._homes[line.id] = document, source

    async def _bring_files(self) -> None:
        missing = set(self._archive.manifest.blobs.missing)
        for line in self._archive.lines("files.jsonl", FileLine):
            owner = self._owner(line.owner_id)
            grant = for_job(self._tenant, owner)
            if line.id in missing or owner is None:
                continue
            content = _read(self._archive.blob(line.id))
            file = await self._intake.keep(grant, line.name, content, purpose=line.purpose, media_type=line.media_type)
            async with self._database.transaction(grant) as tx:
                for old in line.documents:
                    if old in self._documents:
                        await files.link(tx, file, self._documents[old], self._homes[old])

    async def _wait(self) -> None:
        """Until a worker has done them all."""
        counted: dict[str, int] = dict.fromkeys(DocumentStatus, 0)
        for source in self._sources.values():
            while True:
                async with self._database.transaction(for_job(self._tenant, source.owner)) as tx:
                    found = (await sources.get(tx, source.id)).documents
                if not found[DocumentStatus.PENDING] and not found[DocumentStatus.PROCESSING]:
                    break
                await asyncio.sleep(_LOOK)
            for status, count in found.items():
                counted[status] += count
        self._done.documents = {status: count for status, count in counted.items() if count}

    async def _keep_history(self) -> None:
        """The version that was brought takes the number and the times that it had; the others are remembered."""
        for line in self._archive.lines("documents.jsonl", DocumentLine):
            if not line.history or line.id not in self._documents:
                continue
            current = [record for record in line.history if record.id == line.current.id]
            former = [record for record in line.history if record.id != line.current.id]
            document, source = self._documents[line.id], self._homes[line.id]
            async with self._database.transaction(for_job(self._tenant, source.owner)) as tx:
                for record in current:
                    await records.resume(tx, document, self._record(record))
                await records.remember(tx, document, source, [self._record(record) for record in former])

    def _record(self, line: HistoryLine) -> VersionRecord:
        return VersionRecord(
            id=VersionId(imports.reissued(line.id, new_id())),
            number=line.number,
            fingerprint=line.sha256,
            media_type=line.media_type,
            size=line.size,
            chunks=line.chunks,
            brought_by=self._people.get(line.brought_by) if line.brought_by else None,
            created_at=line.created_at,
            live_from=line.live_from,
            live_until=line.live_until,
        )

    async def _give_places(self) -> None:
        """At last, or they would be walked; a paused source's documents would never be read."""
        for line in self._archive.lines("sources.jsonl", SourceLine):
            place, source = _elsewhere(line), self._sources[line.id]
            if place is not None:
                async with self._database.transaction(for_job(self._tenant, source.owner)) as tx:
                    await sources.pause(tx, source.id, paused=True)
                    await sources.replace(tx, source.id, place, line.schedule)

    async def _keep_chats(self) -> None:
        owners: dict[UUID, UserId] = {}
        lines = self._archive.lines("chats.jsonl", ChatLine)
        for old, chats in groupby(lines, key=lambda chat: chat.owner_id):
            owner = self._owner(old)
            assert owner is not None
            for some in _batches(chats):
                owners.update(dict.fromkeys([chat.id for chat in some], owner))
                async with self._database.transaction(for_job(self._tenant, owner)) as tx:
                    await imports.add_chats(tx, owner, [self._chat(chat) for chat in some])
                self._done.chats += len(some)
        await self._keep_messages(owners)

    async def _keep_messages(self, owners: Mapping[UUID, UserId]) -> None:
        lines = self._archive.lines("messages.jsonl", MessageLine)
        for owner, messages in groupby(lines, key=lambda message: owners[message.chat_id]):
            for some in _batches(messages):
                async with self._database.transaction(for_job(self._tenant, owner)) as tx:
                    kept = await imports.add_messages(tx, owner, [self._message(message) for message in some])
                self._done.messages += len(some)
                self._done.citations += kept
                self._done.citations_lost += sum(len(message.citations) for message in some) - kept

    def _chat(self, line: ChatLine) -> OldChat:
        bot = self._bots[line.bot_id] if line.bot_id else None
        return OldChat(
            id=self._chat_id(line.id),
            bot=bot,
            end_user=line.end_user,
            title=line.title,
            created_at=line.created_at,
            updated_at=line.updated_at or line.created_at,
        )

    def _message(self, line: MessageLine) -> OldMessage:
        quotes = {
            citation.n: Quote(self._documents[citation.document_id], bytes.fromhex(citation.text_hash))
            for citation in line.citations
            if citation.text_hash and citation.document_id in self._documents
        }
        named = {citation.n for citation in line.citations if citation.n < 1}
        return OldMessage(
            id=MessageId(imports.reissued(line.id, new_id())),
            chat=self._chat_id(line.chat_id),
            question=line.question,
            status=line.status,
            answer=line.answer,
            model=line.model,
            input_tokens=line.input_tokens,
            output_tokens=line.output_tokens,
            created_at=line.created_at,
            citations=quotes,
            guidance=tuple(line.guidance) if named <= quotes.keys() else (),
            problem=ModelProblem(line.problem_code, line.problem_detail or "") if line.problem_code else None,
            asked=line.asked,
            grounding=line.grounding,
            unsupported=tuple(line.unsupported),
            said=None if line.feedback is None else self._feedback(line.feedback),
        )

    def _feedback(self, line: FeedbackLine) -> OldFeedback:
        bot = None if line.bot_id is None else self._bots.get(line.bot_id)  # it may be gone since
        return OldFeedback(line.rating, line.reason, bot, line.created_at, line.updated_at)

    def _chat_id(self, old: UUID) -> ChatId:
        return ChatId(uuid.uuid5(self._tenant, str(old)))

    async def _make_webhooks(self) -> None:
        """Each with a new secret, and switched off: the receiver must be told the secret first."""
        for settings in self._archive.lines("settings.json", SettingsLine):
            for line in settings.webhooks:
                named = None if line.source_ids is None else [self._sources[old] for old in line.source_ids]
                shared = None if named is None else frozenset(source.id for source in named if source.owner is None)
                wish = WebhookWish(line.url, frozenset(line.events), shared, line.description)
                await self._webhooks.bring(for_job(self._tenant, None), wish)
                self._done.webhooks += 1

    async def _let_in(self) -> None:
        """Those who have an account here, with the role that they had."""
        for member in self._archive.lines("members.jsonl", MemberLine):
            user = self._people.get(member.id)
            if user is None:
                self._done.absent.append(member.email)
                continue
            async with self._database.transaction(for_accounts(tenant=self._tenant)) as tx:
                await imports.join(tx, user, member.role, member.status)
            self._done.joined.append(member.email)


def _elsewhere(line: SourceLine) -> Place | None:
    """The place is another deployment's: the source is paused until somebody has looked. No credential came along."""
    place = place_of(line.kind, line.place)
    return replace(place, credential=None) if isinstance(place, Bucket) else place


def _batches(items: Iterator[Item]) -> Iterator[list[Item]]:
    while some := list(islice(items, _AT_ONCE)):
        yield some


async def _read(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece
