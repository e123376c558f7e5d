"""Walking a web site: what is found, what is left alone, what counts as gone, on a real server."""

import asyncio
import gzip
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from carrel.adapters.origins.manners import Manners
from carrel.adapters.origins.site import WebSite
from carrel.domain.errors import Refusal, Throttled
from carrel.ports.origins import Failed, Gone, Same
from support.sites import (
    HTML,
    NAME,
    Behaviour,
    LoopbackSite,
    Memory,
    Names,
    Pauses,
    Reply,
    Request,
    a_site,
    a_web,
    an_origin,
    drip,
    flood,
    raw,
    stall,
    walked,
    write,
)


@pytest.fixture
async def site() -> AsyncIterator[LoopbackSite]:
    async with a_site() as standing:
        yield standing


async def refused(origin: WebSite, memory: Memory, site: LoopbackSite) -> tuple[str, list[str]]:
    told: list[str] = []

    async def walk() -> None:
        async for sight in origin.walk(memory):
            told.append((await memory.take(sight)).replace(site.at(""), ""))  # noqa: PERF401 - it ends in the middle

    with pytest.raises(Refusal) as refusal:
        await walk()
    return refusal.value.code, told


# What is found


async def test_without_depth_only_the_given_pages_are_read(site: LoopbackSite) -> None:
    site.link("/a", "/b", "/c")
    site.link("/b")
    memory = Memory()

    assert await walked(an_origin(site, "/a", "/b"), memory, site) == ["found /a", "found /b"]
    assert memory.contents[site.at("/b")] == b"<p>Page /b.</p>"
    assert memory.types[site.at("/b")] == "text/html"
    assert site.asked == {"/robots.txt": 1, "/a": 1, "/b": 1}
    assert site.requests[-1].headers["user-agent"].startswith("Carrel/")


async def test_links_are_followed_breadth_first_so_many_steps_on_the_same_host(site: LoopbackSite) -> None:
    site.link("/", "a", "b#part", "http://elsewhere.example.org/", "mailto:a@b.c", "javascript:x()", "/film.mp4")
    site.link("/a", "/deep", "b")
    site.link("/b", "/deep", "/")
    site.link("/deep", "/deeper")
    site.link("/deeper")

    assert await walked(an_origin(site, "/", depth=1), Memory(), site) == ["found /", "found /a", "found /b"]
    found = await walked(an_origin(site, "/", depth=2), Memory(), site)
    assert found == ["found /", "found /a", "found /b", "found /deep"]
    assert site.asked["/deeper"] == 0


async def test_the_pages_of_a_walk_are_limited(site: LoopbackSite) -> None:
    site.link("/", *(f"/{number}" for number in range(50)))
    for number in range(50):
        site.link(f"/{number}", *(f"/{number}/{below}" for below in range(50)))
    found = await walked(an_origin(site, "/", depth=3, pages=7), Memory(), site)

    assert found == ["found /", *(f"found /{number}" for number in range(6))]
    assert site.asked.total() == 8


async def test_a_page_is_read_once_whatever_it_is_called(site: LoopbackSite) -> None:
    port = site.port
    site.link(
        "/",
        "/a",
        f"http://DOCS.example.org.:{port}/x/../a#b",
        "/a?",
        "/%61",
        "./a",
        "/dir/a",
        f"//docs.example.org:{port}/a",
    )
    site.put("/a", "<p>A")
    site.put("/a?", "<p>A")
    site.put("/dir/a", "<base href='/'><a href='a'>A</a><p>B")

    found = await walked(an_origin(site, "/", depth=2), Memory(), site)

    assert sorted(found) == ["found /", "found /a", "found /dir/a"]


async def test_a_page_has_the_address_that_it_calls_its_own(site: LoopbackSite) -> None:
    site.link("/", "/a?from=home", "/a?from=menu", "/outside")
    for path in ("/a?from=home", "/a?from=menu", "/a"):
        site.put(path, "<head><link rel='canonical' href='/a'></head><p>A")
    site.put("/outside", "<link rel=canonical href='http://elsewhere.example.org/'><p>B")
    memory = Memory()

    assert await walked(an_origin(site, "/", depth=1), memory, site) == ["found /", "found /a", "found /outside"]
    assert await walked(an_origin(site, "/", depth=1), memory, site) == ["same /", "same /a", "same /outside"]


