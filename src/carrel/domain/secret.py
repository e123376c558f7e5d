"""Secrets in clear text: what they are while they are used, and nowhere else."""

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Never, SupportsIndex, final

_HIDDEN: Final = "Secret(…)"
_NOT_KEPT: Final = "A secret is neither copied nor written down: reveal it where it is used."
_LONG_ENOUGH: Final = 16


@final
class Secret:
    """A text that is shown by `reveal` alone. It cannot be printed, compared, copied, pickled or made into JSON."""

    __hash__ = None  # type: ignore[assignment]
    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    @property
    def last_four(self) -> str:
        """By which its owner knows it again; empty for one so short that four characters would be much of it."""
        return self._text[-4:] if len(self._text) >= _LONG_ENOUGH else ""

    def __repr__(self) -> str:
        return _HIDDEN

    def __format__(self, spec: str) -> str:
        return _HIDDEN

    def __eq__(self, other: object) -> bool:
        """Raises TypeError: a comparison would tell how much of it is right, by its time."""
        raise TypeError("Secrets are not compared.")

    def __reduce_ex__(self, protocol: SupportsIndex) -> Never:
        raise TypeError(_NOT_KEPT)


@final
@dataclass(frozen=True, slots=True, repr=False)
class MasterKeys:
    """The deployment's master keys: `current` protects what is made from now on, the others are only read with."""

    current: bytes
    others: tuple[bytes, ...] = ()

    def __repr__(self) -> str:
        return "MasterKeys(…)"

    def every(self) -> tuple[bytes, ...]:
        return (self.current, *self.others)

    def named(self, name: str) -> bytes | None:
        """The key that has this id."""
        return next((key for key in self.every() if master_id(key) == name), None)


def master_id(key: bytes) -> str:
    """By which what a master key protects names it. It says nothing of the key."""
    return hmac.digest(key, b"carrel: the id of a master key", sha256).hex()[:16]
