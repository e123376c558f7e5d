"""Chats: questions and their answers, private to who asked. Citations are references, never copies of the text.

A grant sees its user's chats of one end user: the policies say so, and each statement here says it again.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from carrel.domain.access import EndUsers, TenantGrant
from carrel.domain.answers import Answer, AnswerStatus, ModelProblem, Passage, Remembered, Usage
from carrel.domain.chats import Chat, Feedback, KeptStatus, Message, Quotation, Rating, Ratings, Seen, Turn, title_of
from carrel.domain.errors import NotFound
from carrel.domain.ids import BotId, ChatId, ChunkId, DocumentId, MessageId, SourceId, UserId, VersionId, new_id
from carrel.store.erasure import REMOVED
from carrel.store.pages import Page, Place, page, place_of
from carrel.store.transaction import Statement, Transaction

_LISTED: Final = "chats"
_OWN_CHAT: Final = """
    c.tenant_id = :tenant and c.owner_id = :owner and coalesce(c.end_user, '') = :end_user::text
"""
_OWN_MESSAGE: Final = """
    m.tenant_id = :tenant and m.owner_id = :owner and coalesce(m.end_user, '') = :end_user::text
"""
_CHAT: Final = "c.id, c.title, c.bot_id, c.end_user, c.created_at, c.updated_at"
_MESSAGE: Final = """
    m.id, m.chat_id, m.question, m.status, m.answer, m.guidance, m.problem_code, m.problem_detail, m.asked, m.grounding,
    m.unsupported, m.model, m.input_tokens, m.output_tokens, m.created_at, f.rating, f.reason, f.updated_at as rated_at
"""
_RATED: Final = """
    messages m left join feedback f on f.tenant_id = :tenant and f.message_id = m.id and f.owner_id = m.owner_id
                                   and coalesce(f.end_user, '') = coalesce(m.end_user, '')
"""

_ADD_CHAT = Statement("""
    insert into chats (tenant_id, id, owner_id, bot_id, end_user, title)
    values (:tenant, :id, :owner, (select b.id from bots b where b.tenant_id = :tenant and b.id = :bot),
            nullif(:end_user::text, ''), :title)
""")
_FIND_CHAT = Statement(f"select {_CHAT} from chats c where {_OWN_CHAT} and c.id = :id")
_TOUCH_CHAT = Statement(f"""
    update chats c set updated_at = greatest(c.updated_at, now()),
                       title = case c.title when '' then :title else c.title end
    where {_OWN_CHAT} and c.id = :id
""")
_RENAME_CHAT = Statement(f"update chats c set title = :title where {_OWN_CHAT} and c.id = :id returning {_CHAT}")
_DELETE_CHAT = Statement(f"delete from chats c where {_OWN_CHAT} and c.id = :id")
_DROP_MEMOS = Statement("""
    delete from idempotency_keys where tenant_id = :tenant
        and :id::uuid::text in (body ->> 'chat_id', body -> 'carrel' ->> 'chat_id')
""")
_LIST_CHATS = Statement(f"""
    select {_CHAT} from chats c
    where {_OWN_CHAT} and (:moment::timestamptz is null or (c.updated_at, c.id) < (:moment, :id::uuid))
    order by c.updated_at desc, c.id desc limit :most
""")
_EVERY_CHAT = Statement(f"""
    select {_CHAT} from chats c
    where {_OWN_CHAT} and (:moment::timestamptz is null or (c.created_at, c.id) > (:moment, :id::uuid))
    order by c.created_at, c.id limit :most
""")
_ADD_MESSAGE = Statement("""
    insert into messages
        (tenant_id, id, chat_id, owner_id, end_user, question, status, answer, guidance, problem_code, problem_detail,
         asked, grounding, unsupported, model, input_tokens, output_tokens)
    values (:tenant, :id, :chat, :owner, nullif(:end_user::text, ''), :question, :status, :answer, :guidance,
            :problem_code, :problem_detail, :asked, :grounding, :unsupported, :model, :input_tokens, :output_tokens)
""")
_LIST_MESSAGES = Statement(f"""
    select {_MESSAGE} from {_RATED}
    where {_OWN_MESSAGE} and m.chat_id = :chat and (:id::uuid is null or m.id > :id) order by m.id limit :most
