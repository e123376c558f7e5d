"""Nothing inside is ever connected to, whatever names it and whoever sends one there, and all refusals are the same."""

import re
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from carrel.adapters.origins.manners import Manners
from carrel.adapters.origins.site import WebSite
from carrel.adapters.web import Allowed, OutboundWeb, Rules
from carrel.adapters.web.addresses import Address
from carrel.domain.errors import Refusal
from carrel.domain.origins import Site
from support.insides import insides
from support.sites import HTML, NAME, LoopbackSite, Memory, Names, Reply, a_site, an_origin, the_trust, walked

OUTSIDE = "127.0.0.2"
"""The only address that the operator allows; the canary sits at the next."""


@dataclass
class Numbers(Names):
    """Beside its names it knows numbers in every form that the system takes, and asks nobody."""

    async def __call__(self, host: str, port: int) -> list[Address]:
        if host.rstrip(".").lower() in self.answers:
            return await super().__call__(host.lower(), port)
        places = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return [ip_address(place[0]) for *_, place in places]


@dataclass
class Stage:
    site: LoopbackSite
    canary: LoopbackSite
    names: Names
    web: OutboundWeb

    def heard(self) -> int:
        return self.canary.most_at_once + len(self.canary.requests)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with a_site(OUTSIDE) as site, a_site("127.0.0.1") as canary:
        names = Numbers({
            NAME: [[OUTSIDE]],
            "localhost": [["127.0.0.1"], ["::1"]],
            "inside.example.org": [["127.0.0.1"]],
            "mixed.example.org": [["93.184.215.14", "127.0.0.1"]],
        })  # fmt: skip
        rules = Rules(Allowed.read(OUTSIDE), frozenset({80, 443, site.port, canary.port}), connect=2.0, total=5.0)
        yield Stage(site, canary, names, OutboundWeb(rules, trust=the_trust(), resolve=names))


async def refusal(web: OutboundWeb, url: str) -> tuple[str, str]:
    with pytest.raises(Refusal) as refused:
        await web.read(url, most=1_000)
    with pytest.raises(Refusal) as as_before:
        await web.get(url, most=1_000, accepts=frozenset({"text/html"}))
    assert str(as_before.value) == str(refused.value)
    return refused.value.code, refused.value.detail


async def test_the_stage_is_set(stage: Stage) -> None:
    """The site is reached, and the canary would be if the operator allowed it."""
    stage.site.link("/a")
    assert await walked(an_origin(stage.site, "/a", web=stage.web), Memory(), stage.site) == ["found /a"]
    allowing = OutboundWeb(
        Rules(Allowed.read("127.0.0.1"), frozenset({stage.canary.port})), trust=the_trust(), resolve=stage.names
    )
    for host in ("127.0.0.1", "0x7f.1", "2130706433", "localhost", "①②⑦.0.0.1"):
        with suppress(Refusal):
            await allowing.read(f"http://{host}:{stage.canary.port}/", most=1_000)
    assert stage.heard() > 4


async def test_every_address_that_leads_inside_is_refused_in_the_same_words(stage: Stage) -> None:
    urls = insides(stage.canary.port)

    answers = {url: await refusal(stage.web, url) for url in urls}

    assert len(urls) >= 120
    assert {code for code, _ in answers.values()} == {"address_refused"}
    assert len(set(answers.values())) == 1
    assert stage.heard() == 0


async def test_a_redirect_inside_is_refused_as_the_address_itself_is(stage: Stage) -> None:
    (direct,) = {await refusal(stage.web, "http://127.0.0.1/")}
    urls = [url for url in insides(stage.canary.port) if re.match(r"\w+://[^/]", url) and url.isprintable()]
    urls = [url for url in urls if url.isascii()]  # a header holds nothing else
    for url in urls:
        stage.site.moved("/go", url.strip())
        stage.site.moved("/hop", "/go", 307)
        for start in ("/go", "/hop"):
            with pytest.raises(Refusal) as refused:
                await stage.web.read(stage.site.at(start), most=1_000)
            assert (refused.value.code, refused.value.detail) == direct, url

    assert len(urls) >= 100
    assert stage.heard() == 0


async def test_a_source_with_such_an_address_fails_when_it_is_walked(stage: Stage) -> None:
    """It was stored when it may have been harmless: what counts is where it leads now."""
    for url in insides(stage.canary.port):
        for sitemap in (False, True):
            origin = WebSite(Site((url,), sitemap=sitemap, depth=1), stage.web, Manners(0.0))
            with pytest.raises(Refusal) as refused:
                await walked(origin, Memory(), stage.site)
            assert refused.value.code in {"address_refused", "invalid_url"}, url

    assert stage.heard() == 0


