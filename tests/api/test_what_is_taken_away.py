"""A key whose time is over, a tenant that is not active, a source that is taken away: nothing of before is shown."""

import uuid

import pytest

from api.callers import Caller, CallerMaker
from support.raw import connected
from support.stand import Stand


async def said(caller: Caller) -> tuple[int, str]:
    answer = await caller("GET", "/v1/sources")
    return answer.status_code, answer.json()["code"] if answer.is_error else ""


async def test_a_key_whose_time_is_over_is_dead(carrel: Stand, owner: Caller) -> None:
    wish = {"name": "k", "scopes": ["search"], "expires_at": "2999-01-01T00:00:00Z"}
    made = await owner.made("/v1/keys", wish)
    key = Caller(owner.client, made["key"])
    assert await said(key) == (200, "")
    async with connected(carrel.endpoint.superuser_url) as superuser:
        await superuser.execute("update api_keys set expires_at = now() where id = $1", uuid.UUID(made["id"]))
    assert await said(key) == (401, "expired_key")


@pytest.mark.parametrize("status", ["suspended", "deleting"])
async def test_keys_of_a_tenant_that_is_not_active_are_dead(carrel: Stand, a_caller: CallerMaker, status: str) -> None:
    caller = await a_caller()
    assert caller.tenant
    async with connected(carrel.endpoint.superuser_url) as superuser:
        await superuser.execute("update tenants set status = $1 where id = $2", status, caller.tenant.id)
    assert await said(caller) == (401, "tenant_inactive")


async def test_an_answer_is_not_repeated_to_who_may_not_read_its_source_any_more(owner: Caller) -> None:
    kept, taken = await owner.source("kept"), await owner.source("taken")
    await owner.put(kept, "cars.md", "# Cars\n\nCars drive on roads.")
    await owner.put(taken, "boats.md", "# Boats\n\nBoats float on water.")
    bot = (await owner.made("/v1/bots", {"name": "b", "source_ids": [kept, taken]}))["id"]
    limited = {"name": "k", "scopes": ["ask"], "bot_ids": [bot]}
    reader = Caller(owner.client, (await owner.made("/v1/keys", limited))["key"])
    body, headers = {"message": "Do boats float on water?"}, {"Idempotency-Key": f"key-{uuid.uuid4()}"}
    first = await reader("POST", "/v1/chat", json=body, headers=headers)
    assert "float" in first.text
    await owner("PATCH", f"/v1/bots/{bot}", json={"source_ids": [kept]})
    again = await reader("POST", "/v1/chat", json=body, headers=headers)
    assert (again.status_code, again.json()["code"]) == (422, "idempotency_mismatch")


async def test_an_answer_is_repeated_whatever_else_came_or_went_meanwhile(owner: Caller) -> None:
    kept, gone = await owner.source("kept"), await owner.source("gone")
    await owner.put(kept, "cars.md", "# Cars\n\nCars drive on roads.")
    body, headers = {"message": "Do cars drive on roads?"}, {"Idempotency-Key": f"key-{uuid.uuid4()}"}
    first = await owner("POST", "/v1/chat", json=body, headers=headers)
    await owner("DELETE", f"/v1/sources/{gone}")
    await owner.source("new")
    again = await owner("POST", "/v1/chat", json=body, headers=headers)
    assert (again.status_code, again.json()) == (200, first.json())
