"""What people leave behind: codes that are over, registrations that nobody verified, sessions that ended long ago."""

from carrel.domain.access import for_accounts
from carrel.store import accounts, codes, sign_ins
from carrel.store.transaction import Database


class Tidying:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> None:
        """Raises Unavailable."""
        async with self._database.transaction(for_accounts()) as tx:
            await codes.forget_old(tx)
            await accounts.forget_old(tx)
            await sign_ins.forget_old(tx)