async def test_what_a_page_asks_of_crawlers_is_done(site: LoopbackSite) -> None:
    site.put(
        "/",
        "<!-- <a href='/comment'> --><script>'<a href=\"/script\">'</script><a href='/no' rel='nofollow'>x</a>"
        "<a href='/hidden'>x</a><a href='/end'>x</a><a href='/header'>x</a><a href='/other'>x</a>",
    )
    site.put("/hidden", "<meta name='robots' content='NoIndex'><a href='/below'>x</a><p>A")
    site.put("/end", "<meta name=carrel content='nofollow'><a href='/never'>x</a><p>A")
    site.put("/header", "<p>A", x_robots_tag="carrel: none")
    site.put("/other", "<p>A", x_robots_tag="otherbot: noindex")
    site.link("/below")
    memory = Memory()

    found = await walked(an_origin(site, "/", depth=2), memory, site)

    assert found == ["found /", "found /end", "found /other", "found /below"]


async def test_a_page_is_found_where_its_redirects_end(site: LoopbackSite) -> None:
    site.link("/", "/old", "/away", "/new", "/loop")
    site.moved("/old", "/older")
    site.moved("/older", "/new#x", 308)
    site.put("/new", "<p>A", etag='"1"')
    site.moved("/away", "http://elsewhere.example.org/")
    site.moved("/loop", "/loop")
    memory = Memory()

    found = await walked(an_origin(site, "/", depth=1), memory, site)

    assert found == ["found /", "found /new", "redirects_refused /loop"]
    assert await walked(an_origin(site, "/", depth=1), memory, site) == [
        "same /",
        "same /new",
        "redirects_refused /loop",
    ]


async def test_a_start_may_lead_to_another_name_and_its_links_are_of_that(site: LoopbackSite) -> None:
    names = Names({NAME: [["127.0.0.1"]], "www.example.org": [["127.0.0.1"]]})
    new = f"http://www.example.org:{site.port}"
    site.moved(f"{NAME}/", f"{new}/")
    site.put("www.example.org/", "<a href='/a'>x</a><p>A")
    site.put("www.example.org/a", "<p>A")

    found = await walked(an_origin(site, "/", depth=1, web=a_web(site, names=names)), Memory(), site)

    assert found == [f"found {new}/", f"found {new}/a"]


# What has changed


async def test_a_page_that_is_as_it_was_is_not_sent_again(site: LoopbackSite) -> None:
    site.put("/etag", "<p>A", etag='W/"1"')
    site.put("/date", "<p>A", last_modified="Sat, 21 Nov 2026 10:00:00 GMT")
    site.put("/none", "<p>A")
    origin, memory = an_origin(site, "/etag", "/date", "/none"), Memory()
    await walked(origin, memory, site)

    assert await walked(origin, memory, site) == ["same /etag", "same /date", "same /none"]
    conditions = [request.headers for request in site.requests[-3:]]
    assert conditions[0]["if-none-match"] == 'W/"1"'
    assert conditions[1]["if-modified-since"] == "Sat, 21 Nov 2026 10:00:00 GMT"
    assert not {"if-none-match", "if-modified-since"} & set(conditions[2])

    site.put("/etag", "<p>B", etag='W/"2"')
    site.put("/none", "<p>B")
    assert await walked(origin, memory, site) == ["found /etag", "same /date", "found /none"]


async def test_the_links_of_an_unchanged_page_are_followed(site: LoopbackSite) -> None:
    site.put("/", "<a href='/a'>x</a>", etag='"1"')
    site.put("/a", "<p>A", etag='"2"')
    origin, memory = an_origin(site, "/", depth=1), Memory()
    await walked(origin, memory, site)

    assert await walked(origin, memory, site) == ["same /", "same /a"]


async def test_what_has_gone_is_gone_or_not_mentioned(site: LoopbackSite) -> None:
    site.link("/", "/a", "/b", "/never-was")
    site.link("/a")
    site.link("/b")
    origin, memory = an_origin(site, "/", depth=1), Memory()
    await walked(origin, memory, site)
    site.pages["/a"] = Reply(b"", 410)
    del site.pages["/b"]

    assert await walked(origin, memory, site) == ["same /", "gone /a", "gone /b"]
    site.link("/")
    assert await walked(origin, memory, site) == ["found /"]


