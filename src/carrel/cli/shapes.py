"""What `--json` prints: the same names as over HTTP."""

from typing import TYPE_CHECKING

from carrel.domain.answers import Citation, Passage, Remembered
from carrel.domain.library import Bot, Document, Source, Tenant

if TYPE_CHECKING:
    from carrel.ask.pipeline import Found
    from carrel.tenancy.keys import KeyRow

Shape = dict[str, object]


def tenant(made: Tenant) -> Shape:
    return {
        "id": made.id,
        "slug": made.slug,
        "name": made.name,
        "status": made.status,
        "isolation": made.isolation,
        "created_at": made.created_at,
    }


def key(row: "KeyRow") -> Shape:
    return {
        "id": row.id,
        "name": row.name,
        "scopes": sorted(row.scopes),
        "bot_ids": None if row.bots is None else sorted(row.bots),
        "source_ids": None if row.sources is None else sorted(row.sources),
        "expires_at": row.expires_at,
        "revoked_at": row.revoked_at,
        "last_used_at": row.last_used_at,
        "created_at": row.created_at,
    }


def source(found: Source) -> Shape:
    return {
        "id": found.id,
        "name": found.name,
        "kind": found.kind,
        "visibility": found.visibility,
        "duplicates": found.duplicates,
        "documents": {status.value: count for status, count in found.documents.items()},
        "created_at": found.created_at,
    }


def bot(found: Bot) -> Shape:
    return {
        "id": found.id,
        "name": found.name,
        "source_ids": sorted(found.sources),
        "instructions": found.instructions,
        "model": found.model,
        "created_at": found.created_at,
    }


def failure(document: Document) -> Shape | None:
    if document.error is None:
        return None
    problem = document.error
    return {
        "code": problem.code,
        "detail": problem.detail,
        "stage": problem.stage,
        "retryable": problem.retryable,
    }


def hit(passage: Passage) -> Shape:
    return {
        **_place(passage),
        "tenant_id": passage.tenant,
        "text": passage.text,
        "score": round(passage.score, 6),
        "confidence": round(passage.confidence, 3),
    }


def hits(found: "Found") -> Shape:
    return {"hits": [hit(passage) for passage in found.hits], "took_ms": round(found.took_ms, 1)}


def answer(remembered: Remembered) -> Shape:
    given = remembered.answer
    return {
        "chat_id": remembered.chat,
        "message_id": remembered.message,
        "status": given.status,
        "answer": given.text,
        "citations": [_citation(citation) for citation in given.citations],
        "evidence": [hit(passage) for passage in given.evidence],
        "guidance": list(given.guidance),
        "usage": {
            "input_tokens": given.usage.input_tokens,
            "output_tokens": given.usage.output_tokens,
            "model": given.usage.model,
        },
    }


def _citation(citation: Citation) -> Shape:
    return {"n": citation.n, **_place(citation.passage), "excerpt": citation.excerpt}


def _place(passage: Passage) -> Shape:
    return {
        "chunk_id": passage.chunk,
        "document_id": passage.document,
        "source_id": passage.source,
        "title": passage.title,
        "key": passage.key,
        "heading_path": list(passage.heading_path),
        "page": passage.page,
    }
