"""A tenant with at least one row in every table, made by the application itself wherever it makes such rows."""

import uuid
from dataclasses import dataclass

from carrel.ask.pipeline import ChatWish, Done
from carrel.domain.access import Principal, for_job
from carrel.domain.answers import Remembered
from carrel.domain.chats import Rating
from carrel.domain.files import Attachment
from carrel.domain.ids import BotId, ChunkId, DocumentId, GenerationId, SourceId, VersionId
from carrel.domain.jobs import JobKind
from carrel.domain.library import DocumentStatus, Outcome, Source
from carrel.domain.quotas import Quota, Resource
from carrel.domain.secret import Secret
from carrel.domain.webhooks import Occasion
from carrel.ingest.upload import Delivery
from carrel.library.files import NewFile
from carrel.operate.seal import Sealer
from carrel.store import jobs, layouts, quotas, source_items, source_runs, sources
from carrel.store.bots import NewBot
from carrel.store.idempotency import Memo, StoredAnswer
from carrel.store.quotas import Wanted
from carrel.store.source_items import Seen
from carrel.store.sources import NewSource
from carrel.tenancy.credentials import CredentialWish
from carrel.tenancy.webhooks import WebhookWish
from support.raw import Raw, tenant_tables
from support.stand import Stand
from support.tenants import SomeTenant, a_tenant, pieces

# A word that occurs in one tenant only, so that whatever holds another tenant's word is a leak.
TEXT = """# Payment service of {word}

The payment service of {word} listens on port {port}. Its owner is the team {word}.

## March outage of {word}

In March the ledger of {word} was down for {port} minutes.
"""


@dataclass(frozen=True)
class Furnished:
    tenant: SomeTenant
    principal: Principal
    word: str
    source: SourceId
    private: SourceId
    bot: BotId
    document: DocumentId
    private_document: DocumentId
    version: VersionId
    generation: GenerationId
    chunks: tuple[ChunkId, ...]
    remembered: Remembered


async def furnish(carrel: Stand, name: str, superuser: Raw) -> Furnished:
    tenant = await a_tenant(carrel.app, name)
    word = f"zq{uuid.uuid4().hex[:10]}"
    principal = await tenant.principal()
    source = await tenant.source("runbooks")
    private = await carrel.app.sources.create(principal, NewSource("diary", owner=principal.user))
    bot = await carrel.app.bots.create(tenant.console, NewBot("helper", frozenset({source.id})))
    document = await tenant.put(source.id, f"{word}.md", TEXT.format(word=word, port=7000))
    assert document.status is DocumentStatus.READY
    hidden = await _put_privately(carrel, principal, private.id, TEXT.format(word=f"hidden{word}", port=8000))
    remembered = await ask(carrel, principal, f"On which port does the payment service of {word} listen?")
    await carrel.app.chats.rate(principal, remembered.message, Rating.DOWN, f"It says {word} too often.")
    await carrel.app.retention.set(tenant.console, tenant.id, 365)
    await superuser.execute(_PEOPLE, tenant.id, uuid.uuid4(), f"{uuid.uuid4()}@people.example")
    await _leave_traces(carrel, tenant, principal, source.id)
    await _attach(carrel, principal, word)
    rows = await superuser.fetch("select id, generation_id from chunks where document_id = $1", document.id)
    furnished = Furnished(
        tenant=tenant,
        principal=principal,
        word=word,
        source=source.id,
        private=private.id,
        bot=bot.id,
        document=document.id,
        private_document=hidden,
        version=document.version,
        generation=GenerationId(rows[0]["generation_id"]),
        chunks=tuple(ChunkId(row["id"]) for row in rows),
        remembered=remembered,
    )
    assert not await empty_tables(superuser, tenant)
    return furnished


async def ask(carrel: Stand, principal: Principal, message: str) -> Remembered:
    allowed = await carrel.app.asking.allow(principal, ChatWish(message))
    events = [event async for event in carrel.app.asking.chat(allowed)]
    done = events[-1]
    assert isinstance(done, Done)
    return done.remembered