async def test_looking_at_one_page(site: LoopbackSite) -> None:
    site.put("/a", "<p>A", etag='"1"')
    site.put("/hidden", "<meta name=robots content=noindex><p>A")
    site.pages["/broken"] = Reply(b"", 500)
    origin, memory = an_origin(site, "/"), Memory()

    assert (await memory.take(await origin.look(site.at("/a"), memory))) == f"found {site.at('/a')}"
    assert isinstance(await origin.look(site.at("/a"), memory), Same)
    assert isinstance(await origin.look(site.at("/hidden"), memory), Gone)
    assert isinstance(await origin.look(site.at("/nothing"), memory), Gone)
    for foreign in ("http://elsewhere.example.org/", site.at("/a#b"), "a.md"):
        sight = await origin.look(foreign, memory)
        assert isinstance(sight, Failed)
        assert sight.refusal.code == "invalid_url"
    with pytest.raises(Refusal, match="answered 500"):
        await origin.look(site.at("/broken"), memory)
    assert [notice async for notice in origin.events()] == []


# robots.txt


def robots(site: LoopbackSite, text: str, status: int = 200) -> None:
    site.pages["/robots.txt"] = Reply(text.encode(), status, {"Content-Type": "text/plain"})


async def test_what_robots_txt_forbids_is_not_asked_for(site: LoopbackSite) -> None:
    site.link("/", "/open", "/closed/a", "/closed/but", "/old")
    for path in ("/open", "/closed/a", "/closed/but"):
        site.link(path)
    site.moved("/old", "/closed/a")
    robots(site, "User-agent: *\nDisallow: /closed/\nAllow: /closed/but\n")

    found = await walked(an_origin(site, "/", "/closed/a", depth=1), Memory(), site)

    assert found == ["found /", "robots_disallowed /closed/a", "found /open", "found /closed/but"]
    assert site.asked["/closed/a"] == 0
    assert site.asked["/robots.txt"] == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_without_rules_everything_is_allowed(site: LoopbackSite, status: int) -> None:
    robots(site, "User-agent: *\nDisallow: /\n", status)
    site.link("/")

    assert await walked(an_origin(site, "/"), Memory(), site) == ["found /"]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_while_the_rules_cannot_be_read_nothing_is_and_nothing_is_gone(site: LoopbackSite, status: int) -> None:
    robots(site, "", status)
    site.link("/")

    assert await refused(an_origin(site, "/", "/b"), Memory(), site) == (
        "robots_unavailable",
        ["robots_unavailable /", "robots_unavailable /b"],
    )
    assert site.asked == {"/robots.txt": 1}


async def test_rules_without_an_end_are_none(site: LoopbackSite) -> None:
    robots(site, "User-agent: *\nAllow: /\n" + "# so it goes\n" * 50_000)

    assert (await refused(an_origin(site, "/"), Memory(), site))[0] == "robots_unavailable"


async def test_a_host_is_asked_by_one_request_at_a_time_with_pauses(site: LoopbackSite) -> None:
    site.link("/", "/a", "/b")
    site.link("/a")
    site.link("/b")
    pauses = Pauses()
    manners = Manners(0.5, sleep=pauses.sleep, clock=pauses)

    await asyncio.gather(*(walked(an_origin(site, "/", depth=1, manners=manners), Memory(), site) for _ in range(3)))
    assert site.most_at_once == 1
    assert set(pauses.waited) == {0.5}
    assert len(pauses.waited) == 3 * 4 - 1

    for delay, waited in (("3", 3.0), ("0.1", 0.5), ("86400", 10.0), ("soon", 0.5)):
        robots(site, f"User-agent: *\nCrawl-delay: {delay}\n")
        await walked(an_origin(site, "/", depth=1, manners=manners), Memory(), site)
        assert pauses.waited[-1] == waited


# Sitemaps


def a_sitemap(*entries: str) -> str:
    urls = "".join(f"<url><loc>{loc}</loc>{changed}</url>" for loc, _, changed in (e.partition(" ") for e in entries))
    return f'<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{urls}</urlset>'