""")
_LAST_MESSAGES = Statement(f"""
    select {_MESSAGE} from {_RATED} where {_OWN_MESSAGE} and m.chat_id = :chat order by m.id desc limit :most
""")
_HOLD_QUOTED = Statement("""
    select id from documents
    where tenant_id = :tenant and id = any (:documents) and deleted_at is null and created_at <= :begun
    order by id for share
""")
_ADD_CITATION = Statement("""
    insert into citations (tenant_id, message_id, n, chunk_id, document_id, version_id)
    values (:tenant, :message, :n, :chunk, :document, :version)
""")
# What the grant may not read (any more) is not joined. A chunk of a former version is gone, its document is not.
_QUOTATIONS = Statement("""
    select t.message_id, t.n, t.chunk_id, t.document_id, t.version_id, d.source_id, d.title, d.key, c.heading_path,
           c.page, c.line, c.text, r.number, r.live_until,
           (select max(o.number) from version_records o where o.tenant_id = :tenant and o.document_id = d.id) as newest
    from citations t
    left join documents d on d.tenant_id = :tenant and d.id = t.document_id and d.deleted_at is null
    left join chunks c on c.tenant_id = :tenant and c.id = t.chunk_id and c.version_id = d.live_version_id
    left join version_records r on r.tenant_id = :tenant and r.id = t.version_id and r.document_id = d.id
    where t.tenant_id = :tenant and t.message_id = any (:messages) order by t.message_id, t.n
""")
_RATE = Statement(f"""
    insert into feedback as f (tenant_id, message_id, owner_id, end_user, bot_id, rating, reason)
    select m.tenant_id, m.id, m.owner_id, m.end_user, c.bot_id, :rating, :reason
    from messages m join chats c on c.tenant_id = :tenant and c.id = m.chat_id where {_OWN_MESSAGE} and m.id = :id
    on conflict (tenant_id, message_id) do update
    set rating = excluded.rating, reason = excluded.reason, updated_at = now()
    returning f.rating, f.reason, f.updated_at as rated_at
""")
_WITHDRAW = Statement("""
    delete from feedback f where f.tenant_id = :tenant and f.message_id = :id and f.owner_id = :owner
                             and coalesce(f.end_user, '') = :end_user::text
""")
_RATINGS = Statement("""
    select bot_id, ups, downs from count_feedback(:first, :last::timestamptz + interval '24 hours')
    order by bot_id nulls first
