"""To whom a worker listens: to no tenant more than to another, and to no more than it can."""

import uuid

from carrel.domain.ids import SourceId, TenantId
from carrel.ingest.listen import chosen
from carrel.store.source_runs import Reference


def some(tenant: TenantId, many: int) -> list[Reference]:
    return [Reference(tenant, SourceId(uuid.uuid4()), None) for _ in range(many)]


def test_no_tenant_takes_the_ears_of_others() -> None:
    greedy, modest = some(TenantId(uuid.UUID(int=1)), 50), some(TenantId(uuid.UUID(int=2)), 3)
    heard = chosen([*greedy, *modest], each=10, most=8)
    assert len(heard) == 8
    assert set(modest) <= set(heard)
    assert len(chosen([*greedy, *modest], each=10, most=100)) == 13


def test_the_choice_does_not_change_with_the_order() -> None:
    refs = some(TenantId(uuid.UUID(int=1)), 9)
    assert chosen(refs, each=4) == chosen(refs[::-1], each=4)
    assert chosen([]) == []
