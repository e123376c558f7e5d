"""How people come in: everything that accounts and sign-ins need, built together."""

from dataclasses import dataclass

from carrel.tenancy.accounts import Accounts
from carrel.tenancy.brakes import Brakes
from carrel.tenancy.codes import Codes
from carrel.tenancy.joining import Joining
from carrel.tenancy.origins import Origins
from carrel.tenancy.recovery import Recovery
from carrel.tenancy.registration import Registration
from carrel.tenancy.sign_in import SignIn
from carrel.tenancy.tokens import AccessTokens
from carrel.wiring.database import Base


@dataclass(frozen=True, slots=True)
class Entrance:
    registration: Registration
    recovery: Recovery
    sign_in: SignIn
    accounts: Accounts
    joining: Joining
    origins: Origins


def entrance(base: Base, tokens: AccessTokens) -> Entrance:
    database, pepper, passwords = base.database, base.secrets.pepper, base.passwords
    brakes, codes = Brakes(base.limiter, pepper=pepper), Codes(pepper=pepper)
    return Entrance(
        registration=Registration(database, passwords=passwords, brakes=brakes, codes=codes),
        recovery=Recovery(database, passwords=passwords, brakes=brakes, codes=codes),
        sign_in=SignIn(database, passwords=passwords, tokens=tokens, brakes=brakes, pepper=pepper),
        accounts=Accounts(database, passwords=passwords, brakes=brakes),
        joining=Joining(database, passwords, brakes, pepper=pepper),
        origins=Origins(base.proxies),
    )
