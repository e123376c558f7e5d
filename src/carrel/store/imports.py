"""What an archive brings into a new tenant, beside documents: bots' sources, members, chats with their citations."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from carrel.domain.ids import BotId, ChatId, ChunkId, DocumentId, MessageId, SourceId, UserId
from carrel.domain.rights import Role
from carrel.store.transaction import Statement, Transaction

_GIVE: Final = Statement("""
    insert into bot_sources (tenant_id, bot_id, source_id)
    select :tenant, bot, :source from unnest(:bots::uuid[]) as bot
""")
_ACCOUNTS: Final = Statement("""
    select id, email from users where email = any (:emails) and verified_at is not null and status = 'active'
""")
_JOIN: Final = Statement("""
    insert into memberships (tenant_id, user_id, role, status) values (:tenant, :user, :role, :status)
""")
_CHAT: Final = Statement("""
    insert into chats (tenant_id, id, owner_id, bot_id, end_user, created_at)
    values (:tenant, :id, :owner, :bot, :end_user, :created_at)
""")
_MESSAGE: Final = Statement("""
    insert into messages (tenant_id, id, chat_id, owner_id, question, status, answer, model, input_tokens,
                          output_tokens, created_at)
    values (:tenant, :id, :chat, :owner, :question, :status, :answer, :model, :input_tokens, :output_tokens,
            :created_at)
""")
_CITATION: Final = Statement("""
    insert into citations (tenant_id, message_id, n, chunk_id, document_id)
    values (:tenant, :message, :n, :chunk, :document)
""")
_SAME_TEXT: Final = Statement("""
    select c.document_id, c.text_hash, min(c.id::text)::uuid as id
    from chunks c join documents d on d.tenant_id = c.tenant_id and d.live_version_id = c.version_id
    where c.tenant_id = :tenant and c.document_id = any (:documents) and c.text_hash = any (:hashes)
    group by 1, 2
""")


@dataclass(frozen=True, slots=True)
class Quote:
    """A place of a text: which document, and the hash of the chunk's text."""

    document: DocumentId
    text_hash: bytes


@dataclass(frozen=True, slots=True)
class OldChat:
    id: ChatId
    bot: BotId | None
    end_user: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class OldMessage:
    """`citations` by their number."""

    id: MessageId
    chat: ChatId
    question: str
    status: str
    answer: str
    model: str
    input_tokens: int
    output_tokens: int
    created_at: datetime
    citations: dict[int, Quote]


async def give(tx: Transaction, source: SourceId, bots: Collection[BotId]) -> None:
    await tx.run(_GIVE, source=source, bots=list(bots))


async def accounts(tx: Transaction, emails: Collection[str]) -> dict[str, UserId]:
    """Those of the addresses that somebody here has proved to be theirs."""
    rows = await tx.rows(_ACCOUNTS, emails=list(emails))
    return {row["email"]: UserId(row["id"]) for row in rows}


async def join(tx: Transaction, user: UserId, role: Role, status: str) -> None:
    await tx.run(_JOIN, user=user, role=role, status=status)


async def add_chats(tx: Transaction, owner: UserId, chats: Sequence[OldChat]) -> None:
    await tx.run_many(
        _CHAT,
        [
            {
                "id": chat.id,
                "owner": owner,
                "bot": chat.bot,
                "end_user": chat.end_user,
                "created_at": chat.created_at,
            }
            for chat in chats
        ],
    )


async def add_messages(tx: Transaction, owner: UserId, messages: Sequence[OldMessage]) -> int:
    """How many citations were kept: those whose text is here again."""
    await tx.run_many(
        _MESSAGE,
        [
            {
                "id": message.id,
                "chat": message.chat,
                "owner": owner,
                "question": message.question,
                "status": message.status,
                "answer": message.answer,
                "model": message.model,
                "input_tokens": message.input_tokens,
                "output_tokens": message.output_tokens,
                "created_at": message.created_at,
            }
            for message in messages
        ],
    )
    found = await _same_text(tx, {quote for message in messages for quote in message.citations.values()})
    kept = [
        {"message": message.id, "n": n, "chunk": found[quote], "document": quote.document}
        for message in messages
        for n, quote in message.citations.items()
        if quote in found
    ]
    await tx.run_many(_CITATION, kept)
    return len(kept)


async def _same_text(tx: Transaction, quotes: Collection[Quote]) -> dict[Quote, ChunkId]:
    rows = await tx.rows(
        _SAME_TEXT,
        documents=list({quote.document for quote in quotes}),
        hashes=list({quote.text_hash for quote in quotes}),
    )
    return {Quote(DocumentId(row["document_id"]), row["text_hash"]): ChunkId(row["id"]) for row in rows}


def reissued(old: UUID, fresh: UUID) -> UUID:
    """A new id that keeps the old one's time, by which messages are in order."""
    low = (1 << 80) - 1
    return UUID(int=old.int & ~low | fresh.int & low)
