"""Rotating the master key: the files, if it is one, and the data keys of all tenants. May be run again at any point."""

from dataclasses import dataclass

from carrel.domain.errors import Conflict
from carrel.domain.ids import TenantId
from carrel.domain.secret import master_id
from carrel.settings import Settings
from carrel.tenancy.rotation import Rewrapped, rewrap_all
from carrel.tenancy.vault import Vault
from carrel.wiring.database import Base, opened


@dataclass(frozen=True, slots=True)
class Rotated:
    """`master` is the id of the key that is current now; `new` whether this run made it.

    `keys` is how many data keys it wraps that it did not, `unreadable` whose data keys could not be read.
    """

    master: str
    new: bool
    keys: int
    unreadable: tuple[TenantId, ...]


async def rotate(settings: Settings) -> Rotated:
    """A new master key, where it is a file, and every data key under the current one.

    Where the master key is a setting the operator has changed it already. Running processes go on: while the data keys
    change they can read both keys. Raises what `opened` raises.
    """
    async with opened(settings) as base:
        files, first = base.secrets.files, 0
        if files is not None:
            ahead = files.begin()
            first = (await rewrap_all(base.database, Vault(lambda: ahead))).keys
            files.switch()
        rest = await _rewrapped(base)
        current = master_id(base.secrets.master_keys().current)
        return Rotated(current, files is not None, first + rest.keys, rest.unreadable)


async def retire(settings: Settings) -> int:
    """Former master keys are destroyed, once nothing needs them; how many these were.

    Tokens that a former key signed end with it. Raises Conflict `master_key_in_use`, and what `opened` raises.
    """
    async with opened(settings) as base:
        rewrapped = await _rewrapped(base)
        if rewrapped.unreadable:
            raise Conflict(
                f"The data keys of {len(rewrapped.unreadable)} tenants do not open: see the log.",
                code="master_key_in_use",
            )
        return base.secrets.files.retire() if base.secrets.files else 0


async def _rewrapped(base: Base) -> Rewrapped:
    return await rewrap_all(base.database, Vault(base.secrets.master_keys))
