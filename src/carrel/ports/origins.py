"""Where a source's documents come from when nobody uploads them: a web site, a bucket, a folder.

An origin is walked as a whole now and then, and asked about single things when an event names them. What is there is
found, what has gone is missed: whatever a whole walk did not mention has disappeared.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from carrel.domain.access import TenantGrant
from carrel.domain.errors import Refusal
from carrel.domain.origins import Place


@dataclass(frozen=True, slots=True)
class Found:
    """A thing that is there and is not as it was. `content` is read once, at once, or not at all.

    `key` becomes the document's key. `tag` is whatever changes when the thing does (an ETag, a version, size and time);
    None means that only its bytes can tell.
    """

    key: str
    tag: str | None
    content: AsyncIterator[bytes]
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class Same:
    """A thing that is there, as the known tag says: nothing is read."""

    key: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A thing that is there and cannot be had now. The others go on, and its document stays as it is."""

    key: str
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Gone:
    """A thing that is not there any more."""

    key: str


Sight: TypeAlias = Found | Same | Failed | Gone


class Known(Protocol):
    """The tags that things had when they were last read; one that was never read has none."""

    async def __call__(self, keys: Sequence[str]) -> Mapping[str, str]: ...


class Origin(Protocol):
    """One place. No transaction is open while it is walked."""

    def walk(self, known: Known) -> AsyncIterator[Sight]:
        """All that is there, each key once.

        Raises a Refusal when the place as a whole cannot be walked to its end: then nothing counts as gone.
        """
        ...

    async def look(self, key: str, known: Known) -> Sight:
        """One thing, for an event that names it. Raises a Refusal when the place does not answer."""
        ...

    def events(self) -> AsyncIterator["Notice"]:
        """Keys of things that have changed, as they change, until cancelled; nothing for a place that does not tell.

        Raises a Refusal when listening breaks off: it is begun again later.
        """
        ...


@dataclass(frozen=True, slots=True)
class Notice:
    """An event. `key` None means that more has changed than was told: the whole is walked again.

    What is not `settled` is told again.
    """

    key: str | None
    settled: AbstractAsyncContextManager[None]


class Origins(Protocol):
    """Where places are found, and which of them a tenant may name at all."""

    async def demand(self, slug: str, place: Place) -> None:
        """Raises Invalid, naming the field, for a place that this tenant may not name, or that cannot be one."""
        ...

    def opened(self, grant: TenantGrant, slug: str, place: Place) -> AbstractAsyncContextManager[Origin]:
        """Judged anew, since what is allowed may have changed. Raises a Refusal."""
        ...