""")
_DEGRADED = Statement("select degraded, answers from count_degraded(:since)")
_FORGET = Statement("select forget_chats(:days, :most)")


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
    if chat is not None:
        await get(tx, chat)


async def get(tx: Transaction, chat: ChatId) -> Chat:
    """Raises NotFound."""
    row = await tx.row(_FIND_CHAT, id=chat, **_whose(tx))
    if row is None:
        raise NotFound
    return _chat(row)


async def listed(tx: Transaction, *, limit: int, cursor: str | None) -> Page[Chat]:
    """By the time of the last question, newest first. Raises Invalid `invalid_cursor`."""
    place = place_of(cursor, of=_LISTED)
    moment, identifier = (place.created_at, place.id) if place else (None, None)
    rows = await tx.rows(_LIST_CHATS, moment=moment, id=identifier, most=limit + 1, **_whose(tx))
    places = [Place(row["updated_at"], row["id"]) for row in rows]
    return page([_chat(row) for row in rows], places, limit, of=_LISTED)


async def after(tx: Transaction, last: Chat | None, *, most: int) -> list[Chat]:
    """The next chats in the order in which they were begun: an order that no question changes."""
    place = (last.created_at, last.id) if last else (None, None)
    rows = await tx.rows(_EVERY_CHAT, moment=place[0], id=place[1], most=most, **_whose(tx))
    return [_chat(row) for row in rows]


async def rename(tx: Transaction, chat: ChatId, title: str) -> Chat:
    """Raises NotFound."""
    row = await tx.row(_RENAME_CHAT, id=chat, title=title, **_whose(tx))
    if row is None:
        raise NotFound
    return _chat(row)


async def delete(tx: Transaction, chat: ChatId) -> None:
    """With its messages, what was said of them, and the answers that were kept for repetition. Raises NotFound."""
    if not await tx.run(_DELETE_CHAT, id=chat, **_whose(tx)):
        raise NotFound
    await tx.run(_DROP_MEMOS, id=chat)


async def messages(tx: Transaction, chat: ChatId, *, limit: int, cursor: str | None) -> Page[Message]:
    """Oldest first. Raises NotFound, Invalid `invalid_cursor`."""
    await get(tx, chat)
    name = f"messages:{chat}"
    place = place_of(cursor, of=name)
    rows = await tx.rows(_LIST_MESSAGES, chat=chat, id=place and place.id, most=limit + 1, **_whose(tx))
    places = [Place(row["created_at"], row["id"]) for row in rows]
    return page(await _read(tx, rows), places, limit, of=name)


async def turns(tx: Transaction, chat: ChatId, most: int) -> tuple[Turn, ...]:
    """The last turns of a chat as they may be read now, oldest first; none of a chat that is not there."""
    rows = await tx.rows(_LAST_MESSAGES, chat=chat, most=most, **_whose(tx))
    return tuple(_turn(message) for message in reversed(await _read(tx, rows)))


async def remember(tx: Transaction, asked: Asked, answer: Answer, *, begun: datetime) -> Remembered:
    """Keeps the answer as it is returned: a refusal when a document that it quotes was deleted meanwhile.

    `begun` is the database's time when the question came. Raises NotFound when the chat was deleted meanwhile.
    """
    if not await _hold_quoted(tx, answer, begun):
        answer = _withdrawn(answer)
    message = MessageId(new_id())
    chat = await _opened(tx, asked)
    await tx.run(
        _ADD_MESSAGE,
        id=message,
        chat=chat,
        owner=asked.owner,
        end_user=asked.end_user or "",
        question=asked.question,
        status=answer.status,
        answer=answer.text,
        guidance=list(answer.guidance),
        problem_code=answer.problem and answer.problem.code,
        problem_detail=answer.problem and answer.problem.detail,
        asked=None if answer.asked == asked.question else answer.asked,
        grounding=answer.grounding,
        unsupported=list(answer.unsupported),
        model=answer.usage.model,
        input_tokens=answer.usage.input_tokens,
        output_tokens=answer.usage.output_tokens,
    )
    references = [
        {"message": message, "n": n, "chunk": passage.chunk, "document": passage.document, "version": passage.version}
        for n, passage in _references(answer).items()
    ]
    await tx.run_many(_ADD_CITATION, references)
    return Remembered(chat, message, answer)


async def rate(tx: Transaction, message: MessageId, rating: Rating, reason: str) -> Feedback:
    """Instead of what was said before. Raises NotFound."""
    row = await tx.row(_RATE, id=message, rating=rating, reason=reason, **_whose(tx))
    if row is None:
        raise NotFound
    return _feedback(row)


async def withdraw(tx: Transaction, message: MessageId) -> None:
    """Raises NotFound when nothing was said."""
    if not await tx.run(_WITHDRAW, id=message, **_whose(tx)):
        raise NotFound


async def ratings(tx: Transaction, first: datetime, last: datetime) -> list[Ratings]:
    """Of everybody's answers, by bot: given from `first` on and within a day from `last`."""
    rows = await tx.rows(_RATINGS, first=first, last=last)
    return [Ratings(row["bot_id"] and BotId(row["bot_id"]), row["ups"], row["downs"]) for row in rows]


async def degraded(tx: Transaction, since: UUID) -> tuple[int, int]:
    """How many of everybody's answers since that id had to do without their model, and how many there were."""
    row = await tx.row(_DEGRADED, since=since)
    assert row is not None
    return row["degraded"], row["answers"]


async def forget_old(tx: Transaction, *, days: int, most: int) -> int:
    """Everybody's chats without a question for so many days: how many went, the oldest first."""
    return int(await tx.value(_FORGET, days=days, most=most))


