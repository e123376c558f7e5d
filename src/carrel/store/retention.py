"""For how many days a tenant keeps its chats, where it says so itself."""

from typing import Final

from carrel.store.transaction import Statement, Transaction

_GET: Final = Statement("select chat_days from retentions where tenant_id = :tenant")
_SET: Final = Statement("""
    insert into retentions (tenant_id, chat_days) values (:tenant, :days)
    on conflict (tenant_id) do update set chat_days = excluded.chat_days
""")
_CLEAR: Final = Statement("delete from retentions where tenant_id = :tenant")


async def own(tx: Transaction) -> int | None:
    """None where the tenant has said nothing."""
    found: int | None = await tx.value(_GET)
    return found


async def put(tx: Transaction, days: int | None) -> None:
    """None is as the deployment says."""
    await (tx.run(_CLEAR) if days is None else tx.run(_SET, days=days))
