"""Every call of the surface, with what it needs and what its owner gets."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from carrel.domain.rights import Permission

World = Mapping[str, str]
OF_A_WORLD: Final = (
    "tenant", "source", "bot", "document", "failed", "key", "chat", "member", "invitation", "group_grant", "gone",
    "credential", "session", "message", "unrated", "file", "batch", "webhook", "delivery", "fetched",
)  # fmt: skip
ABSENT: Final[World] = {name: str(uuid.uuid4()) for name in OF_A_WORLD}


@dataclass(frozen=True)
class Call:
    """`path` and `body` take the ids of a world; `names_ids` says that a stranger's ids in the body are looked up.

    `needs_too` is what this call needs beside what its route declares.
    """

    name: str
    method: str
    path: str
    needs: Permission
    owner_gets: int
    body: Callable[[World], Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    names_ids: bool = False
    needs_too: Permission | None = None

    def sent(self, world: World) -> dict[str, Any]:
        body = {} if self.body is None else {"json": self.body(world)}
        return {**body, **self.options}

    def to(self, world: World) -> str:
        return self.path.format(**world)


def _fresh() -> str:
    return f"name {uuid.uuid4()}"


def _address() -> str:
    return f"{uuid.uuid4()}@people.example"


def _an_openai_question() -> dict[str, Any]:
    return {"model": "carrel", "messages": [{"role": "user", "content": "boats?"}]}


def _a_credential() -> dict[str, str]:
    return {"name": _fresh(), "provider": "openai", "secret": "sk-0123456789abcdef"}


def _a_webhook() -> dict[str, Any]:
    return {"url": "http://127.0.0.1:1/hook", "events": ["document.ready"]}


def _a_site() -> dict[str, Any]:
    return {"name": _fresh(), "kind": "url", "place": {"urls": ["https://pages.example/"]}, "schedule": 86_400}


FILE = {"files": [("files", ("new.txt", b"A new file.", "text/plain"))]}
A_FORM = {"files": [("purpose", (None, b"assistants")), ("file", ("new.txt", b"A new file.", "text/plain"))]}
A_MESSAGE = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
P = Permission
DOOR = "/openai/v1"
STORE = f"{DOOR}/vector_stores/{{source}}"

CALLS = [
    Call("create_tenant", "POST", "/v1/tenants", P.PLATFORM, 201, lambda _: {"name": _fresh()}),
    Call("list_tenants", "GET", "/v1/tenants", P.PLATFORM, 200),
    Call("get_tenant", "GET", "/v1/tenants/{tenant}", P.TENANT, 200),
    Call("rename_tenant", "PATCH", "/v1/tenants/{tenant}", P.TENANT, 200, lambda _: {"name": _fresh()}),
    Call("suspend_tenant", "POST", "/v1/tenants/{tenant}/suspend", P.PLATFORM, 200),
    Call("resume_tenant", "POST", "/v1/tenants/{tenant}/resume", P.PLATFORM, 200),
    Call("export_tenant", "POST", "/v1/tenants/{tenant}/export", P.EXPORT, 200),
    Call("delete_tenant", "DELETE", "/v1/tenants/{tenant}", P.TENANT, 204),
    Call("get_retention", "GET", "/v1/tenants/{tenant}/retention", P.TENANT, 200),
    Call("set_retention", "PUT", "/v1/tenants/{tenant}/retention", P.TENANT, 200, lambda _: {"chat_days": 30}),
    Call("get_tenant_receipt", "GET", "/v1/tenants/{gone}/receipt", P.PLATFORM, 200),
    Call(
        "create_group_grant",
        "POST",
        "/v1/group-grants",
        P.PLATFORM,
        201,
        lambda w: {"group": _fresh(), "tenant_id": w["tenant"], "role": "viewer", "issuer": "https://issuer.example"},
        names_ids=True,
    ),
    Call("list_group_grants", "GET", "/v1/group-grants", P.PLATFORM, 200),
    Call("revoke_group_grant", "DELETE", "/v1/group-grants/{group_grant}", P.PLATFORM, 204),
    Call("exchange", "POST", "/v1/auth/exchange", P.ACCOUNT, 200, lambda w: {"tenant": w["tenant"]}, names_ids=True),
    Call("create_key", "POST", "/v1/keys", P.MANAGE, 201, lambda _: {"name": "k", "scopes": ["manage"]}),
    Call(
        "create_key",
        "POST",
        "/v1/keys",
        P.MANAGE,
        201,
        lambda w: {"name": "k", "scopes": ["manage"], "source_ids": [w["source"]], "bot_ids": [w["bot"]]},
        names_ids=True,
    ),
    Call("list_keys", "GET", "/v1/keys", P.MANAGE, 200),
    Call("get_key", "GET", "/v1/keys/{key}", P.MANAGE, 200),
    Call("revoke_key", "DELETE", "/v1/keys/{key}", P.MANAGE, 204),
    Call("get_me", "GET", "/v1/me", P.ACCOUNT, 200),
    Call("change_me", "PATCH", "/v1/me", P.ACCOUNT, 200, lambda _: {"name": _fresh()}),
    # the people of tests are rows without a password, and nobody else's session is one's own
    Call("change_password", "POST", "/v1/me/password", P.ACCOUNT, 409, lambda _: {"current": "x", "new": "x" * 12}),
    Call("list_sessions", "GET", "/v1/sessions", P.ACCOUNT, 200),
    Call("end_other_sessions", "DELETE", "/v1/sessions", P.ACCOUNT, 204),
    Call("end_session", "DELETE", "/v1/sessions/{session}", P.ACCOUNT, 404),
    Call("list_members", "GET", "/v1/members", P.MEMBERS, 200),
    Call("get_member", "GET", "/v1/members/{member}", P.MEMBERS, 200),
    Call("change_member", "PATCH", "/v1/members/{member}", P.MEMBERS, 200, lambda _: {"role": "editor"}),
    Call("remove_member", "DELETE", "/v1/members/{member}", P.MEMBERS, 204),
    Call("hand_over_ownership", "POST", "/v1/members/{member}/ownership", P.EXPORT, 200),
    Call(
        "create_invitation",
        "POST",
        "/v1/invitations",
        P.MEMBERS,
        201,
        lambda _: {"email": _address(), "role": "editor"},
    ),
    Call("list_invitations", "GET", "/v1/invitations", P.MEMBERS, 200),
    Call("get_invitation", "GET", "/v1/invitations/{invitation}", P.MEMBERS, 200),
    Call("revoke_invitation", "DELETE", "/v1/invitations/{invitation}", P.MEMBERS, 204),
    Call("get_usage", "GET", "/v1/usage", P.AUDIT, 200),
    Call("get_limits", "GET", "/v1/tenants/{tenant}/limits", P.PLATFORM, 200),
    Call("set_quotas", "PUT", "/v1/tenants/{tenant}/quotas", P.PLATFORM, 200, lambda _: {"documents": {"soft": 10**9}}),
    Call("set_rates", "PUT", "/v1/tenants/{tenant}/rates", P.PLATFORM, 200, lambda _: {"each": {"other": "9999/day"}}),
    Call("create_credential", "POST", "/v1/credentials", P.MANAGE, 201, lambda _: _a_credential()),
    Call("list_credentials", "GET", "/v1/credentials", P.MANAGE, 200),
    Call("get_credential", "GET", "/v1/credentials/{credential}", P.MANAGE, 200),
    Call("change_credential", "PATCH", "/v1/credentials/{credential}", P.MANAGE, 200, lambda _: {"secret": "another"}),
    Call("delete_credential", "DELETE", "/v1/credentials/{credential}", P.MANAGE, 204),
    Call("create_webhook", "POST", "/v1/webhooks", P.MANAGE, 201, lambda _: _a_webhook()),
    Call(
        "create_webhook",
        "POST",
        "/v1/webhooks",
        P.MANAGE,
        201,
        lambda w: {**_a_webhook(), "source_ids": [w["source"]]},
        names_ids=True,
    ),
    Call("list_webhooks", "GET", "/v1/webhooks", P.MANAGE, 200),
    Call("get_webhook", "GET", "/v1/webhooks/{webhook}", P.MANAGE, 200),
    Call("change_webhook", "PATCH", "/v1/webhooks/{webhook}", P.MANAGE, 200, lambda _: {"description": "Ours."}),
    Call("delete_webhook", "DELETE", "/v1/webhooks/{webhook}", P.MANAGE, 204),
    Call("rotate_webhook", "POST", "/v1/webhooks/{webhook}/rotate", P.MANAGE, 200),
    Call("test_webhook", "POST", "/v1/webhooks/{webhook}/test", P.MANAGE, 200),
    Call("list_deliveries", "GET", "/v1/webhooks/{webhook}/deliveries?status=failed", P.MANAGE, 200),
    Call("retry_delivery", "POST", "/v1/webhooks/{webhook}/deliveries/{delivery}/retry", P.MANAGE, 200),
    Call("list_audit_events", "GET", "/v1/audit", P.AUDIT, 200),
    Call("list_audit_events", "GET", "/v1/audit?from=2026-01-01T00:00:00Z&action=key.created", P.AUDIT, 200),
    Call("create_source", "POST", "/v1/sources", P.CURATE, 201, lambda _: {"name": _fresh()}),
    Call("list_sources", "GET", "/v1/sources", P.METADATA, 200),
    Call("list_sources", "GET", "/v1/sources?bot_id={bot}", P.METADATA, 200, names_ids=True),
    Call("get_source", "GET", "/v1/sources/{source}", P.METADATA, 200),
    Call("change_source", "PATCH", "/v1/sources/{source}", P.CURATE, 200, lambda _: {"name": _fresh()}),
    Call("delete_source", "DELETE", "/v1/sources/{source}", P.CURATE, 204),
    Call("refresh_source", "POST", "/v1/sources/{fetched}/refresh", P.INGEST, 202, lambda _: {"accept_empty": True}),
    Call("pause_source", "POST", "/v1/sources/{fetched}/pause", P.CURATE, 200),
    Call("resume_source", "POST", "/v1/sources/{fetched}/resume", P.CURATE, 200),
    Call("list_runs", "GET", "/v1/sources/{fetched}/runs", P.METADATA, 200),
    Call("list_items", "GET", "/v1/sources/{fetched}/items?status=failed", P.METADATA, 200),
    Call("create_source", "POST", "/v1/sources", P.CURATE, 201, lambda _: _a_site()),
    Call(
        "create_source",
        "POST",
        "/v1/sources",
        P.CURATE,
        201,
        lambda w: {"name": _fresh(), "kind": "s3", "place": {"bucket": "abc", "credential_id": w["credential"]}},
        names_ids=True,
        needs_too=P.MANAGE,
    ),
    Call("change_source", "PATCH", "/v1/sources/{fetched}", P.CURATE, 200, lambda _: {"schedule": 3600}),
    Call(
        "put_text",
        "POST",
        "/v1/sources/{source}/texts",
        P.INGEST,
        202,
        lambda _: {"key": "t.md", "text": "Some words."},
    ),
    Call(
        "create_bot",
        "POST",
        "/v1/bots",
        P.CURATE,
        201,
        lambda w: {"name": _fresh(), "source_ids": [w["source"]]},
        names_ids=True,
    ),
    Call(
        "create_bot",
        "POST",
        "/v1/bots",
        P.CURATE,
        201,
        lambda w: {"name": _fresh(), "source_ids": [], "credential_id": w["credential"]},
        names_ids=True,
    ),
    Call(
        "change_bot",
        "PATCH",
        "/v1/bots/{bot}",
        P.CURATE,
        200,
        lambda w: {"credential_id": w["credential"]},
        names_ids=True,
    ),
    Call("list_bots", "GET", "/v1/bots", P.METADATA, 200),
    Call("get_bot", "GET", "/v1/bots/{bot}", P.METADATA, 200),
    Call("change_bot", "PATCH", "/v1/bots/{bot}", P.CURATE, 200, lambda _: {"instructions": "Be brief."}),
    Call("delete_bot", "DELETE", "/v1/bots/{bot}", P.CURATE, 204),
    Call("upload_documents", "POST", "/v1/sources/{source}/documents", P.INGEST, 202, options=FILE),
    Call("put_document", "PUT", "/v1/sources/{source}/documents/a/b.txt", P.INGEST, 202, options={"content": b"Hi."}),
    Call("list_documents", "GET", "/v1/documents", P.METADATA, 200),
    Call("list_documents", "GET", "/v1/documents?source_id={source}", P.METADATA, 200, names_ids=True),
    Call("list_documents", "GET", "/v1/documents?bot_id={bot}&status=ready", P.METADATA, 200, names_ids=True),
    Call("get_document", "GET", "/v1/documents/{document}", P.METADATA, 200),
    Call("list_versions", "GET", "/v1/documents/{document}/versions", P.METADATA, 200),
    Call("get_content", "GET", "/v1/documents/{document}/content", P.SEARCH, 200),
    Call(
        "describe_document",
        "PATCH",
        "/v1/documents/{document}",
        P.INGEST,
        200,
        lambda _: {"attributes": {"team": "red"}},
    ),
    Call("delete_document", "DELETE", "/v1/documents/{document}", P.INGEST, 204),
    Call(
        "delete_documents",
        "POST",
        "/v1/documents/delete",
        P.INGEST,
        200,
        lambda w: {"document_ids": [w["document"]]},
        names_ids=True,
    ),
    Call(
        "redrive",
        "POST",
        "/v1/ingestion/redrive",
        P.INGEST,
        200,
        lambda w: {"document_ids": [w["failed"]]},
        names_ids=True,
    ),
    Call("retry_document", "POST", "/v1/documents/{failed}/retry", P.INGEST, 200),
    Call("redrive", "POST", "/v1/ingestion/redrive", P.INGEST, 200),
    Call(
        "redrive", "POST", "/v1/ingestion/redrive", P.INGEST, 200, lambda w: {"source_id": w["source"]}, names_ids=True
    ),
    Call("watch_ingestion", "GET", "/v1/ingestion/events?until=settled", P.METADATA, 200),
    Call(
        "watch_ingestion",
        "GET",
        "/v1/ingestion/events?until=settled&source_id={source}",
        P.METADATA,
        200,
        names_ids=True,
    ),
    Call("search", "POST", "/v1/search", P.SEARCH, 200, lambda _: {"query": "boats"}),
    Call("search", "POST", "/v1/search", P.SEARCH, 200, lambda w: {"query": "x", "bot_id": w["bot"]}, names_ids=True),
    Call(
        "search",
        "POST",
        "/v1/search",
        P.SEARCH,
        200,
        lambda w: {"query": "x", "source_ids": [w["source"]]},
        names_ids=True,
    ),
    Call(
        "search",
        "POST",
        "/v1/search",
        P.SEARCH,
        200,
        lambda w: {"query": "x", "tenants": [w["tenant"]]},
        names_ids=True,
    ),
    Call("list_chats", "GET", "/v1/chats", P.ASK, 200),
    Call("export_chats", "GET", "/v1/chats/export?format=csv", P.ASK, 200),
    Call("get_chat", "GET", "/v1/chats/{chat}", P.ASK, 200),
    Call("rename_chat", "PATCH", "/v1/chats/{chat}", P.ASK, 200, lambda _: {"title": _fresh()}),
    Call("delete_chat", "DELETE", "/v1/chats/{chat}", P.ASK, 204),
    Call("list_messages", "GET", "/v1/chats/{chat}/messages", P.ASK, 200),
    Call("export_chat", "GET", "/v1/chats/{chat}/export", P.ASK, 200),
    Call("export_chat", "GET", "/v1/chats/{chat}/export?format=csv", P.ASK, 200),
    Call("set_feedback", "PUT", "/v1/messages/{message}/feedback", P.ASK, 200, lambda _: {"rating": "up"}),
    Call("give_feedback", "POST", "/v1/messages/{unrated}/feedback", P.ASK, 201, lambda _: {"rating": "down"}),
    Call("withdraw_feedback", "DELETE", "/v1/messages/{message}/feedback", P.ASK, 204),
    Call("get_feedback", "GET", "/v1/feedback", P.AUDIT, 200),
    # what a tool is asked for, and what it refuses, stands inside the message: test_mcp.py
    Call("mcp", "POST", "/mcp", P.METADATA, 200, options={"json": A_MESSAGE, "headers": {"Accept": "*/*"}}),
    Call("chat", "POST", "/v1/chat", P.ASK, 200, lambda _: {"message": "boats?"}),
    Call("chat", "POST", "/v1/chat", P.ASK, 200, lambda w: {"message": "x", "bot_id": w["bot"]}, names_ids=True),
    Call("chat", "POST", "/v1/chat", P.ASK, 200, lambda w: {"message": "x", "chat_id": w["chat"]}, names_ids=True),
    Call(
        "chat",
        "POST",
        "/v1/chat",
        P.ASK,
        200,
        lambda w: {"message": "x", "source_ids": [w["source"]], "stream": True},
        names_ids=True,
    ),
    Call("openai_list_models", "GET", f"{DOOR}/models", P.METADATA, 200),
    Call("openai_get_model", "GET", f"{DOOR}/models/{{bot}}", P.METADATA, 200),
    Call("openai_embed", "POST", f"{DOOR}/embeddings", P.SEARCH, 200, lambda _: {"model": "carrel", "input": "boats"}),
    Call("openai_complete", "POST", f"{DOOR}/chat/completions", P.ASK, 200, lambda _: _an_openai_question()),
    Call(
        "openai_complete",
        "POST",
        f"{DOOR}/chat/completions",
        P.ASK,
        200,
        lambda w: {**_an_openai_question(), "model": w["bot"], "stream": True},
        names_ids=True,
    ),
    Call(
        "openai_complete",
        "POST",
        f"{DOOR}/chat/completions",
        P.ASK,
        200,
        lambda w: {**_an_openai_question(), "metadata": {"chat_id": w["chat"]}},
        names_ids=True,
    ),
    Call("openai_create_file", "POST", f"{DOOR}/files", P.INGEST, 200, options=A_FORM),
    Call("openai_list_files", "GET", f"{DOOR}/files", P.METADATA, 200),
    Call("openai_get_file", "GET", f"{DOOR}/files/{{file}}", P.METADATA, 200),
    Call("openai_get_file_content", "GET", f"{DOOR}/files/{{file}}/content", P.SEARCH, 200),
    Call("openai_delete_file", "DELETE", f"{DOOR}/files/{{file}}", P.INGEST, 200),
    Call("openai_create_vector_store", "POST", f"{DOOR}/vector_stores", P.CURATE, 200, lambda _: {"name": _fresh()}),
    Call(
        "openai_create_vector_store",
        "POST",
        f"{DOOR}/vector_stores",
        P.CURATE,
        200,
        lambda w: {"name": _fresh(), "file_ids": [w["file"]]},
        names_ids=True,
        needs_too=P.INGEST,
    ),
    Call("openai_list_vector_stores", "GET", f"{DOOR}/vector_stores", P.METADATA, 200),
    Call("openai_get_vector_store", "GET", f"{STORE}", P.METADATA, 200),
    Call("openai_change_vector_store", "POST", f"{STORE}", P.CURATE, 200, lambda _: {"name": _fresh()}),
    Call("openai_delete_vector_store", "DELETE", f"{STORE}", P.CURATE, 200),
    Call("openai_search", "POST", f"{STORE}/search", P.SEARCH, 200, lambda _: {"query": "boats"}),
    Call(
        "openai_attach_file",
        "POST",
        f"{STORE}/files",
        P.INGEST,
        200,
        lambda w: {"file_id": w["file"]},
        names_ids=True,
    ),
    Call("openai_list_store_files", "GET", f"{STORE}/files", P.METADATA, 200),
    Call("openai_get_store_file", "GET", f"{STORE}/files/{{file}}", P.METADATA, 200),
    Call(
        "openai_describe_store_file",
        "POST",
        f"{STORE}/files/{{file}}",
        P.INGEST,
        200,
        lambda _: {"attributes": {"team": "red"}},
    ),
    Call("openai_detach_file", "DELETE", f"{STORE}/files/{{file}}", P.INGEST, 200),
    Call("openai_get_store_file_content", "GET", f"{STORE}/files/{{file}}/content", P.SEARCH, 200),
    Call(
        "openai_create_batch",
        "POST",
        f"{STORE}/file_batches",
        P.INGEST,
        200,
        lambda w: {"file_ids": [w["file"]]},
        names_ids=True,
    ),
    Call("openai_get_batch", "GET", f"{STORE}/file_batches/{{batch}}", P.METADATA, 200),
    Call("openai_list_batch_files", "GET", f"{STORE}/file_batches/{{batch}}/files", P.METADATA, 200),
]