def an_index(*places: str) -> str:
    return "<sitemapindex>" + "".join(f"<sitemap><loc>{place}</loc></sitemap>" for place in places) + "</sitemapindex>"


async def test_a_sitemap_names_the_pages(site: LoopbackSite) -> None:
    site.put(
        "/sitemap.xml", an_index(site.at("/one.xml.gz"), site.at("/two.txt"), "http://elsewhere.example.org/x.xml")
    )
    site.put(
        "/one.xml.gz", gzip.compress(a_sitemap(site.at("/a"), site.at("/b"), "http://other.example.org/c").encode())
    )
    site.put("/two.txt", f"{site.at('/b')}\n\n{site.at('/d')}\n")
    for path in ("/a", "/b", "/d"):
        site.link(path, "/linked")
    robots(site, "User-agent: *\nDisallow: /d\n")

    found = await walked(an_origin(site, "/sitemap.xml", sitemap=True), Memory(), site)

    assert found == ["found /a", "found /b", "robots_disallowed /d"]


async def test_the_time_in_a_sitemap_tells_where_the_page_does_not(site: LoopbackSite) -> None:
    dated = [f"{site.at(path)} <lastmod>2026-11-0{day}</lastmod>" for path, day in (("/a", 1), ("/b", 2))]
    site.put("/sitemap.xml", a_sitemap(*dated))
    site.put("/a", "<p>A")
    site.put("/b", "<p>B", etag='"1"')
    origin, memory = an_origin(site, "/sitemap.xml", sitemap=True), Memory()
    await walked(origin, memory, site)

    assert await walked(origin, memory, site) == ["same /a", "same /b"]
    assert (site.asked["/a"], site.asked["/b"]) == (1, 2)
    site.put("/sitemap.xml", a_sitemap(dated[0].replace("-01<", "-03<"), dated[1]))
    assert await walked(origin, memory, site) == ["found /a", "same /b"]
    site.put("/sitemap.xml", a_sitemap(dated[0]))
    assert await walked(origin, memory, site) == ["found /a"]


LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><urlset><url><loc>http://x.example.org/&b;</loc></url></urlset>'
FILE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><urlset><url><loc>&a;</loc></url></urlset>'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html><body>Not here</body></html>",
        b"<urlset><url><loc>x</urlset>",
        LAUGHS.encode(),
        FILE.encode(),
        b'<!DOCTYPE urlset SYSTEM "http://127.0.0.1/x.dtd"><urlset/>',
        b"no address",
        b"\xff\xfe\x00",
        gzip.compress(b"<urlset/>", mtime=0)[:-9],
        b"\x1f\x8b\x00",
        gzip.compress(b" " * (51 << 20), mtime=0),
        b"<urlset>" + b"<a/>" * 30_000 + b"<url>" + b"<a/>" * 30_000 + b"</url></urlset>",
        b"<urlset>" + b"<url><loc>http://a.example.org/%d</loc></url>" * 50_001 % tuple(range(50_001)) + b"</urlset>",
    ],
    ids=lambda content: repr(content[:24]),
)  # fmt: skip
async def test_what_is_no_sitemap_ends_the_walk(site: LoopbackSite, content: bytes) -> None:
    site.put("/sitemap.xml", content)

    assert await refused(an_origin(site, "/sitemap.xml", sitemap=True), Memory(), site) == ("invalid_sitemap", [])


async def test_a_sitemap_that_is_missing_or_too_deep_ends_the_walk(site: LoopbackSite) -> None:
    site.put("/0.xml", an_index(site.at("/1.xml")))
    origin = an_origin(site, "/0.xml", sitemap=True)
    assert (await refused(origin, Memory(), site))[0] == "page_gone"
    site.pages["/1.xml"] = Reply(b"", 500)
    assert (await refused(origin, Memory(), site))[0] == "web_unavailable"
    for number in range(5):
        site.put(f"/{number}.xml", an_index(site.at(f"/{number + 1}.xml")))
    assert (await refused(origin, Memory(), site))[0] == "invalid_sitemap"
    site.put("/3.xml", an_index(site.at("/0.xml"), site.at("/3.xml")))
    assert await walked(origin, Memory(), site) == []


