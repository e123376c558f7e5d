"""How people come in, with collaborators that count what they are asked."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from carrel.domain.ids import UserId
from carrel.ports.limits import Limiter
from carrel.store import codes
from carrel.store.transaction import Database, Grant, Transaction
from carrel.tenancy.brakes import Brakes
from carrel.tenancy.codes import Codes, Purpose
from carrel.tenancy.mailroom import Mailroom
from carrel.tenancy.passwords import Passwords
from carrel.tenancy.recovery import Recovery
from carrel.tenancy.registration import Registering, Registration
from carrel.tenancy.sign_in import Knock, SignIn
from carrel.tenancy.tokens import AccessTokens
from carrel.wiring.mail import writers
from support.brakes import NoLimiter
from support.post import Mailbox
from support.stand import SECRETS, Stand

PASSWORD, WRONG, HERE = "a long enough word", "another long word", "192.0.2.0/24"
PEPPER = SECRETS.pepper


class CountedPasswords(Passwords):
    def __init__(self, passes: int, memory: int) -> None:
        super().__init__(passes=passes, memory=memory)
        self.hashes = 0

    async def hash(self, password: str) -> str:
        self.hashes += 1
        return await super().hash(password)

    async def proves(self, password: str, hashed: str | None) -> bool:
        self.hashes += 1
        return await super().proves(password, hashed)


class CountedCodes(Codes):
    """Counts what was compared with a code that is there."""

    evaluated = 0

    def proves(self, tried: codes.Attempt | None, user: UserId, purpose: Purpose, code: str) -> uuid.UUID:
        self.evaluated += tried is not None
        return super().proves(tried, user, purpose, code)


class CountedDatabase(Database):
    def __init__(self, real: Database) -> None:
        self._real = real
        self.transactions = 0

    @asynccontextmanager
    async def transaction(self, grant: Grant, *, timeout: float = 30.0) -> AsyncIterator[Transaction]:
        self.transactions += 1
        async with self._real.transaction(grant, timeout=timeout) as tx:
            yield tx


@dataclass
class Entrance:
    """The product's own, with collaborators that count."""

    carrel: Stand
    limiter: Limiter = field(default_factory=NoLimiter)
    price: tuple[int, int] = (1, 8)  # of a hash: passes and KiB

    def __post_init__(self) -> None:
        self.mailbox = Mailbox()
        self.database, self.passwords = CountedDatabase(self.carrel.database), CountedPasswords(*self.price)
        self.codes, brakes = CountedCodes(pepper=PEPPER), Brakes(self.limiter, pepper=PEPPER)
        parts = {"passwords": self.passwords, "brakes": brakes}
        self.registration = Registration(self.database, **parts, codes=self.codes)  # type: ignore[arg-type]
        self.recovery = Recovery(self.database, **parts, codes=self.codes)  # type: ignore[arg-type]
        tokens = AccessTokens(SECRETS.master_key)
        self.sign_in = SignIn(self.database, **parts, tokens=tokens, pepper=PEPPER)  # type: ignore[arg-type]
        self.mailroom = Mailroom(self.carrel.database, self.mailbox, writers(self.carrel.parts.base))

    async def person(self) -> str:
        """The address of somebody with an account and the password."""
        email = f"{uuid.uuid4().hex}@people.example"
        await self.registration.register(Registering(email, PASSWORD, "Ada", "Acme"), origin=HERE)
        await self.registration.verify(email, await self.code(email), origin=HERE)
        return email

    async def code(self, email: str) -> str:
        await self.mailroom.work()
        return self.mailbox.code_for(email)


ACTS: dict[str, Callable[[Entrance, str], Awaitable[object]]] = {
    "register": lambda e, email: e.registration.register(Registering(email, PASSWORD, "A", "B"), origin=HERE),
    "resend": lambda e, email: e.registration.resend(email, origin=HERE),
    "forgot": lambda e, email: e.recovery.forgot(email, origin=HERE),
    "sign in": lambda e, email: e.sign_in.by_password(Knock(email, WRONG, None, "", HERE)),
    "verify": lambda e, email: e.registration.verify(email, "000000", origin=HERE),
    "reset": lambda e, email: e.recovery.reset(email, "000000", WRONG, origin=HERE),
}
