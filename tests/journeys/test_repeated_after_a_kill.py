"""A request with an Idempotency-Key whose API process is killed: sent again, it has one effect and one answer."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from support.fate import Order
from support.nursery import Nursery, Victim, a_nursery
from support.quiet import blobs_of
from support.raw import connected
from support.stand import Stand
from support.tenants import a_tenant


@pytest.fixture
def listener() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as open_socket:
        yield open_socket


@pytest.fixture(scope="module")
async def nursery() -> AsyncIterator[Nursery]:
    async with a_nursery() as found:
        yield found


@asynccontextmanager
async def an_api(
    nursery: Nursery, carrel: Stand, models: Path, listener: socket.socket, *, point: str
) -> AsyncIterator[Victim]:
    """One that kills itself at the point. Killed at the end, if it still lives."""
    order = Order(carrel.endpoint.app_url, str(blobs_of(carrel)), str(models), point)
    async with nursery.victim("api", order, listener=listener) as victim:
        async with asyncio.timeout(60):
            await victim.ready.wait()
        yield victim


@pytest.mark.parametrize(("point", "outcome"), [("registering", "created"), ("registered", "unchanged")])
async def test_an_upload_that_was_killed_is_taken_once_by_its_repetition(  # noqa: PLR0917 - pytest calls it by name
    nursery: Nursery, carrel: Stand, models: Path, listener: socket.socket, point: str, outcome: str
) -> None:
    tenant = await a_tenant(carrel.app)
    source = await tenant.source()
    headers = {"Authorization": f"Bearer {await tenant.key()}", "Idempotency-Key": f"killed-{point}"}
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/sources/{source.id}/documents"

    async def send() -> httpx2.Response:
        async with httpx2.AsyncClient(timeout=60) as client:
            return await client.post(url, files=[("files", ("a.txt", b"One."))], headers=headers)

    async with an_api(nursery, carrel, models, listener, point=point) as killed:
        with pytest.raises(httpx2.TransportError):
            await send()
        await killed.wait()
    async with connected(carrel.endpoint.superuser_url) as connection:
        held = "select status = 0 and held_until > now() from idempotency_keys where tenant_id = $1"
        assert await connection.fetchval(held, tenant.id)
        over = "update idempotency_keys set held_until = now() where tenant_id = $1"
        await connection.execute(over, tenant.id)  # as after ten seconds in which nobody beats
        async with an_api(nursery, carrel, models, listener, point=""):
            answers = await asyncio.gather(*(send() for _ in range(10)))
        assert {answer.status_code for answer in answers} == {202}, answers[0].text
        assert all(answer.json() == answers[0].json() for answer in answers)
        assert json.loads(answers[0].text)["results"][0]["outcome"] == outcome
        assert await connection.fetchval("select count(*) from document_versions where tenant_id = $1", tenant.id) == 1
