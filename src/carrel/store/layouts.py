"""Layouts: a tenant's entries in pooled tables or in tables of its own, and the steps from one to the other.

Each function is one step in its caller's transaction, of the grant's own tenant, and can be repeated.
"""

from typing import Final, Literal
from uuid import UUID

import asyncpg

from carrel.domain.errors import NotFound, Unavailable
from carrel.domain.layout import Isolation, Layout, LayoutState
from carrel.store.transaction import Statement, Transaction

Kind = Literal["dense", "lexical"]
KINDS: Final[tuple[Kind, ...]] = ("dense", "lexical")
_MEMORY: Final = "256MB"  # an HNSW graph of 150,000 chunks; a larger one is built too, but slowly

_LOOK = Statement("select state, asked, chunks, settled from layout_of()")
_OPEN = Statement("select open_own()")
_SHAPE = Statement("select shape_own(:dimension)")
_SHAPE_AS_LIVE = Statement("""
    select shape_own((select g.dimension from generations g where g.tenant_id = :tenant and g.state = 'live'))
""")
_INDEX = Statement("select index_own(:memory)")
_RECONCILE = Statement("select reconcile_own(:kind, :after, :most)")
_TURN = Statement("select turn_layout(:former, :following)")
_CLEAR = Statement("select clear_pooled(:most)")
_CLOSE = Statement("select close_own()")


async def look(tx: Transaction) -> Layout:
    """Raises NotFound for a tenant that is not there."""
    row = await tx.row(_LOOK)
    if row is None:
        raise NotFound
    asked = row["asked"] and Isolation(row["asked"])
    return Layout(LayoutState(row["state"]), asked, row["chunks"], row["settled"])


async def begin_dedicated(tx: Transaction) -> None:
    """A tenant that has nothing yet gets its own tables at once."""
    await open_own(tx)
    await index_own(tx)
    await turn(tx, LayoutState.FILLING, LayoutState.PROMOTING)
    await turn(tx, LayoutState.PROMOTING, LayoutState.DEDICATED)


async def open_own(tx: Transaction) -> bool:
    """Empty tables of its own, unless there are some already."""
    opened = bool(await tx.value(_OPEN))
    await tx.run(_SHAPE_AS_LIVE)
    return opened


async def shape_own(tx: Transaction, dimension: int) -> None:
    """How long the vectors will be, for a tenant that got its own tables before its first document."""
    await tx.run(_SHAPE, dimension=dimension)


async def index_own(tx: Transaction) -> None:
    """Takes minutes for a large tenant, and holds up nobody: nothing else touches tables that are being filled."""
    await tx.run(_INDEX, memory=_MEMORY)


async def reconcile(tx: Transaction, kind: Kind, *, after: UUID | None, most: int) -> UUID | None:
    """Make the next entries after a chunk alike in both layouts. Where it came to; None at the end.

    Raises Unavailable when a chunk is deleted at the same moment: try again.
    """
    try:
        reached: UUID | None = await tx.value(_RECONCILE, kind=kind, after=after, most=most)
    except asyncpg.ForeignKeyViolationError as error:
        raise Unavailable("A chunk was deleted while its entry was copied.") from error
    return reached


async def turn(tx: Transaction, former: LayoutState, following: LayoutState) -> bool:
    """The switch. False when the tenant is elsewhere, or when both sides are not alike yet: reconcile again."""
    return bool(await tx.value(_TURN, former=former, following=following))


async def clear_pooled(tx: Transaction, *, most: int) -> int:
    """Remove what a dedicated tenant left in the pooled tables. How many entries went; 0 when none is left."""
    return int(await tx.value(_CLEAR, most=most))


async def close_own(tx: Transaction) -> bool:
    """Drop the tables of a tenant that is pooled again. False while a search may still read them."""
    return bool(await tx.value(_CLOSE))