async def test_no_page_sends_a_walk_inside(stage: Stage) -> None:
    inside = f"http://127.0.0.1:{stage.canary.port}"
    stage.site.put(
        "/",
        f"<base href='{inside}/'><link rel=canonical href='{inside}/real'>"
        f"<meta http-equiv=refresh content='0;{inside}/'>"
        f"<a href='{inside}/a'>x</a><a href='a'>x</a><iframe src='{inside}/f'></iframe><img src='{inside}/i'>"
        f"<a href='{stage.site.at('/go')}'>x</a><a href='//127.0.0.1:{stage.canary.port}/b'>x</a>",
        link=f"<{inside}/>; rel=canonical",
        location=f"{inside}/",
        refresh=f"0;url={inside}/",
    )
    stage.site.moved("/go", f"{inside}/go")

    assert await walked(an_origin(stage.site, "/", web=stage.web, depth=2), Memory(), stage.site) == ["found /"]
    assert stage.heard() == 0


async def test_no_sitemap_and_no_robots_txt_does(stage: Stage) -> None:
    inside = f"http://127.0.0.1:{stage.canary.port}"
    stage.site.put("/pages.xml", f"<urlset><url><loc>{inside}/a</loc></url><url><loc>/a</loc></url></urlset>")
    stage.site.put("/index.xml", f"<sitemapindex><sitemap><loc>{inside}/x.xml</loc></sitemap></sitemapindex>")
    stage.site.moved("/moved.xml", f"{inside}/x.xml")
    stage.site.link("/a")
    stage.site.pages["/robots.txt"] = Reply(f"Sitemap: {inside}/x.xml\nHost: {inside}".encode())
    for path, told in (("/pages.xml", ["found /a"]), ("/index.xml", [])):
        origin = an_origin(stage.site, path, web=stage.web, sitemap=True)
        assert await walked(origin, Memory(), stage.site) == told
    with pytest.raises(Refusal) as refused:
        await walked(an_origin(stage.site, "/moved.xml", web=stage.web, sitemap=True), Memory(), stage.site)
    assert refused.value.code == "address_refused"

    stage.site.moved("/robots.txt", f"{inside}/robots.txt")
    told = await walked(an_origin(stage.site, "/a", web=stage.web), Memory(), stage.site)
    assert told == ["address_refused /a"]
    assert stage.heard() == 0


async def test_a_name_is_resolved_once_for_each_request_and_its_judged_address_is_connected_to(stage: Stage) -> None:
    """Whoever owns a name can let it lead elsewhere between two questions: there are no two."""
    stage.site.link("/a")
    stage.names.answers["turn.example.org"] = [[OUTSIDE], ["127.0.0.1"]]
    url = f"http://turn.example.org:{stage.site.port}/a"

    page = await stage.web.read(url, most=1_000)
    assert getattr(page, "content", b"") == b"<p>Page /a.</p>"
    assert stage.names.asked["turn.example.org"] == 1
    assert (await refusal(stage.web, url))[0] == "address_refused"
    assert stage.heard() == 0


async def test_a_stored_address_that_leads_inside_by_now_fails_and_its_document_stays(stage: Stage) -> None:
    name = f"http://turn.example.org:{stage.site.port}/a"
    stage.site.link("/a")
    stage.names.answers["turn.example.org"] = [[OUTSIDE]] * 2 + [["127.0.0.1"]]
    origin, memory = an_origin(stage.site, name, web=stage.web), Memory()

    assert await walked(origin, memory, stage.site) == [f"found {name}"]
    assert await walked(origin, memory, stage.site) == [f"address_refused {name}"]
    assert stage.heard() == 0


async def test_nothing_of_one_host_is_told_to_another(stage: Stage) -> None:
    stage.names.answers["other.example.org"] = [[OUTSIDE]]
    other = f"http://other.example.org:{stage.site.port}"
    stage.site.pages["/a"] = Reply(
        b"", 302, {**HTML, "Location": f"{other}/b", "Set-Cookie": "a=b; Domain=example.org"}
    )
    stage.site.link("/b")

    await stage.web.read(stage.site.at("/a"), most=1_000, tag='["\\"1\\"", ""]')

    first, second = stage.site.requests
    assert first.headers["if-none-match"] == '"1"'
    assert second.host == f"other.example.org:{stage.site.port}"
    assert not {"cookie", "authorization", "referer", "if-none-match"} & set(second.headers)
