"""A tenant's rows as they leave it: page after page, in one order, what is everybody's or what is one owner's alone."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, TypeAlias

from carrel.domain.ids import UserId
from carrel.domain.webhooks import bare_target
from carrel.store.generations import LIVE_ID
from carrel.store.transaction import Statement, Transaction

Line: TypeAlias = Mapping[str, Any]

_PAGE: Final = 500

_TENANT = Statement("select id, slug, name, isolation, created_at from tenants where id = :tenant")
_GENERATION = Statement("""
    select embedder, dimension, analyzer from generations where tenant_id = :tenant and state = 'live'
""")
_WEBHOOKS = Statement("""
    select id, url, events, source_ids, description, enabled, created_at from webhooks
    where tenant_id = :tenant and deleted_at is null order by created_at, id
""")
_RETENTION = Statement("select chat_days from retentions where tenant_id = :tenant")
_QUOTAS = Statement("""
    select rates, documents_soft, documents_hard, bytes_soft, bytes_hard, questions_soft, questions_hard, tokens_soft,
           tokens_hard
    from quotas where tenant_id = :tenant
""")

# Each statement goes on after the last row of the page before it: `moment` and `id` are its time and id. Rows that may
# be private are those of the owner that is asked for, or nobody's; all others come when nobody is asked for.
_NEXT: Final = """
    (:moment::timestamptz is null or (x.created_at, x.id) > (:moment, :id::uuid))
    order by x.created_at, x.id limit :most
"""
_SHARED: Final = f"x.tenant_id = :tenant and :owner::uuid is null and {_NEXT}"
_OWNED: Final = f"x.tenant_id = :tenant and x.owner_id is not distinct from :owner and {_NEXT}"

_MEMBERS = Statement(f"""
    select x.id, u.email, u.name, x.role, x.status, x.created_at
    from (select m.*, m.user_id as id from memberships m) x join users u on u.id = x.id where {_SHARED}
""")
_BOTS = Statement(f"""
    select x.id, x.name, x.instructions, x.model, x.retrieval, x.created_at from bots x where {_SHARED}
""")
_AUDIT = Statement(f"""
    select x.id, x.actor_id, x.credential_id, x.action, x.object_id, x.result, x.request_id, x.facts, x.created_at
    from audit_events x where {_SHARED}
""")
_SOURCES = Statement(f"""
    select x.id, x.name, x.kind, x.visibility, x.duplicates, x.chunk_size, x.chunk_overlap, x.owner_id, x.created_at,
           x.place, x.schedule,
           array(select b.bot_id from bot_sources b
                 where b.tenant_id = x.tenant_id and b.source_id = x.id order by 1) as bots
    from sources x where x.deleted_at is null and {_OWNED}
""")
_DOCUMENTS = Statement(f"""
    select x.id, x.source_id, x.key, x.title, x.attributes, x.same_as, x.created_at, x.updated_at,
           (select jsonb_agg(jsonb_build_object(
                'id', v.id, 'sha256', encode(v.fingerprint, 'hex'), 'size', v.size, 'media_type', v.media_type,
                'state', v.state, 'chunks', v.chunks, 'failure_code', v.failure_code, 'created_at', v.created_at,
                'live', v.id is not distinct from x.live_version_id) order by v.created_at, v.id)
            from document_versions v where v.tenant_id = x.tenant_id and v.document_id = x.id) as versions,
           (select coalesce(jsonb_agg(jsonb_build_object(
                'id', r.id, 'number', r.number, 'sha256', encode(r.fingerprint, 'hex'), 'media_type', r.media_type,
                'size', r.size, 'chunks', r.chunks, 'brought_by', r.brought_by, 'created_at', r.created_at,
                'live_from', r.live_from, 'live_until', r.live_until) order by r.number), '[]')
            from version_records r where r.tenant_id = x.tenant_id and r.document_id = x.id) as history
    from documents x where x.deleted_at is null and {_OWNED}
""")
_BLOBS = Statement(f"""
    select x.id, x.blob_key, x.size, x.created_at from (
        select v.tenant_id, v.owner_id, v.id, v.blob_key, v.size, v.created_at
        from document_versions v join documents d on d.tenant_id = v.tenant_id and d.id = v.document_id
        where d.deleted_at is null
        union all
        select f.tenant_id, f.owner_id, f.id, f.blob_key, f.size, f.created_at from brought_files f) x
    where {_OWNED}
