"""A forgotten password: a code by mail, and with it a new one. It ends every session, and signs nobody in."""

from carrel.domain.access import for_accounts
from carrel.domain.audit import Act
from carrel.domain.ids import UserId
from carrel.store import accounts, codes
from carrel.store.transaction import Database, Transaction
from carrel.tenancy.brakes import Brakes, Try
from carrel.tenancy.codes import Codes, Purpose, wrong_code
from carrel.tenancy.notices import tell
from carrel.tenancy.passwords import Passwords, demand_strength


class Recovery:
    def __init__(self, database: Database, *, passwords: Passwords, brakes: Brakes, codes: Codes) -> None:
        self._database = database
        self._passwords = passwords
        self._brakes = brakes
        self._codes = codes

    async def forgot(self, email: str, *, origin: str) -> None:
        """A code is on its way, if there is such an account; whether there is, nothing here tells. Raises Throttled."""
        await self._brakes.on(Try.MAIL, account=email, origin=origin)
        async with self._database.transaction(for_accounts()) as tx:
            await self._codes.issue(tx, await self._person(tx, email), Purpose.RESET)

    async def reset(self, email: str, code: str, password: str, *, origin: str) -> None:
        """Raises Throttled, Invalid `weak_password`, `invalid_code`."""
        demand_strength(password, email=email)
        await self._brakes.on(Try.CODE, account=email, origin=origin)
        async with self._database.transaction(for_accounts()) as tx:
            user = await self._person(tx, email)
            tried = await codes.attempt(tx, user, Purpose.RESET)
        row = self._codes.proves(tried, user, Purpose.RESET, code)
        hashed = await self._passwords.hash(password)
        async with self._database.transaction(for_accounts()) as tx:
            memberships = await accounts.memberships(tx, user)

        async def effect(tx: Transaction) -> None:
            if not await codes.use(tx, row) or await accounts.resettable(tx, user) is None:
                raise wrong_code()
            await accounts.set_password(tx, user, hashed)
            await accounts.raise_epoch(tx, user)

        await tell(self._database, Act.PASSWORD_RESET, user, memberships, effect=effect, by=user)

    async def _person(self, tx: Transaction, email: str) -> UserId:
        """Or whoever stands for nobody: the same is done for both."""
        found = await accounts.by_email(tx, email)
        return self._codes.nobody(email) if found is None else found.id
