"""Chats to take along: as JSON, or as a table whose cells no spreadsheet takes for a formula."""

import csv
import io
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Final, TypeAlias

import orjson

from carrel.domain.chats import Chat, Feedback, Message, Quotation, Seen, excerpt_of
from carrel.store.erasure import REMOVED

Shape: TypeAlias = dict[str, Any]

COLUMNS: Final = (
    "chat_id", "title", "end_user", "message_id", "created_at", "question", "status", "answer", "citations", "model",
    "input_tokens", "output_tokens", "rating", "reason",
)  # fmt: skip
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


async def as_json(told: AsyncGenerator[Chat | Message], *, alone: bool) -> AsyncIterator[bytes]:
    """Each chat with its `messages`; `alone` is one chat by itself, otherwise they stand in `chats`."""
    opened, messages = False, 0
    if not alone:
        yield b'{"chats":['
    async for one in told:
        if isinstance(one, Chat):
            yield (b"]}," if opened else b"") + _dumped(chat_shape(one))[:-1] + b',"messages":['
            opened, messages = True, 0
        else:
            yield (b"," if messages else b"") + _dumped(message_shape(one))
            messages += 1
    yield (b"]}" if opened else b"") + (b"" if alone else b"]}") + b"\n"


async def as_csv(told: AsyncGenerator[Chat | Message]) -> AsyncIterator[bytes]:
    """One line for each message, in UTF-8, as RFC 4180 says; a chat without messages has no line."""
    yield _line(COLUMNS)
    chat: Chat | None = None
    async for one in told:
        if isinstance(one, Chat):
            chat = one
        elif chat is not None:
            yield _line(_cells(chat, one))


def _dumped(shape: Shape) -> bytes:
    return orjson.dumps(shape, default=str, option=orjson.OPT_UTC_Z)


def chat_shape(chat: Chat) -> Shape:
    return {
        "id": chat.id,
        "title": chat.title,
        "bot_id": chat.bot,
        "end_user": chat.end_user,
        "created_at": chat.created_at,
        "updated_at": chat.updated_at,
    }


def message_shape(message: Message) -> Shape:
    problem = message.problem
    return {
        "id": message.id,
        "chat_id": message.chat,
        "question": message.question,
        "status": message.status,
        "answer": message.answer,
        "citations": [_citation(quotation) for quotation in message.quotations],
        "guidance": list(message.guidance),
        "problem": None if problem is None else {"code": problem.code, "detail": problem.detail},
        "asked": message.asked,
        "grounding": message.grounding,
        "unsupported": list(message.unsupported),
        "usage": {
            "input_tokens": message.usage.input_tokens,
            "output_tokens": message.usage.output_tokens,
            "model": message.usage.model,
        },
        "feedback": None if message.feedback is None else feedback_shape(message.feedback),
        "created_at": message.created_at,
    }


def feedback_shape(feedback: Feedback) -> Shape:
    return {"rating": feedback.rating, "reason": feedback.reason, "updated_at": feedback.updated_at}


def guarded(cell: str) -> str:
    """With an apostrophe before what a spreadsheet would calculate; it shows the rest as text."""
    return "'" + cell if cell.startswith(_FORMULAS) else cell


def _citation(quotation: Quotation) -> Shape:
    return {
        "n": quotation.n,
        "chunk_id": quotation.chunk,
        "document_id": quotation.document,
        "source_id": quotation.source,
        "title": _or_removed(quotation.title),
        "key": _or_removed(quotation.key),
        "heading_path": list(quotation.heading_path),
        "page": quotation.page,
        "line": quotation.line,
        "excerpt": REMOVED if quotation.text is None else excerpt_of(quotation.text),
        "version_id": quotation.version,
        "seen": None if quotation.seen is None else _seen(quotation.seen),
    }


def _seen(seen: Seen) -> Shape:
    return {"version": seen.number, "of": seen.newest, "replaced_at": seen.replaced_at}


def _or_removed(text: str | None) -> str:
    return REMOVED if text is None else text


def _cells(chat: Chat, message: Message) -> Sequence[object]:
    said = message.feedback
    return (
        chat.id,
        chat.title,
        chat.end_user or "",
        message.id,
        message.created_at.isoformat(),
        message.question,
        message.status,
        message.answer,
        "; ".join(f"[{one.n}] {_or_removed(one.title)}" for one in message.quotations),
        message.usage.model,
        message.usage.input_tokens,
        message.usage.output_tokens,
        said.rating if said else "",
        said.reason if said else "",
    )


def _line(cells: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow([guarded(str(cell)) for cell in cells])
    return text.getvalue().encode()
