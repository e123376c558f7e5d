"""Every call of the surface, with what it needs and what its owner gets."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from carrel.domain.rights import Permission

World = Mapping[str, str]


@dataclass(frozen=True)
class Call:
    """`path` and `body` take the ids of a world; `names_ids` says that a stranger's ids in the body are looked up."""

    name: str
    method: str
    path: str
    needs: Permission
    owner_gets: int
    body: Callable[[World], Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    names_ids: bool = False

    def sent(self, world: World) -> dict[str, Any]:
        body = {} if self.body is None else {"json": self.body(world)}
        return {**body, **self.options}

    def to(self, world: World) -> str:
        return self.path.format(**world)


def _fresh() -> str:
    return f"name {uuid.uuid4()}"


FILE = {"files": [("files", ("new.txt", b"A new file.", "text/plain"))]}
P = Permission

CALLS = [
    Call("create_tenant", "POST", "/v1/tenants", P.PLATFORM, 201, lambda _: {"name": _fresh()}),
    Call("list_tenants", "GET", "/v1/tenants", P.PLATFORM, 200),
    Call("get_tenant", "GET", "/v1/tenants/{tenant}", P.PLATFORM, 200),
    Call("create_key", "POST", "/v1/keys", P.MANAGE, 201, lambda _: {"name": "k", "scopes": ["search"]}),
    Call(
        "create_key",
        "POST",
        "/v1/keys",
        P.MANAGE,
        201,
        lambda w: {"name": "k", "scopes": ["search"], "source_ids": [w["source"]], "bot_ids": [w["bot"]]},
        names_ids=True,
    ),
    Call("list_keys", "GET", "/v1/keys", P.MANAGE, 200),
    Call("get_key", "GET", "/v1/keys/{key}", P.MANAGE, 200),
    Call("revoke_key", "DELETE", "/v1/keys/{key}", P.MANAGE, 204),
    Call("create_source", "POST", "/v1/sources", P.CURATE, 201, lambda _: {"name": _fresh()}),
    Call("list_sources", "GET", "/v1/sources", P.METADATA, 200),
    Call("list_sources", "GET", "/v1/sources?bot_id={bot}", P.METADATA, 200, names_ids=True),
    Call("get_source", "GET", "/v1/sources/{source}", P.METADATA, 200),
    Call("change_source", "PATCH", "/v1/sources/{source}", P.CURATE, 200, lambda _: {"name": _fresh()}),
    Call("delete_source", "DELETE", "/v1/sources/{source}", P.CURATE, 204),
    Call(
        "create_bot",
        "POST",
        "/v1/bots",
        P.CURATE,
        201,
        lambda w: {"name": _fresh(), "source_ids": [w["source"]]},
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
    Call("retry_document", "POST", "/v1/documents/{failed}/retry", P.INGEST, 200),
    Call("redrive", "POST", "/v1/ingestion/redrive", P.INGEST, 200),
    Call(
        "redrive", "POST", "/v1/ingestion/redrive", P.INGEST, 200, lambda w: {"source_id": w["source"]}, names_ids=True
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
]
