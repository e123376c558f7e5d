"""Who makes webhooks, and who tells them."""

from carrel.tenancy.courier import Courier
from carrel.tenancy.dispatch import Dispatch
from carrel.tenancy.vault import Vault
from carrel.tenancy.webhooks import Webhooks
from carrel.wiring.database import Base


def webhooks(base: Base) -> Webhooks:
    return Webhooks(base.database, _vault(base), _courier(base), pepper=base.secrets.pepper)


def dispatch(base: Base) -> Dispatch:
    return Dispatch(base.database, _courier(base))


def _courier(base: Base) -> Courier:
    return Courier(base.database, _vault(base), base.outgoing)


def _vault(base: Base) -> Vault:
    return Vault(base.secrets.master_keys)
