"""The ASGI application: the routes, each with its guard, inside one envelope."""

from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI
from starlette.routing import BaseRoute

from carrel.api import openapi, problems
from carrel.api.envelope import Envelope
from carrel.api.mcp.door import McpDoor
from carrel.api.openai import chat as openai_chat
from carrel.api.openai import embeddings as openai_embeddings
from carrel.api.openai import files as openai_files
from carrel.api.openai import models as openai_models
from carrel.api.openai import search as openai_search
from carrel.api.openai import store_files as openai_store_files
from carrel.api.openai import vector_stores as openai_vector_stores
from carrel.api.routes import (
    account,
    asking,
    audit,
    auth,
    bots,
    chats,
    credentials,
    description,
    documents,
    health,
    ingestion,
    invitations,
    keys,
    limits,
    logins,
    mcp,
    members,
    refreshes,
    sessions,
    sources,
    tenants,
    texts,
    uploads,
    webhooks,
)
from carrel.api.security import demand_guards
from carrel.api.state import Opening, lifespan

ROUTES: Final[Sequence[BaseRoute]] = tuple(
    route
    for part in (
        health,
        auth,
        account,
        sessions,
        tenants,
        members,
        invitations,
        keys,
        credentials,
        webhooks,
        audit,
        sources,
        refreshes,
        bots,
        uploads,
        texts,
        documents,
        ingestion,
        asking,
        chats,
        logins,
        limits,
        openai_models,
        openai_chat,
        openai_embeddings,
        openai_files,
        openai_vector_stores,
        openai_store_files,
        openai_search,
        mcp,
        description,
    )
    for route in part.router.routes
)


def create_app(application: Opening, *, routes: Sequence[BaseRoute] = ROUTES) -> FastAPI:
    """`application` is opened when the server starts and closed when it stops.

    Raises UnguardedRouteError when a route could be called without a declared permission.
    """
    demand_guards(routes)
    door = McpDoor()
    app = FastAPI(
        routes=list(routes),
        lifespan=lifespan(application, door.run),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.mcp = door
    problems.handle(app)
    app.add_middleware(Envelope)
    app.openapi = _described(routes)  # type: ignore[method-assign]
    return app


def _described(routes: Sequence[BaseRoute]) -> Callable[[], dict[str, Any]]:
    return cache(lambda: openapi.describe(routes, version("carrel")))
