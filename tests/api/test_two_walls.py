"""Where the door and the journey behind it both refuse, each is asked alone; and each id in a body by itself."""

import uuid

import pytest

from api.callers import Caller, CallerMaker
from api.calls import CALLS, Call
from carrel.api.app import ROUTES
from carrel.api.security import GuardedRoute, permission_of
from carrel.domain.errors import Denied
from carrel.domain.ids import DocumentId, SourceId
from carrel.library.documents import Shelf
from support.stand import Stand
from support.tenants import a_tenant

DECLARED = {route.name: permission_of(route) for route in ROUTES if isinstance(route, GuardedRoute)}


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method} {call.path}")
def test_a_route_declares_the_permission_that_the_table_names(call: Call) -> None:
    assert DECLARED[call.name] is call.needs


async def test_the_journey_hands_no_bytes_to_who_may_not_search(carrel: Stand) -> None:
    principal = await (await a_tenant(carrel.app)).principal("ask", "ingest", "manage")
    assert (await carrel.app.documents.listed(principal, Shelf())).items == []
    documents, absent = carrel.app.documents, DocumentId(uuid.uuid4())
    for reading in (
        lambda: documents.download(principal, absent),
        lambda: documents.read(principal, absent),
        lambda: documents.texts(principal, SourceId(uuid.uuid4()), absent),
        lambda: documents.many(principal, [absent]),
    ):
        with pytest.raises(Denied):
            await reading()


async def test_a_key_is_limited_to_what_its_maker_sees_and_each_id_is_looked_up(
    owner: Caller, a_caller: CallerMaker
) -> None:
    stranger = await a_caller()
    source = await stranger.source()
    bot = (await stranger.made("/v1/bots", {"name": "b", "source_ids": [source]}))["id"]
    mine = await owner.source()
    for limits in ({"source_ids": [source]}, {"source_ids": [mine, source]}, {"bot_ids": [bot]}):
        answer = await owner("POST", "/v1/keys", json={"name": "k", "scopes": ["search"], **limits})
        assert answer.status_code == 404, limits