# What goes wrong


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(b"", 401), "page_denied"),
        (Reply(b"", 403), "page_denied"),
        (Reply(b"", 418), "answer_refused"),
        (Reply(b"", 204), "answer_refused"),
        (Reply(b"", 302, {}), "answer_refused"),
        (Reply(b"", 500), "web_unavailable"),
        (Reply(b"", 503), "web_unavailable"),
        (Reply(b"x", headers={"Content-Type": "image/png"}), "unsupported_type"),
        (Reply(b"x", headers={"Content-Type": "video/mp4; charset=utf-8"}), "unsupported_type"),
        (Reply(bytes(21 << 20)), "too_large"),
        (Reply(gzip.compress(bytes(21 << 20), mtime=0), headers={**HTML, "Content-Encoding": "gzip"}), "too_large"),
        (
            Reply(gzip.compress(b"x" * 9_999, mtime=0)[:-9], headers={**HTML, "Content-Encoding": "gzip"}),
            "web_unavailable",
        ),
        (Reply(b"no gzip", headers={**HTML, "Content-Encoding": "gzip"}), "answer_refused"),
        (Reply(b"x", headers={**HTML, "Content-Encoding": "br"}), "answer_refused"),
        (Reply(b"x", headers={**HTML, "Content-Length": "9"}), "web_unavailable"),
        (Reply(b"", 301, {"Location": "http://docs.example.org:99999/"}), "address_refused"),
        (Reply(b"", 301, {"Location": "ftp://docs.example.org/"}), "address_refused"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.status),
)  # fmt: skip
async def test_a_page_that_cannot_be_had_fails_and_the_others_go_on(
    site: LoopbackSite, reply: Reply, code: str
) -> None:
    site.pages["/bad"] = reply
    site.link("/good")

    assert await walked(an_origin(site, "/bad", "/good"), Memory(), site) == [f"{code} /bad", "found /good"]


@pytest.mark.parametrize("behaviour", [stall, drip, flood], ids=lambda behaviour: behaviour.__name__)
async def test_a_page_without_an_end_is_cut_off(site: LoopbackSite, behaviour: Behaviour) -> None:
    site.pages["/bad"] = behaviour
    site.link("/good")
    origin = an_origin(site, "/bad", "/good", web=a_web(site, seconds=1.0))

    codes = [line.split()[0] for line in await walked(origin, Memory(), site)]

    assert codes == ["too_large" if behaviour is flood else "web_unavailable", "found"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"HTTP/1.1 200 x\r\nContent-Type: text/html\r\nContent-Length: 99\r\n\r\n<p>",
        b"HTTP/1.1 200 x\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<p>",
        b"HTTP/1.1 200 x\r\nContent-Type: text/html\r\nContent-Length: -1\r\n\r\n<p>",
        b"HTTP/1.1 200 x\r\nContent-Type: text/html\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n<p>",
        b"\x16\x03\x01\x00\x00",
        b"HTTP/1.1 200 x\r\n" + b"X: y\r\n" * 100_000,
    ],
    ids=lambda content: repr(content[-12:]),
)
async def test_an_answer_that_is_none_is_as_if_there_were_none(site: LoopbackSite, content: bytes) -> None:
    site.pages["/bad"] = raw(content)

    assert await walked(an_origin(site, "/bad"), Memory(), site) == ["web_unavailable /bad"]


async def test_what_is_beyond_the_declared_length_is_not_taken(site: LoopbackSite) -> None:
    site.pages["/a"] = raw(b"HTTP/1.1 200 x\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<p>ABCDEF")
    memory = Memory()
    await walked(an_origin(site, "/a"), memory, site)

    assert memory.contents[site.at("/a")] == b"<p>A"


async def test_a_site_that_is_busy_is_waited_for_and_then_left(site: LoopbackSite) -> None:
    site.link("/", "/a")
    busy = [Reply(b"", 429, {"Retry-After": "7"})]

    async def once_busy(request: Request, writer: asyncio.StreamWriter) -> None:
        write(request, writer, busy.pop() if busy else Reply(b"<p>A"))

    site.pages["/a"] = once_busy
    pauses = Pauses()
    origin = an_origin(site, "/", depth=1, manners=Manners(0.5, sleep=pauses.sleep, clock=pauses))
    assert await walked(origin, Memory(), site) == ["found /", "found /a"]
    assert 7.0 in pauses.waited

    for headers, wait in (({"Retry-After": "3600"}, 3600.0), ({}, 10.0), ({"Retry-After": "soon"}, 10.0)):
        site.pages["/a"] = Reply(b"", 429, headers)
        with pytest.raises(Throttled) as refusal:
            await walked(origin, Memory(), site)
        assert (refusal.value.code, refusal.value.wait) == ("web_throttled", wait)


