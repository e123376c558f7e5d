"""The HTTP door in front of the running Carrel, and callers who hold a key."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext

import httpx2
import pytest
from fastapi import FastAPI

from api.callers import Caller, CallerMaker
from api.calls import Call, World
from api.worlds import a_world, admitted_to
from carrel.api.app import create_app
from support.doors import serving
from support.openai_door import Speaker, speaking
from support.stand import Stand
from support.tenants import a_tenant


@pytest.fixture(scope="session")
async def door(carrel: Stand) -> AsyncIterator[FastAPI]:
    app = create_app(lambda: nullcontext(carrel.app))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture(scope="session")
async def client(door: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(door)
    async with httpx2.AsyncClient(transport=transport, base_url="http://carrel.test", timeout=90) as client:
        yield client


@pytest.fixture(scope="session")
def nobody(client: httpx2.AsyncClient) -> Caller:
    return Caller(client)


@pytest.fixture
def an_operator(client: httpx2.AsyncClient, operator: str) -> Caller:
    return Caller(client, operator)


@pytest.fixture
def a_caller(carrel: Stand, client: httpx2.AsyncClient) -> CallerMaker:
    """A caller of a new tenant, or of `of`'s; without scopes the key has all four."""

    async def make(*scopes: str, of: Caller | None = None) -> Caller:
        tenant = of.tenant if of and of.tenant else await a_tenant(carrel.app)
        return Caller(client, await tenant.key(*scopes), tenant)

    return make


@pytest.fixture
async def owner(a_caller: CallerMaker) -> Caller:
    return await a_caller()


@pytest.fixture
async def world(carrel: Stand, owner: Caller) -> World:
    """Something of everything, in the owner's tenant."""
    return await a_world(carrel, owner)


@pytest.fixture(scope="session")
async def address(carrel: Stand) -> AsyncIterator[tuple[str, int]]:
    """The door on a real socket."""
    async with serving(create_app(lambda: nullcontext(carrel.app))) as place:
        yield place


@pytest.fixture
async def speaker(address: tuple[str, int]) -> AsyncIterator[Speaker]:
    """The official client of OpenAI's API, for whoever calls."""
    async with speaking(address) as speak:
        yield speak


Admitted = Callable[[Call], Awaitable[Caller]]


@pytest.fixture
def admitted(carrel: Stand, owner: Caller, an_operator: Caller) -> Admitted:
    return lambda call: admitted_to(call, carrel, owner, an_operator)
