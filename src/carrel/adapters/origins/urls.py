"""Addresses of pages in one form, so that a page has one key."""

import re
from typing import Final

import httpx2

from carrel.domain.errors import Invalid
from carrel.domain.keys import document_key

_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]")
_PORTS: Final = {"http": 80, "https": 443}
_SAFE: Final = "A-Za-z0-9_~!$&'()*+,;=:@-"
# What is canonical for certain: most addresses in sitemaps are, and working it out takes a hundred times as long.
_CANONICAL: Final = re.compile(
    r"https?://[a-z0-9-]+(\.[a-z0-9-]+)*(:(?!80/|443/)[1-9][0-9]{0,3})?"
    rf"(/|(/[{_SAFE}][.{_SAFE}]*)+/?)(\?[.{_SAFE}]+)?"
)
_SHORT: Final = 1024
_HIGHEST_PORT: Final = 65_535
_LONGEST: Final = 4096  # what is longer has no canonical form that could be a key


def canonical(text: str, base: str | None = None) -> str | None:
    """The form in which an address is compared and kept; None for what is no page's address, or too long for a key.

    No fragment, no default port, a host in lower case without its last dot, `.` and `..` resolved, and only what must
    be escaped is. The query stays as it is: its order may matter.
    """
    if len(text) <= _SHORT and _CANONICAL.fullmatch(text):
        return text
    if len(text) > _LONGEST or "\\" in text:
        return None
    try:
        url = httpx2.URL(base).join(text.strip()) if base else httpx2.URL(text.strip())
        url = httpx2.URL(_ESCAPE.sub(_plain, str(url)))  # anew: an escaped dot may have hidden a `..`
        return document_key(_written(url)) if _is_page(url) else None
    except (httpx2.InvalidURL, UnicodeError, ValueError, Invalid):
        return None


def site_of(url: str) -> str:
    """The host, with its port where that is not its scheme's own: pages of one site have it in common."""
    return url.split("/", 3)[2]


def path_of(url: str) -> str:
    """From the first slash on, with the query."""
    return "/" + url.split("/", 3)[3]


def root_of(url: str) -> str:
    """As in `https://example.org`."""
    return url[: -len(path_of(url))]


def _is_page(url: httpx2.URL) -> bool:
    return url.scheme in _PORTS and bool(url.host) and not url.userinfo and (url.port or 1) <= _HIGHEST_PORT


def _written(url: httpx2.URL) -> str:
    host = url.raw_host.decode("ascii").rstrip(".").lower()
    place = f"[{host}]" if ":" in host else host
    port = f":{url.port}" if url.port and url.port != _PORTS[url.scheme] else ""
    return f"{url.scheme}://{place}{port}{url.raw_path.decode('ascii')}"


def _plain(escape: re.Match[str]) -> str:
    """An escape that need not be one as its character, any other in capitals."""
    character = chr(int(escape[1], 16))
    return character if _UNRESERVED.fullmatch(character) else escape[0].upper()
