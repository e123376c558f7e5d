"""A web site as a place that documents come from: pages by their links, or those that sitemaps name.

A page's key is its address in canonical form: where its redirects end, or what it calls its own address on the same
site. Pages whose links are followed are always read, since an unchanged page does not say what it links to; all others
are asked for on the condition that they have changed.

When something stood in the way of a part of the site, the walk ends with a refusal after all that it could see: then
nothing counts as gone. docs/web-sources.md tells it from outside.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from carrel.adapters.origins.charsets import in_utf8
from carrel.adapters.origins.manners import Manners
from carrel.adapters.origins.marks import Marks, marks_of
from carrel.adapters.origins.sitemap import MOST_BYTES, Entry, Sitemap, sitemap_of
from carrel.adapters.origins.urls import canonical, site_of
from carrel.adapters.origins.visits import Visits, Wish, disallowed
from carrel.domain.errors import Invalid, Refusal, Throttled, Unavailable
from carrel.domain.origins import Site
from carrel.ports.origins import Failed, Found, Gone, Known, Notice, Same, Sight
from carrel.ports.web import Absent, Left, Page, Unchanged, Web

MOST: Final = 20 << 20  # bytes of a page
READ: Final = frozenset({
    "", "application/octet-stream",  # then the bytes and the address's ending say what it is
    "text/html", "application/xhtml+xml", "text/plain", "text/markdown", "text/x-markdown", "text/x-rst", "text/csv",
    "text/tab-separated-values", "application/pdf", "application/x-pdf", "application/json", "application/xml",
    "text/xml", "application/yaml", "text/yaml", "application/rtf", "text/rtf", "application/epub+zip",
    "application/msword",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.oasis.opendocument.presentation",
})  # fmt: skip
"""Media types of documents. What of them an installation reads, ingestion says; images and films never come so far."""
_HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
_AT_ONCE: Final = 50  # keys whose tags are asked for together
_WAITING: Final = 4  # addresses that may wait, for each page that may be read: many turn out to be the same
_NESTING: Final = 3
_PIECE: Final = 1 << 18
_LASTMOD: Final = "lastmod "
_HASHED: Final = "sha256 "
_BLIND: Final = frozenset({"unsupported_type", "too_large"})  # there are no links that could be followed anyway
_MANY_DENIED: Final = 3
_SHARE_DENIED: Final = 10


class WebSite:
    """Keeps the port `Origin` for a site. All of a process share `manners`."""

    def __init__(self, site: Site, web: Web, manners: Manners, *, accepts: frozenset[str] = READ) -> None:
        self._site = site
        self._web = web
        self._manners = manners
        self._accepts = accepts

    def walk(self, known: Known) -> AsyncIterator[Sight]:
        """Raises Invalid `invalid_url` or `invalid_sitemap`, Throttled, Unavailable `walk_incomplete`, and what kept
        the walk from its first page.
        """
        walk = _Walk(self._site, Visits(self._web, self._manners), Wish(MOST, self._accepts), known)
        return walk.named() if self._site.sitemap else walk.linked()

    async def look(self, key: str, known: Known) -> Sight:
        """Raises Unavailable and Throttled."""
        walk = _Walk(self._site, Visits(self._web, self._manners), Wish(MOST, self._accepts), known)
        tag = (await known([key])).get(key)
        if canonical(key) != key or (tag is None and site_of(key) not in walk.sites):
            return Failed(key, Invalid("This address is not one of the site's.", code="invalid_url"))
        step = await walk.visit(Entry(key), tag, follows=False)
        if isinstance(step.sight, Failed) and isinstance(step.sight.refusal, Unavailable):
            raise step.sight.refusal
        return step.sight if step.sight and step.sight.key == key else Gone(key)

    async def events(self) -> AsyncIterator[Notice]:
        """A site does not tell."""
        return
        yield


@dataclass(frozen=True, slots=True)
class _Step:
    sight: Sight | None = None
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Problem:
    """What stood in the way, and where."""

    url: str
    refusal: Refusal

    def told(self) -> str:
        return f"{self.url[:200]}: {self.refusal.detail}"


class _Walk:
    def __init__(self, site: Site, visits: Visits, wish: Wish, known: Known) -> None:
        self._site = site
        self._visits = visits
        self._wish = wish
        self._known = known
        self._starts = tuple(_starts(site))
        self.sites = dict.fromkeys(site_of(start) for start in self._starts)
        self._told: set[str] = set()
        self._left = site.pages
        self._problem: _Problem | None = None
        self._denied: list[_Problem] = []

    async def linked(self) -> AsyncIterator[Sight]:
        """Breadth first from the given addresses."""
        met = dict.fromkeys(self._starts)
        level = list(met)
        for depth in range(self._site.depth + 1):
            further: list[str] = []
            async for step in self._visited([Entry(url) for url in level], follows=depth < self._site.depth):
                if step.sight:
                    yield step.sight
                for link in step.links:
                    if link not in met and site_of(link) in self.sites and len(met) < _WAITING * self._site.pages:
                        met[link] = None
                        further.append(link)
            level = further
        self._finish()

    async def named(self) -> AsyncIterator[Sight]:
        """What the sitemaps name, in their order, on their sites."""
        entries: dict[str, Entry] = {}
        for start in self._starts:
            async for entry in self._listed(start):
                if site_of(entry.url) in self.sites and len(entries) < self._site.pages:
                    entries.setdefault(entry.url, entry)
        async for step in self._visited(list(entries.values()), follows=False):
            if step.sight:
                yield step.sight
        self._finish()

    async def visit(self, entry: Entry, tag: str | None, *, follows: bool) -> _Step:
        """One page: what to tell of it, and its links if they are followed. Raises Throttled."""
        url, is_start = entry.url, entry.url in self._starts
        try:
            found = await self._visits.read(
                url, self._wish, tag=None if follows else tag, sites=None if is_start else self.sites
            )
        except Throttled:
            raise
        except Refusal as refusal:
            return self._failed(url, refusal, tag, follows=follows)
        match found:
            case Absent():
                return self._absent(url, tag, follows=follows)
            case Unchanged():
                self._told.add(url)
                return _Step(Same(url))
            case Left():
                return _Step(Failed(url, disallowed()) if is_start else None)
            case Page():
                return await self._seen(found, entry, tag, follows=follows)

    async def _visited(self, entries: Sequence[Entry], *, follows: bool) -> AsyncIterator[_Step]:
        for start in range(0, len(entries), _AT_ONCE):
            batch = entries[start : start + _AT_ONCE]
            tags = await self._known([entry.url for entry in batch])
            for entry in batch:
                tag = tags.get(entry.url)
                if entry.url in self._told or self._left <= 0:
                    continue
                self._left -= 1
                if entry.changed and tag == _LASTMOD + entry.changed:
                    self._told.add(entry.url)
                    yield _Step(Same(entry.url))
                else:
                    yield await self.visit(entry, tag, follows=follows)

    async def _seen(self, page: Page, entry: Entry, tag: str | None, *, follows: bool) -> _Step:
        url = canonical(page.url)
        if url is None:
            return _Step(Failed(entry.url, Invalid("It leads to an address that is no key.", code="invalid_url")))
        if entry.url in self._starts:
            self.sites.setdefault(site_of(url))
        marks = await self._marks(page, url)
        key = marks.canonical if marks.canonical and site_of(marks.canonical) == site_of(url) else url
        links = marks.links if follows else ()
        if key in self._told or not marks.indexed:
            return _Step(links=links)
        self._told.add(key)
        if key != entry.url:
            tag = (await self._known([key])).get(key)
        return _Step(await asyncio.to_thread(_sight, page, key, tag, changed=entry.changed), links)

    async def _marks(self, page: Page, url: str) -> Marks:
        if page.media_type not in _HTML:
            return marks_of(b"", url, page.robots)
        return await asyncio.to_thread(marks_of, page.content, url, page.robots)

    def _failed(self, url: str, refusal: Refusal, tag: str | None, *, follows: bool) -> _Step:
        is_start = url in self._starts
        if refusal.code == "robots_disallowed":
            return _Step(Failed(url, refusal) if is_start or self._site.sitemap else None)
        if refusal.code == "robots_unavailable" or (follows and (is_start or refusal.retryable)):
            self._problem = self._problem or _Problem(url, refusal)
        elif follows and tag is not None and refusal.code not in _BLIND:
            self._denied.append(_Problem(url, refusal))
        self._told.add(url)
        return _Step(Failed(url, refusal))

    def _absent(self, url: str, tag: str | None, *, follows: bool) -> _Step:
        """A start that is not there hides all that it led to, so it ends no document but its own."""
        is_start = url in self._starts
        if is_start and follows:
            self._problem = self._problem or _Problem(url, _gone("A page from which the walk begins is not there."))
        return _Step(Gone(url)) if is_start or tag is not None else _Step()

    async def _listed(self, start: str) -> AsyncIterator[Entry]:
        """The pages that a sitemap names, and those that its sitemaps do."""
        met, level = {start}, [start]
        for depth in range(_NESTING + 1):
            further: list[str] = []
            for url in level:
                sitemap = await self._sitemap(url)
                for entry in sitemap.pages:
                    yield entry
                for entry in sitemap.sitemaps:
                    if entry.url not in met and site_of(entry.url) in self.sites:
                        met.add(entry.url)
                        further.append(entry.url)
            if depth == _NESTING and further:
                raise Invalid(f"Sitemaps name others more than {_NESTING} deep.", code="invalid_sitemap")
            level = further

    async def _sitemap(self, url: str) -> Sitemap:
        """Raises what keeps it from being read: pages that it alone names would seem gone."""
        sites = None if url in self._starts else self.sites
        found = await self._visits.read(url, Wish(MOST_BYTES), sites=sites)
        if not isinstance(found, Page) or (place := canonical(found.url)) is None:
            raise _gone("A sitemap is not there.")
        if url in self._starts:
            self.sites.setdefault(site_of(place))
        return await asyncio.to_thread(sitemap_of, found.content, place)

    def _finish(self) -> None:
        """Raises Unavailable `walk_incomplete`, or what kept the walk from everything.

        A page that the site closed for us is the site's right; when it closes many at once, it has shut us out.
        """
        visited = self._site.pages - self._left
        if len(self._denied) >= _MANY_DENIED and len(self._denied) * _SHARE_DENIED > visited:
            self._problem = self._problem or self._denied[0]
        if self._problem is None:
            return
        if self._told <= set(self._starts):
            raise self._problem.refusal
        detail = f"Not all of the site could be seen, so nothing of it counts as gone. {self._problem.told()}"
        raise Unavailable(detail, code="walk_incomplete")


def _starts(site: Site) -> Iterator[str]:
    for url in dict.fromkeys(site.urls):
        start = canonical(url)
        if start is None:
            raise Invalid(f"This is no address of a page: {url[:100]!r}.", code="invalid_url")
        yield start


def _gone(detail: str) -> Invalid:
    return Invalid(detail, code="page_gone")


def _sight(page: Page, key: str, known: str | None, *, changed: str | None) -> Sight:
    """Every page gets a tag, so that one without a tag is one that was never read."""
    content = in_utf8(page)
    tag = page.tag or (_LASTMOD + changed if changed else _HASHED + sha256(content).hexdigest())
    if tag == known:
        return Same(key)
    return Found(key, tag, _pieces(content), page.media_type or None)


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), _PIECE):
        yield content[start : start + _PIECE]