async def _opened(tx: Transaction, asked: Asked) -> ChatId:
    title = title_of(asked.question)
    if asked.chat is None:
        chat = ChatId(new_id())
        await tx.run(_ADD_CHAT, id=chat, owner=asked.owner, bot=asked.bot, end_user=asked.end_user or "", title=title)
        return chat
    if not await tx.run(_TOUCH_CHAT, id=asked.chat, title=title, **_whose(tx)):
        raise NotFound
    return asked.chat


def _references(answer: Answer) -> dict[int, Passage]:
    """Citations by their number; below 1 stand the documents that a refusal names in its guidance."""
    cited = {citation.n: citation.passage for citation in answer.citations}
    if answer.status is not AnswerStatus.REFUSED or not answer.guidance:
        return cited
    named = {passage.document: passage for passage in answer.evidence}
    return cited | {-number: passage for number, passage in enumerate(named.values())}


def _whose(tx: Transaction) -> dict[str, Any]:
    """Raises TypeError for a grant that sees the chats of all end users: such work has statements of its own."""
    grant = tx.grant
    if not isinstance(grant, TenantGrant) or isinstance(grant.end_user, EndUsers):
        raise TypeError("Chats are read for one end user, or for nobody.")
    return {"owner": grant.user, "end_user": grant.end_user or ""}


async def _read(tx: Transaction, rows: Sequence[Any]) -> list[Message]:
    quotations = await _quotations(tx, [row["id"] for row in rows])
    return [_message(row, quotations[row["id"]]) for row in rows]


async def _quotations(tx: Transaction, ids: Sequence[UUID]) -> Mapping[UUID, list[Quotation]]:
    found: defaultdict[UUID, list[Quotation]] = defaultdict(list)
    for row in await tx.rows(_QUOTATIONS, messages=list(ids)) if ids else ():
        found[row["message_id"]].append(_quotation(row))
    return found


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
        problem=None,
        asked=None,
        grounding=None,
        unsupported=(),
    )


def _chat(row: Any) -> Chat:
    return Chat(
        id=ChatId(row["id"]),
        title=row["title"],
        bot=row["bot_id"] and BotId(row["bot_id"]),
        end_user=row["end_user"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _message(row: Any, references: Sequence[Quotation]) -> Message:
    """An answer that quotes what its reader may not read (any more) is not shown, nor guidance that names it."""
    quotations = tuple(one for one in references if one.n > 0)
    hidden = row["status"] == KeptStatus.REMOVED or not all(one.is_readable for one in quotations)
    nameable = all(one.is_readable for one in references)
    return Message(
        id=MessageId(row["id"]),
        chat=ChatId(row["chat_id"]),
        question=row["question"],
        status=KeptStatus.REMOVED if hidden else KeptStatus(row["status"]),
        answer=REMOVED if hidden else row["answer"],
        quotations=quotations,
        guidance=tuple(row["guidance"]) if nameable else (),
        problem=row["problem_code"] and ModelProblem(row["problem_code"], row["problem_detail"] or ""),
        asked=row["asked"] if nameable else None,
        grounding=row["grounding"],
        unsupported=() if hidden else tuple(row["unsupported"]),
        usage=Usage(row["input_tokens"], row["output_tokens"], row["model"]),
        feedback=_feedback(row) if row["rating"] else None,
        created_at=row["created_at"],
    )


def _turn(message: Message) -> Turn:
    answer = "" if message.status is KeptStatus.REMOVED else message.answer
    return Turn(message.asked or message.question, answer)


def _quotation(row: Any) -> Quotation:
    return Quotation(
        n=row["n"],
        chunk=ChunkId(row["chunk_id"]),
        document=DocumentId(row["document_id"]),
        source=row["source_id"] and SourceId(row["source_id"]),
        title=row["title"],
        key=row["key"],
        heading_path=tuple(row["heading_path"] or ()),
        page=row["page"],
        line=row["line"],
        text=row["text"],
        version=row["version_id"] and VersionId(row["version_id"]),
        seen=None if row["number"] is None else Seen(row["number"], row["newest"], row["live_until"]),
    )


def _feedback(row: Any) -> Feedback:
    return Feedback(Rating(row["rating"]), row["reason"], row["rated_at"])
