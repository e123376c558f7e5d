"""Generations: which embedder and analyzer made the entries that a tenant's searches read."""

from typing import Any, Final

from carrel.domain.errors import Conflict
from carrel.domain.ids import GenerationId, new_id
from carrel.domain.library import Generation
from carrel.store import layouts
from carrel.store.transaction import Statement, Transaction

_LIVE = Statement("""
    select id, embedder, dimension, analyzer from generations where tenant_id = :tenant and state = 'live'
""")
LIVE_ID: Final = "(select g.id from generations g where g.tenant_id = :tenant and g.state = 'live')"
"""For a statement of its own: the live generation's id, null before the tenant's first document."""

_ADD = Statement("""
    insert into generations (tenant_id, id, embedder, dimension, analyzer, state)
    values (:tenant, :id, :embedder, :dimension, :analyzer, 'live')
    on conflict (tenant_id) where state = 'live' do nothing
""")


async def live(tx: Transaction) -> Generation | None:
    """None before the tenant's first document."""
    row = await tx.row(_LIVE)
    return _generation(row) if row else None


async def live_or_first(tx: Transaction, *, embedder: str, dimension: int, analyzer: str) -> Generation:
    """The live generation, made now if there is none. Raises Conflict `generation_mismatch` when it is another's."""
    generation = await live(tx)
    if generation is None:
        await tx.run(_ADD, id=new_id(), embedder=embedder, dimension=dimension, analyzer=analyzer)
        await layouts.shape_own(tx, dimension)
        generation = await live(tx)
    if generation is None or (generation.embedder, generation.analyzer) != (embedder, analyzer):
        was = "another embedder" if generation is None else generation.embedder
        raise Conflict(
            f"This tenant's documents were indexed by {was}; this server has {embedder} ({analyzer})."
            " Set CARREL_EMBEDDER__… as it was, or move the tenant: export it, import it as a new one.",
            code="generation_mismatch",
        )
    return generation


def _generation(row: Any) -> Generation:
    return Generation(GenerationId(row["id"]), row["embedder"], row["dimension"], row["analyzer"])
