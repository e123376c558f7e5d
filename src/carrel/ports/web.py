"""Asking other machines over HTTP, and telling them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came back with status 200: its media type without parameters, and its bytes, decoded."""

    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """What stands at an address: `url` is where the redirects ended, `charset` what the answer's header names.

    `tag` packs what tells this state from the next; None where the other side says nothing of the kind. `robots` are
    the answer's `X-Robots-Tag` lines.
    """

    url: str
    media_type: str
    charset: str | None
    content: bytes
    tag: str | None
    robots: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unchanged:
    """It is as it was when it had the tag."""


@dataclass(frozen=True, slots=True)
class Absent:
    """The other side says that nothing is there (404), or not any more (410)."""


@dataclass(frozen=True, slots=True)
class Left:
    """A redirect leads to where the caller does not follow."""

    url: str


Reading: TypeAlias = Page | Unchanged | Absent | Left
Follows: TypeAlias = Callable[[str], Awaitable[bool]]


class Web(Protocol):
    """One way out, with its rules. An address that the rules do not allow is never connected to.

    Whatever the rules do not allow is refused in the same words: they do not tell what stands there.
    """

    async def get(self, url: str, *, most: int, accepts: frozenset[str]) -> Fetched:
        """`most` bytes after decoding, one of these media types, no redirect.

        Raises Invalid `address_refused` or `answer_refused`, Unavailable `web_unavailable`.
        """
        ...

    async def read(
        self,
        url: str,
        *,
        most: int,
        accepts: frozenset[str] | None = None,
        tag: str | None = None,
        follows: Follows | None = None,
    ) -> Reading:
        """A page that people read: redirects are followed, three at most, each address judged anew.

        `tag` is that of an earlier answer of this address. `accepts` None takes every media type, and the empty one
        stands for an answer that names none. `follows` is asked before each redirect. Raises Invalid `address_refused`,
        `answer_refused`, `redirects_refused` or `page_denied`, Unsupported, TooLarge, Throttled `web_throttled`,
        Unavailable `web_unavailable`.
        """
        ...


class Outgoing(Protocol):
    """One way out for what is told to others, with its rules, as for `Web`."""

    async def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer, whatever it is: no redirect is followed, and nothing of its body is kept.

        Raises Invalid `address_refused`, Unavailable `web_unavailable`.
        """
        ...