""")
_FILES = Statement(f"""
    select x.id, x.owner_id, x.name, x.purpose, x.media_type, x.size, encode(x.sha256, 'hex') as sha256, x.created_at,
           array(select m.document_id from file_documents m
                 where m.tenant_id = x.tenant_id and m.file_id = x.id order by 1) as documents
    from brought_files x where {_OWNED}
""")
_CHATS = Statement(f"""
    select x.id, x.owner_id, x.bot_id, x.end_user, x.title, x.created_at, x.updated_at from chats x where {_OWNED}
""")
_MESSAGES = Statement(f"""
    select x.id, x.chat_id, x.question, x.status, x.answer, x.guidance, x.problem_code, x.problem_detail, x.asked,
           x.grounding, x.unsupported, x.model, x.input_tokens, x.output_tokens, x.created_at,
           (select jsonb_build_object('rating', f.rating, 'reason', f.reason, 'bot_id', f.bot_id,
                                      'created_at', f.created_at, 'updated_at', f.updated_at)
            from feedback f where f.tenant_id = x.tenant_id and f.message_id = x.id) as feedback,
           (select coalesce(jsonb_agg(jsonb_build_object(
                'n', t.n, 'document_id', t.document_id, 'chunk_id', t.chunk_id,
                'text_hash', encode(c.text_hash, 'hex')) order by t.n), '[]')
            from citations t left join chunks c on c.tenant_id = t.tenant_id and c.id = t.chunk_id
            where t.tenant_id = x.tenant_id and t.message_id = x.id) as citations
    from messages x where {_OWNED}
""")
_CHUNKS = Statement(f"""
    select c.id, c.document_id, c.version_id, c.ordinal, c.text, c.heading_path, c.page, c.line, c.char_start,
           c.char_end
    from chunks c join documents d on d.tenant_id = c.tenant_id and d.live_version_id = c.version_id
    where c.tenant_id = :tenant and c.owner_id is not distinct from :owner and d.deleted_at is null
      and c.generation_id = {LIVE_ID}
      and (:version::uuid is null or (c.version_id, c.ordinal) > (:version, :ordinal::integer))
    order by c.version_id, c.ordinal limit :most
""")


BLOBS: Final = "blobs"
"""Where the bytes of each version and each file are kept: for whoever packs them, and for nobody outside."""

OF_THE_TENANT: Final[Mapping[str, Statement]] = {
    "members.jsonl": _MEMBERS,
    "bots.jsonl": _BOTS,
    "audit.jsonl": _AUDIT,
}
OF_AN_OWNER: Final[Mapping[str, Statement]] = {
    "sources.jsonl": _SOURCES,
    "documents.jsonl": _DOCUMENTS,
    "files.jsonl": _FILES,
    "chats.jsonl": _CHATS,
    "messages.jsonl": _MESSAGES,
    BLOBS: _BLOBS,
}


async def tenant(tx: Transaction) -> Line | None:
    row = await tx.row(_TENANT)
    return dict(row) if row else None


async def settings(tx: Transaction) -> Line:
    """How the index was made, what the tenant may use, how long chats are kept; null where nothing is set.

    And where it has events told, without the secrets that sign them, and those that may stand in the addresses.
    """
    generation, quotas = await tx.row(_GENERATION), await tx.row(_QUOTAS)
    return {
        "generation": generation and dict(generation),
        "quotas": quotas and dict(quotas),
        "chat_days": await tx.value(_RETENTION),
        "webhooks": [{**row, "url": bare_target(row["url"])} for row in await tx.rows(_WEBHOOKS)],
    }


async def pages(tx: Transaction, statement: Statement, owner: UserId | None) -> AsyncIterator[list[Line]]:
    """Oldest first."""
    moment, identifier = None, None
    while rows := await tx.rows(statement, owner=owner, moment=moment, id=identifier, most=_PAGE):
        yield [dict(row) for row in rows]
        moment, identifier = rows[-1]["created_at"], rows[-1]["id"]


async def chunk_pages(tx: Transaction, owner: UserId | None) -> AsyncIterator[list[Line]]:
    """Of live versions, each document's in their order."""
    version, ordinal = None, None
    while rows := await tx.rows(_CHUNKS, owner=owner, version=version, ordinal=ordinal, most=_PAGE):
        yield [dict(row) for row in rows]
        version, ordinal = rows[-1]["version_id"], rows[-1]["ordinal"]
