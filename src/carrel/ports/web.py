"""Asking other machines over HTTP."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came back with status 200: its media type without parameters, and its bytes, decoded."""

    media_type: str
    content: bytes


class Web(Protocol):
    """One way out, with its rules. An address that the rules do not allow is never connected to."""

    async def get(self, url: str, *, most: int, accepts: frozenset[str]) -> Fetched:
        """`most` bytes after decoding, one of these media types, no redirect.

        Raises Invalid `address_refused` or `answer_refused`, Unavailable `web_unavailable`.
        """
        ...
