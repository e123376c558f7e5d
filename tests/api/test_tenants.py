"""The life of a tenant over HTTP: what one sees of it, and the archive as a client gets it."""

import asyncio
import io
import json
import tarfile
import uuid
from typing import Any

import pytest

from api.callers import Caller, CallerMaker
from carrel.domain.access import for_job
from carrel.domain.errors import Unavailable
from carrel.domain.ids import DocumentId
from carrel.store import documents
from carrel.tenancy.archive import FILES
from support.people import a_person
from support.quiet import blobs_of
from support.stand import Stand


@pytest.fixture
async def boss(carrel: Stand, owner: Caller) -> Caller:
    """The owner in person."""
    assert owner.tenant is not None
    person = await a_person(carrel, owner=owner.tenant.id)
    return Caller(owner.client, person.token(owner.tenant.id), owner.tenant)


def path(caller: Caller, more: str = "") -> str:
    assert caller.tenant is not None
    return f"/v1/tenants/{caller.tenant.id}{more}"


async def test_an_owner_sees_and_renames_the_own_tenant(boss: Caller) -> None:
    renamed = await boss("PATCH", path(boss), json={"name": "  Another Name "})
    assert (renamed.status_code, renamed.json()["name"]) == (200, "Another Name")
    assert (await boss("GET", path(boss))).json() == renamed.json()


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "a\u202eb"}, {"name": 5}, {"name": "x", "slug": "y"}])
async def test_a_name_that_is_none_is_refused(boss: Caller, body: dict[str, object]) -> None:
    before = (await boss("GET", path(boss))).json()
    assert (await boss("PATCH", path(boss), json=body)).status_code == 422
    assert (await boss("GET", path(boss))).json() == before


async def test_a_suspended_tenant_is_refused_at_once(an_operator: Caller, owner: Caller, boss: Caller) -> None:
    suspended = await an_operator("POST", path(owner, "/suspend"))
    assert (suspended.status_code, suspended.json()["status"]) == (200, "suspended")
    for caller in (owner, boss):
        refused = await caller("GET", "/v1/sources")
        assert (refused.status_code, refused.json()["code"]) == (401, "tenant_inactive")
    assert (await an_operator("POST", path(owner, "/suspend"))).json() == suspended.json()
    assert (await an_operator("POST", path(owner, "/resume"))).json()["status"] == "active"
    assert (await owner("GET", "/v1/sources")).status_code == 200


async def test_a_deleted_tenant_is_gone_at_once_and_leaves_a_receipt(
    an_operator: Caller, owner: Caller, boss: Caller
) -> None:
    assert owner.tenant is not None
    await owner.put(await owner.source(), "boats.md", "# Boats\n\nBoats float.")
    assert (await boss("DELETE", path(boss))).status_code == 204
    for caller in (owner, boss):
        assert (await caller("GET", "/v1/sources")).status_code == 401
    absent = await an_operator("GET", f"/v1/tenants/{uuid.uuid4()}")
    for method, more in (("GET", ""), ("DELETE", ""), ("POST", "/suspend"), ("POST", "/resume")):
        answer = await an_operator(method, path(owner, more))
        assert (answer.status_code, answer.content) == (404, absent.content)
    listed = (await an_operator("GET", "/v1/tenants?limit=200")).json()["items"]
    assert str(owner.tenant.id) not in [one["id"] for one in listed]
    made = await an_operator("POST", "/v1/tenants", json={"name": "Heir", "slug": owner.tenant.slug})
    assert made.status_code == 201
    receipt = await settled(an_operator, path(owner, "/receipt"))
    assert receipt["tenant_id"] == str(owner.tenant.id)
    assert (receipt["destroyed"]["documents"], receipt["destroyed"]["files"]) == (1, 1)
    assert (await an_operator("GET", f"/v1/tenants/{made.json()['id']}/receipt")).content == absent.content


async def settled(caller: Caller, place: str) -> dict[str, Any]:
    async with asyncio.timeout(120):
        while True:
            receipt = (await caller("GET", place)).json()
            if receipt["completed_at"]:
                return dict(receipt)
            await asyncio.sleep(0.05)


async def test_an_archive_comes_as_an_attachment(owner: Caller, boss: Caller) -> None:
    assert boss.tenant is not None
    await owner.put(await owner.source(), "boats.md", "# Boats\n\nBoats float.")
    answer = await boss("POST", path(boss, "/export"))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/x-tar"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{boss.tenant.slug}.tar"'
    with tarfile.open(fileobj=io.BytesIO(answer.content), mode="r:") as tar:
        names = tar.getnames()
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        assert json.load(manifest)["private"] == "own"
    assert names[: len(FILES)] == list(FILES)
    assert names[-1] == "manifest.json"


async def test_somebody_elses_tenant_is_absent(boss: Caller, a_caller: CallerMaker) -> None:
    stranger = await a_caller()
    for more in ("", "/export"):
        method = "POST" if more else "GET"
        foreign = await boss(method, path(stranger, more))
        absent = await boss(method, f"/v1/tenants/{uuid.uuid4()}{more}")
        assert (foreign.status_code, foreign.content) == (404, absent.content)


async def test_an_archive_that_breaks_has_no_end(carrel: Stand, owner: Caller, boss: Caller) -> None:
    """What the client has got by then holds no manifest, so nobody takes it for whole."""
    assert boss.tenant is not None
    kept = await owner.put(await owner.source(), "boats.md", "# Boats\n\nBoats float.")
    principal = await carrel.app.principals.authenticate(boss.key or "")
    exported = await carrel.app.exports.begin(principal, boss.tenant.id)
    async with carrel.database.transaction(for_job(boss.tenant.id, None)) as tx:
        place = await documents.content(tx, DocumentId(uuid.UUID(kept["id"])))
    await carrel.parts.base.blobs.delete(place.blob_key)
    (blobs_of(carrel) / place.blob_key).write_bytes(b"other")
    got = b""

    async def read() -> None:
        nonlocal got
        async for piece in exported.content:
            got += piece

    with pytest.raises(Unavailable):
        await read()
    assert b"tenant.json" in got
    assert b"manifest.json" not in got
