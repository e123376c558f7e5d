"""Chats: questions and their answers, private to who asked. Citations are references, never copies of the text."""

from dataclasses import dataclass, replace
from datetime import datetime

from carrel.domain.answers import Answer, AnswerStatus, Remembered
from carrel.domain.errors import NotFound
from carrel.domain.ids import BotId, ChatId, MessageId, UserId, new_id
from carrel.store.transaction import Statement, Transaction

_ADD_CHAT = Statement("""
    insert into chats (tenant_id, id, owner_id, bot_id, end_user)
    values (:tenant, :id, :owner, (select b.id from bots b where b.tenant_id = :tenant and b.id = :bot), :end_user)
""")
_FIND_CHAT = Statement("select 1 from chats where tenant_id = :tenant and id = :id")
_ADD_MESSAGE = Statement("""
    insert into messages
        (tenant_id, id, chat_id, owner_id, question, status, answer, model, input_tokens, output_tokens)
    values (:tenant, :id, :chat, :owner, :question, :status, :answer, :model, :input_tokens, :output_tokens)
""")
_HOLD_QUOTED = Statement("""
    select id from documents
    where tenant_id = :tenant and id = any (:documents) and deleted_at is null and created_at <= :begun
    order by id for share
""")
_ADD_CITATION = Statement("""
    insert into citations (tenant_id, message_id, n, chunk_id, document_id)
    values (:tenant, :message, :n, :chunk, :document)
""")


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked what, and in which chat; a chat that is None is begun."""

    owner: UserId
    question: str
    chat: ChatId | None = None
    bot: BotId | None = None
    end_user: str | None = None


async def demand(tx: Transaction, chat: ChatId | None) -> None:
    """Raises NotFound for a chat that is not there; None is one that will be begun."""
    if chat is not None and not await tx.value(_FIND_CHAT, id=chat):
        raise NotFound


async def remember(tx: Transaction, asked: Asked, answer: Answer, *, begun: datetime) -> Remembered:
    """Keeps the answer as it is returned: a refusal when a document that it quotes was deleted meanwhile.

    `begun` is the database's time when the question came.
    """
    if not await _hold_quoted(tx, answer, begun):
        answer = _withdrawn(answer)
    chat = asked.chat or ChatId(new_id())
    if asked.chat is None:
        await tx.run(_ADD_CHAT, id=chat, owner=asked.owner, bot=asked.bot, end_user=asked.end_user)
    message = MessageId(new_id())
    await tx.run(
        _ADD_MESSAGE,
        id=message,
        chat=chat,
        owner=asked.owner,
        question=asked.question,
        status=answer.status,
        answer=answer.text,
        model=answer.usage.model,
        input_tokens=answer.usage.input_tokens,
        output_tokens=answer.usage.output_tokens,
    )
    citations = [
        {"message": message, "n": citation.n, "chunk": citation.passage.chunk, "document": citation.passage.document}
        for citation in answer.citations
    ]
    await tx.run_many(_ADD_CITATION, citations)
    return Remembered(chat, message, answer)


async def _hold_quoted(tx: Transaction, answer: Answer, begun: datetime) -> bool:
    """Whether every quoted document is still the one that was there when the question came; then it stays so.

    A document that was deleted and uploaded again has its old id and a new time.
    """
    passages = (*answer.evidence, *(citation.passage for citation in answer.citations))
    quoted = {passage.document for passage in passages}
    held = await tx.rows(_HOLD_QUOTED, documents=list(quoted), begun=begun) if quoted else []
    return len(held) == len(quoted)


def _withdrawn(answer: Answer) -> Answer:
    return replace(
        answer,
        status=AnswerStatus.REFUSED,
        text="A document that this answer rests on was deleted while it was written.",
        citations=(),
        evidence=(),
        guidance=("Ask again.",),
    )
