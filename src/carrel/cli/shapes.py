"""What `--json` prints: the same names as over HTTP."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from carrel.domain.answers import Citation, Passage, Remembered
from carrel.domain.failures import way_out
from carrel.domain.library import Bot, Document, Source, Tenant, VersionRecord
from carrel.domain.origins import Run
from carrel.domain.places import fields_of
from carrel.domain.providers import ProviderCredential
from carrel.domain.webhooks import Delivery, Webhook

if TYPE_CHECKING:
    from carrel.ask.across import FoundAcross
    from carrel.ask.pipeline import Found
    from carrel.operate.audit import Line, Verdict
    from carrel.tenancy.accounts import User
    from carrel.tenancy.groups import GroupGrant
    from carrel.tenancy.imports import Imported
    from carrel.tenancy.invitations import Invitation
    from carrel.tenancy.keys import KeyRow
    from carrel.tenancy.members import Member

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


def user(found: "User") -> Shape:
    return {
        "id": found.id,
        "email": found.email,
        "name": found.name,
        "status": found.status,
        "created_at": found.created_at,
    }


def membership(found: "Member") -> Shape:
    return {
        "id": found.user,
        "email": found.email,
        "name": found.name,
        "role": found.role,
        "status": found.status,
        "joined_at": found.joined_at,
    }


def invitation(made: "Invitation") -> Shape:
    return {
        "id": made.id,
        "email": made.email,
        "role": made.role,
        "status": made.status,
        "expires_at": made.expires_at,
        "created_at": made.created_at,
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
        "place": None if found.place is None else fields_of(found.place),
        "schedule": found.schedule,
        "paused": found.paused,
        "last_run": None if found.last_run is None else run(found.last_run),
        "next_run_at": found.next_run_at,
    }


def run(found: Run) -> Shape:
    return {
        "id": found.id,
        "state": found.state,
        "started_at": found.started_at,
        "ended_at": found.ended_at,
        **asdict(found.counts),
        "problem": None if found.problem is None else asdict(found.problem),
    }


def bot(found: Bot) -> Shape:
    return {
        "id": found.id,
        "name": found.name,
        "source_ids": sorted(found.sources),
        "instructions": found.instructions,
        "model": found.model,
        "credential_id": found.credential,
        "created_at": found.created_at,
    }


def webhook(found: Webhook) -> Shape:
    return {
        "id": found.id,
        "url": found.url,
        "events": sorted(found.events),
        "source_ids": None if found.sources is None else sorted(found.sources),
        "description": found.description,
        "enabled": found.enabled,
        "disabled_reason": found.disabled_reason,
        "failing_since": found.failing_since,
        "created_at": found.created_at,
        "updated_at": found.updated_at,
    }


def delivery(found: Delivery) -> Shape:
    last = found.last
    return {
        "id": found.id,
        "webhook_id": found.webhook,
        "event": found.event,
        "status": found.state,
        "attempts": found.attempts,
        "response_code": None if last is None else last.status,
        "problem": None if last is None else last.problem,
        "duration_ms": None if last is None else last.milliseconds,
        "next_attempt_at": found.due_at,
        "created_at": found.created_at,
        "finished_at": found.finished_at,
    }


def credential(kept: ProviderCredential) -> Shape:
    return {
        "id": kept.id,
        "name": kept.name,
        "provider": kept.provider,
        "base_url": kept.base_url,
        "last_four": kept.last_four,
        "created_at": kept.created_at,
        "rotated_at": kept.rotated_at,
    }


def event(line: "Line") -> Shape:
    told = line.event
    return {
        "id": told.id,
        "created_at": told.created_at,
        "actor_id": told.actor,
        "credential_id": told.credential,
        "action": told.action,
        "object_id": told.object,
        "result": told.result,
        "request_id": told.request,
        "facts": dict(told.facts),
        "sealed": line.sealed,
    }


def verdict(slug: str, found: "Verdict") -> Shape:
    broken = found.first_break
    return {
        "tenant": slug,
        "seals": found.seals,
        "head": found.head.hex(),
        "holds": broken is None,
        "break": None
        if broken is None
        else {"position": broken.position, "fault": broken.fault, "event_id": broken.event},
    }


def document(found: Document) -> Shape:
    return {
        "id": found.id,
        "source_id": found.source,
        "key": found.key,
        "title": found.title,
        "status": found.status,
        "version": found.version,
        "live_version": found.live_version,
        "media_type": found.media_type,
        "size": found.size,
        "chunks": found.chunks,
        "attempts": found.attempts,
        "error": failure(found),
        "created_at": found.created_at,
        "updated_at": found.updated_at,
    }


def version(record: VersionRecord) -> Shape:
    return {
        "id": record.id,
        "number": record.number,
        "fingerprint": record.fingerprint,
        "media_type": record.media_type,
        "size": record.size,
        "chunks": record.chunks,
        "brought_by": record.brought_by,
        "created_at": record.created_at,
        "live_from": record.live_from,
        "live_until": record.live_until,
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
        "way_out": way_out(problem),
    }


def hit(passage: Passage) -> Shape:
    return {
        **_place(passage),
        "tenant_id": passage.tenant,
        "text": passage.text,
        "score": round(passage.score, 6),
        "confidence": round(passage.confidence, 3),
    }


def hits(found: "Found | FoundAcross") -> Shape:
    missed = getattr(found, "partial", ())
    return {
        "hits": [hit(passage) for passage in found.hits],
        "took_ms": round(found.took_ms, 1),
        "partial": [{"tenant_id": one.tenant, "code": one.code} for one in missed],
    }


def group_grant(made: "GroupGrant") -> Shape:
    return {
        "id": made.id,
        "issuer": made.issuer,
        "group": made.group,
        "tenant_id": made.tenant,
        "role": made.role.value,
        "created_at": made.created_at,
    }


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
        "problem": given.problem and {"code": given.problem.code, "detail": given.problem.detail},
        "asked": given.asked,
        "grounding": given.grounding,
        "unsupported": list(given.unsupported),
    }


def imported(done: "Imported") -> Shape:
    return {
        "tenant": tenant(done.tenant),
        "sources": done.sources,
        "bots": done.bots,
        "webhooks": done.webhooks,
        "documents": done.documents,
        "rejected": [{"key": left.key, "code": left.code} for left in done.rejected],
        "chats": done.chats,
        "messages": done.messages,
        "citations": {"kept": done.citations, "lost": done.citations_lost},
        "members": {"joined": done.joined, "absent": done.absent},
    }


def _citation(citation: Citation) -> Shape:
    return {"n": citation.n, **_place(citation.passage), "excerpt": citation.excerpt}


def _place(passage: Passage) -> Shape:
    return {
        "chunk_id": passage.chunk,
        "document_id": passage.document,
        "version_id": passage.version,
        "source_id": passage.source,
        "title": passage.title,
        "key": passage.key,
        "heading_path": list(passage.heading_path),
        "page": passage.page,
        "line": passage.line,
    }