async def test_a_host_that_does_not_answer_is_not_asked_for_ever(site: LoopbackSite) -> None:
    paths = [f"/{number}" for number in range(20)]
    for path in paths:
        site.pages[path] = Reply(b"", 500)

    told = await walked(an_origin(site, *paths), Memory(), site)

    assert told == [f"web_unavailable {path}" for path in paths]
    assert site.asked.total() == 4


async def test_while_a_part_of_the_site_cannot_be_seen_nothing_is_gone(site: LoopbackSite) -> None:
    site.link("/", "/list", "/a")
    site.link("/list", "/b")
    site.link("/a")
    site.link("/b")
    origin, memory = an_origin(site, "/", depth=2), Memory()
    await walked(origin, memory, site)
    site.pages["/list"] = Reply(b"", 500)

    assert await refused(origin, memory, site) == ("walk_incomplete", ["same /", "web_unavailable /list", "same /a"])
    site.pages["/"] = Reply(b"", 404)
    assert await refused(origin, memory, site) == ("page_gone", ["gone /"])
    site.pages["/"] = Reply(b"", 502)
    assert await refused(origin, memory, site) == ("web_unavailable", ["web_unavailable /"])


async def test_one_closed_page_is_the_sites_right_and_many_are_a_shut_door(site: LoopbackSite) -> None:
    paths = [f"/{number}" for number in range(9)]
    site.link("/", *paths)
    for path in paths:
        site.link(path)
    origin, memory = an_origin(site, "/", depth=2), Memory()
    await walked(origin, memory, site)
    site.pages["/1"] = Reply(b"", 403)
    assert "page_denied /1" in await walked(origin, memory, site)

    site.pages |= {path: Reply(b"", 403) for path in paths[:3]}
    assert (await refused(origin, memory, site))[0] == "walk_incomplete"


async def test_what_is_no_address_is_no_start(site: LoopbackSite) -> None:
    for start in ("ftp://a.example.org/", "http://user@a.example.org/", "http://", "https:///a", "x://y"):
        assert (await refused(an_origin(site, start), Memory(), site))[0] == "invalid_url"


async def test_the_encoding_that_only_the_header_names_is_kept(site: LoopbackSite) -> None:
    site.pages["/a"] = Reply("<p>булок".encode("koi8-r"), headers={"Content-Type": "text/html; charset=KOI8-R"})
    site.pages["/b"] = Reply("<p>é".encode(), headers={"Content-Type": "text/html; charset=ISO-8859-1"})
    site.pages["/c"] = Reply(b"<p>\xff", headers={"Content-Type": "text/html; charset=zip"})
    memory = Memory()
    await walked(an_origin(site, "/a", "/b", "/c"), memory, site)

    assert list(memory.contents.values()) == ["<p>булок".encode(), "<p>é".encode(), b"<p>\xff"]


async def test_three_redirects_are_followed_and_no_fourth(site: LoopbackSite) -> None:
    for number in range(4):
        site.moved(f"/{number}", f"/{number + 1}")
    site.link("/4")

    assert await walked(an_origin(site, "/1"), Memory(), site) == ["found /4"]
    assert await walked(an_origin(site, "/0"), Memory(), site) == ["redirects_refused /0"]


async def test_no_more_of_a_packed_page_is_unpacked_than_may_be_taken(site: LoopbackSite) -> None:
    bomb = gzip.compress(bytes(64 << 20))
    site.pages["/"] = Reply(bomb, headers={**HTML, "Content-Encoding": "gzip"})
    web = a_web(site)
    tracemalloc.start()
    try:
        with pytest.raises(Refusal) as refusal:
            await web.read(site.at("/"), most=1 << 20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert refusal.value.code == "too_large"
    assert peak < 8 << 20
