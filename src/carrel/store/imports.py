"""What an archive brings into a new tenant, beside documents: bots' sources, members, chats with their citations."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from carrel.domain.answers import ModelProblem
from carrel.domain.chats import Rating
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
    insert into chats (tenant_id, id, owner_id, bot_id, end_user, title, created_at, updated_at)
    values (:tenant, :id, :owner, :bot, :end_user, :title, :created_at, :updated_at)
""")
_MESSAGE: Final = Statement("""
    insert into messages (tenant_id, id, chat_id, owner_id, end_user, question, status, answer, guidance, problem_code,
                          problem_detail, asked, grounding, unsupported, model, input_tokens, output_tokens, created_at)
    select :tenant, :id, c.id, :owner, c.end_user, :question, :status, :answer, :guidance::text[], :problem_code,
           :problem_detail, :asked, :grounding, :unsupported::text[], :model, :input_tokens, :output_tokens, :created_at
    from chats c where c.tenant_id = :tenant and c.id = :chat
""")
_FEEDBACK: Final = Statement("""
    insert into feedback (tenant_id, message_id, owner_id, end_user, bot_id, rating, reason, created_at, updated_at)
    select :tenant, m.id, m.owner_id, m.end_user, :bot, :rating, :reason, :created_at, :updated_at
    from messages m where m.tenant_id = :tenant and m.id = :message
""")
_CITATION: Final = Statement("""
    insert into citations (tenant_id, message_id, n, chunk_id, document_id, version_id)
    values (:tenant, :message, :n, :chunk, :document,
            (select c.version_id from chunks c where c.tenant_id = :tenant and c.id = :chunk))
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
    title: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class OldFeedback:
    rating: Rating
    reason: str
    bot: BotId | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class OldMessage:
    """`citations` by their number; `said` is what its reader said of the answer."""

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
    guidance: tuple[str, ...] = ()
    problem: ModelProblem | None = None
    asked: str | None = None
    grounding: float | None = None
    unsupported: tuple[str, ...] = ()
    said: OldFeedback | None = None


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
                "title": chat.title,
                "created_at": chat.created_at,
                "updated_at": chat.updated_at,
            }
            for chat in chats
        ],
    )


async def add_messages(tx: Transaction, owner: UserId, messages: Sequence[OldMessage]) -> int:
    """How many citations were kept: those whose text is here again. Guidance that names what is not goes with it."""
    found = await _same_text(tx, {quote for message in messages for quote in message.citations.values()})
    await tx.run_many(_MESSAGE, [_values(owner, message, found.keys()) for message in messages])
    kept = [
        {"message": message.id, "n": n, "chunk": found[quote], "document": quote.document}
        for message in messages
        for n, quote in message.citations.items()
        if quote in found
    ]
    await tx.run_many(_CITATION, kept)
    await tx.run_many(
        _FEEDBACK,
        [
            {
                "message": message.id,
                "bot": message.said.bot,
                "rating": message.said.rating,
                "reason": message.said.reason,
                "created_at": message.said.created_at,
                "updated_at": message.said.updated_at,
            }
            for message in messages
            if message.said is not None
        ],
    )
    return len(kept)


def _values(owner: UserId, message: OldMessage, found: Collection[Quote]) -> dict[str, Any]:
    named = [quote for n, quote in message.citations.items() if n < 1]
    return {
        "id": message.id,
        "chat": message.chat,
        "owner": owner,
        "question": message.question,
        "status": message.status,
        "answer": message.answer,
        "guidance": list(message.guidance) if all(quote in found for quote in named) else [],
        "problem_code": message.problem and message.problem.code,
        "problem_detail": message.problem and message.problem.detail,
        "asked": message.asked,
        "grounding": message.grounding,
        "unsupported": list(message.unsupported),
        "model": message.model,
        "input_tokens": message.input_tokens,
        "output_tokens": message.output_tokens,
        "created_at": message.created_at,
    }


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
