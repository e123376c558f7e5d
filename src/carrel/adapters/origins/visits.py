"""Asking a site's hosts, as a guest: what robots.txt forbids is left alone, and a host in trouble is not asked on."""

import asyncio
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from carrel.adapters.origins.manners import Manners
from carrel.adapters.origins.marks import OUR_NAME
from carrel.adapters.origins.robots import Robots
from carrel.adapters.origins.urls import canonical, path_of, root_of, site_of
from carrel.domain.errors import Denied, Refusal, Throttled, Unavailable
from carrel.ports.web import Page, Reading, Web

_ROBOTS_BYTES: Final = 512 << 10  # RFC 9309: at least 500 KiB are read
_LONGEST_DELAY: Final = 10.0
_PATIENCE: Final = 30.0  # seconds that a walk waits for a host that asks for it
_MOST_FAILURES: Final = 3
_MOST_ROOTS: Final = 32
_NO_RULES: Final = frozenset({"page_denied", "answer_refused"})  # any other 4xx than 429: nobody said anything


@dataclass(frozen=True, slots=True)
class Wish:
    """`accepts` None takes any media type."""

    most: int
    accepts: frozenset[str] | None = None


def disallowed() -> Denied:
    return Denied("The site's robots.txt keeps crawlers away from this page.", code="robots_disallowed")


class Visits:
    """Of one walk: each host's robots.txt is fetched once in it."""

    def __init__(self, web: Web, manners: Manners) -> None:
        self._web = web
        self._manners = manners
        self._robots: dict[str, Robots | Refusal] = {}
        self._failures: Counter[str] = Counter()

    async def read(self, url: str, wish: Wish, *, tag: str | None = None, sites: Collection[str] | None) -> Reading:
        """`sites` are those to which a redirect may lead; None means any.

        Raises what `Web.read` raises, Denied `robots_disallowed`, Unavailable `robots_unavailable`.
        """
        site = site_of(url)
        if root_of(url) not in self._robots:
            async with self._manners.turn(site):
                await self._rules(url)
        rules = await self._rules(url)
        if not rules.allows(path_of(url)):
            raise disallowed()
        if self._failures[site] >= _MOST_FAILURES:
            detail = "The site did not answer several times, and is not asked again now."
            raise Unavailable(detail, code="web_unavailable")
        async with self._manners.turn(site, min(rules.delay, _LONGEST_DELAY)):
            return await self._counted(url, wish, tag=tag, sites=sites)

    async def _counted(self, url: str, wish: Wish, *, tag: str | None, sites: Collection[str] | None) -> Reading:
        """A host that did not answer three times in a row is not asked again in this walk."""
        try:
            found = await self._patient(url, wish, tag=tag, sites=sites)
        except Unavailable:
            self._failures[site_of(url)] += 1
            raise
        self._failures[site_of(url)] = 0
        return found

    async def _patient(self, url: str, wish: Wish, *, tag: str | None, sites: Collection[str] | None) -> Reading:
        async def follows(there: str) -> bool:
            place = canonical(there)
            if place is None:
                return True  # to be refused with its reason
            inside = sites is None or site_of(place) in sites
            return inside and (await self._rules(place)).allows(path_of(place))

        try:
            return await self._web.read(url, most=wish.most, accepts=wish.accepts, tag=tag, follows=follows)
        except Throttled as busy:
            if busy.wait > _PATIENCE:
                raise
            await self._manners.wait(busy.wait)
        return await self._web.read(url, most=wish.most, accepts=wish.accepts, tag=tag, follows=follows)

    async def _rules(self, url: str) -> Robots:
        """Raises Unavailable `robots_unavailable`, Invalid `address_refused`."""
        root = root_of(url)
        if root not in self._robots:
            if len(self._robots) >= _MOST_ROOTS:
                del self._robots[next(iter(self._robots))]
            self._robots[root] = await self._fetched(root)
        rules = self._robots[root]
        if isinstance(rules, Refusal):
            raise rules
        return rules

    async def _fetched(self, root: str) -> Robots | Refusal:
        try:
            found = await self._web.read(f"{root}/robots.txt", most=_ROBOTS_BYTES)
        except Refusal as refusal:
            if refusal.code in _NO_RULES:
                return Robots()
            if refusal.code == "address_refused":
                return refusal
            detail = f"The site's robots.txt cannot be read, so nothing of the site is. {refusal.detail}"
            return Unavailable(detail, code="robots_unavailable")
        if not isinstance(found, Page):
            return Robots()
        return await asyncio.to_thread(Robots.read, found.content.decode("utf-8", "replace"), token=OUR_NAME)