async def empty_tables(superuser: Raw, tenant: SomeTenant) -> list[str]:
    """The tables that would make a test of walls prove nothing."""
    return [
        table
        for table in await tenant_tables(superuser)
        if not await superuser.fetchval(f"select exists (select from {table} where tenant_id = $1)", tenant.id)
    ]


async def _put_privately(carrel: Stand, principal: Principal, source: SourceId, text: str) -> DocumentId:
    dock = await carrel.app.uploads.dock(principal, source)
    delivery = await carrel.app.uploads.deliver(dock, "diary.md", pieces(text.encode()), declared=None)
    document = await carrel.app.uploads.settled(dock, delivery, seconds=30)
    assert document.status is DocumentStatus.READY
    return document.id


async def _attach(carrel: Stand, principal: Principal, word: str) -> None:
    """A file that somebody brought, and a document that was made of it."""
    source = await carrel.app.sources.create(principal, NewSource("attached"))
    async with carrel.app.files.counter(principal, expects=None) as counter:
        blob = await carrel.app.files.stage(counter, pieces(f"A list of berths, of {word}.".encode()))
        file = await carrel.app.files.keep(counter, NewFile("berths.txt", "assistants", "text/plain", blob))
    batch = await carrel.app.attaching.attach_all(principal, source.id, [Attachment(file.id)])
    dock = await carrel.app.uploads.dock(principal, source.id)
    for document in batch.documents.values():
        delivery = Delivery(document.key, Outcome.CREATED, document.id)
        assert (await carrel.app.uploads.settled(dock, delivery, seconds=30)).status is DocumentStatus.READY


_PEOPLE = """
    with person as (insert into users (id, email, name) values ($2, $3, 'Somebody') returning id),
         member as (insert into memberships (tenant_id, user_id, role) select $1, id, 'viewer' from person)
    insert into invitations (tenant_id, id, email, role, mac, expires_at) values ($1, $2, $3, 'viewer', '', now())
"""


async def _leave_traces(carrel: Stand, tenant: SomeTenant, principal: Principal, source: SourceId) -> None:
    """A memo, a receipt, a credential, a webhook, seals, statistics, own tables not used yet, and a job that waits."""
    doomed = await tenant.put(source, "doomed.md", "# Doomed\n\nThis will be forgotten.\n")
    await carrel.app.forgetting.document(principal, doomed.id)
    memo = Memo(uuid.uuid4(), "once", b"hash", _rendered)
    await carrel.app.sources.create(principal, NewSource("made once"), memo=memo)
    await carrel.app.credentials.create(tenant.console, CredentialWish("main", "openai", Secret("sk-0123456789")))
    hook = WebhookWish("http://127.0.0.1:1/", frozenset({Occasion.QUOTA_THRESHOLD}), None, f"Of {tenant.slug}.")
    await carrel.app.webhooks.test(tenant.console, (await carrel.app.webhooks.create(tenant.console, hook)).webhook.id)
    await Sealer(carrel.database, margin=0).run()
    grant = for_job(tenant.id, None)
    async with carrel.database.transaction(grant) as tx:
        await jobs.enqueue(tx, JobKind.INGEST, uuid.uuid4(), delay=86_400)
        await layouts.open_own(tx)
        await quotas.reserve(tx, Wanted(bytes=1), {Resource.BYTES: Quota(hard=10**9)})
        walked = await sources.find(tx, source)
        run = await source_runs.begin(tx, walked)
        seen = Seen("seen.md", DocumentId(uuid.uuid4()), "tag", b"fingerprint")
        await source_items.remember(tx, walked, seen, source_items.Known(), run=run)
    await carrel.parts.words.of(grant).weigh()


def _rendered(made: Source) -> StoredAnswer:
    return StoredAnswer(201, {"made": str(made.id)})
