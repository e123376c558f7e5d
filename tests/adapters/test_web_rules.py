"""What a crawler goes by: robots.txt, addresses in one form, and what pages say of themselves. Hostile ones too."""

import sys
from collections.abc import Callable
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carrel.adapters.origins.marks import marks_of
from carrel.adapters.origins.robots import MOST_PATTERNS, MOST_RULES, Robots
from carrel.adapters.origins.urls import canonical, path_of, root_of, site_of
from carrel.domain.keys import document_key

PAGE = "https://docs.example.org/guide/"


# robots.txt


@pytest.mark.parametrize(
    ("text", "allowed", "forbidden"),
    [
        ("", ["/", "/a"], []),
        ("User-agent: *\nDisallow:", ["/", "/a"], []),
        ("User-agent: *\nDisallow: /", ["/robots.txt"], ["/", "/a", "/a?b"]),
        ("User-agent: *\nDisallow: /a", ["/", "/b", "/A"], ["/a", "/ab", "/a/b", "/a?x"]),
        ("User-agent: *\nDisallow: /a/\nAllow: /a/b", ["/a", "/a/b", "/a/bc"], ["/a/", "/a/c"]),
        ("User-agent: *\nAllow: /a\nDisallow: /a", ["/a"], []),
        ("User-agent: *\nDisallow: /a\nAllow: /a", ["/a"], []),
        ("User-agent: *\nDisallow: /*.pdf$", ["/a.pdf?x", "/a.pdfx", "/pdf"], ["/a.pdf", "/b/a.pdf"]),
        ("User-agent: *\nDisallow: /a*b*c", ["/ab", "/acb", "/bc"], ["/abc", "/axbxc", "/abcd"]),
        ("User-agent: *\nDisallow: *secret", ["/a"], ["/secret", "/a/secrets"]),
        ("User-agent: *\nDisallow: /a$", ["/ab", "/a/"], ["/a"]),
        ("User-agent: *\nDisallow: /a*$", ["/b"], ["/a", "/abc"]),
        ("User-agent: *\nDisallow: /*a$", ["/ab"], ["/a", "/aa", "/ba"]),
        ("User-agent: *\nDisallow: /?", ["/", "/a"], ["/?", "/?a"]),
        ("User-agent: Carrel\nDisallow: /a\n\nUser-agent: *\nDisallow: /", ["/", "/b"], ["/a"]),
        ("User-agent: *\nDisallow: /\n\nUser-agent: cArReL\nDisallow: /a", ["/", "/b"], ["/a"]),
        ("User-agent: Carrel/1.0\nDisallow: /a", ["/b"], ["/a"]),
        ("User-agent: CarrelX\nDisallow: /", ["/a"], []),
        ("User-agent: Car\nDisallow: /", ["/a"], []),
        ("User-agent: other\nUser-agent: carrel\nDisallow: /a", ["/b"], ["/a"]),
        ("User-agent: carrel\nDisallow: /a\n\nUser-agent: x\nDisallow: /\n\nUser-agent: carrel\nDisallow: /b",
         ["/"], ["/a", "/b"]),
        ("User-agent: carrel\nCrawl-delay: 1\nUser-agent: *\nDisallow: /", ["/a"], []),
        ("Disallow: /\nUser-agent: *\nDisallow: /a", ["/b"], ["/a"]),
        ("\ufeffuser-AGENT : *  # all\r\n  disALLOW :  /a  # not this\r\nnonsense\r: /b\rDisallow: /c",
         ["/b"], ["/a", "/c"]),
        ("User-agent: *\nDisallow: /a b\nDisallow: /é\nDisallow: /%7Ex\nDisallow: /%2Fy", ["/y"],
         ["/%C3%A9", "/~x", "/%2fy", "/%c3%a9t"]),
        ("User-agent: *\nDisallow: a\nDisallow: https://docs.example.org/b", ["/a", "/b"], []),
        ("User-agent: *\nSitemap: /x\nDisallow: /a\nHost: x\nDisallow: /b", ["/"], ["/a", "/b"]),
        ("<html><body>User-agent: *<br>Disallow: /</body></html>", ["/", "/a"], []),
    ],
)  # fmt: skip
def test_robots_txt_is_read_as_its_standard_says(text: str, allowed: list[str], forbidden: list[str]) -> None:
    robots = Robots.read(text, token="Carrel")

    assert [path for path in allowed if not robots.allows(path)] == []
    assert [path for path in forbidden if robots.allows(path)] == []


def test_the_longest_delay_of_ours_counts() -> None:
    text = "User-agent: *\nCrawl-delay: 9\n\nUser-agent: carrel\nCrawl-delay: 2.5\nCrawl-delay: x\nCrawl-delay: 1"

    assert Robots.read(text, token="Carrel").delay == 2.5
    assert Robots.read("User-agent: *\nCrawl-delay: -1", token="Carrel").delay == 0


@given(st.text(alphabet="ab*$/", max_size=12), st.text(alphabet="ab/", max_size=12))
def test_a_pattern_fits_as_the_expression_that_it_stands_for(pattern: str, path: str) -> None:
    import re

    rule, place = f"/{pattern}", f"/{path}"
    ends = rule.endswith("$")
    expression = ".*".join(map(re.escape, rule.removesuffix("$").split("*"))) + ("$" if ends else "")

    assert Robots.read(f"User-agent: *\nDisallow: {rule}", token="x").allows(place) == (not re.match(expression, place))


@pytest.mark.timeout(20)
def test_a_pattern_of_stars_costs_little() -> None:
    robots = Robots.read("User-agent: *\nDisallow: /" + "a*" * 100_000 + "b\n" * 1, token="Carrel")

    assert robots.allows("/" + "a" * 1_000)


# Addresses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://docs.example.org", "https://docs.example.org/"),
        ("HTTPS://Docs.Example.ORG.:443/A/./b/../c?x=1&y=%2f#part", "https://docs.example.org/A/c?x=1&y=%2F"),
        ("http://docs.example.org:80/", "http://docs.example.org/"),
        ("http://docs.example.org:443/", "http://docs.example.org:443/"),
        ("https://docs.example.org:8443/", "https://docs.example.org:8443/"),
        ("https://docs.example.org/%7Eann/%41%2d%5F%2F%3f", "https://docs.example.org/~ann/A-_%2F%3F"),
        ("https://docs.example.org/a b/ü", "https://docs.example.org/a%20b/%C3%BC"),
        ("https://bücher.example.org/", "https://xn--bcher-kva.example.org/"),
        ("https://docs.example.org/a/%2e%2e/b", "https://docs.example.org/b"),
        ("https://docs.example.org/a//b/", "https://docs.example.org/a//b/"),
        ("https://[2001:DB8::1]:443/", "https://[2001:db8::1]/"),
        ("https://[2001:db8::1]:8443/", "https://[2001:db8::1]:8443/"),
        ("https://docs.example.org/@ann?q=a/b", "https://docs.example.org/@ann?q=a/b"),
        ("  https://docs.example.org/a\n", "https://docs.example.org/a"),
    ],
)
def test_an_address_has_one_form(text: str, expected: str) -> None:
    assert canonical(text) == expected
    assert canonical(expected) == expected
    assert document_key(expected) == expected


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("b", "https://docs.example.org/guide/b"), ("../b", "https://docs.example.org/b"), ("?b", PAGE + "?b"),
        ("/b", "https://docs.example.org/b"), ("//cdn.example.org/b", "https://cdn.example.org/b"), ("#b", PAGE),
        ("", PAGE), ("../../../../b", "https://docs.example.org/b"),
    ],
)  # fmt: skip
def test_a_link_is_read_from_its_page(place: str, expected: str) -> None:
    assert canonical(place, PAGE) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "ftp://a.example.org/", "mailto:a@example.org", "javascript:void(0)", "data:text/html,x", "http:///a",
        "https://user@a.example.org/", "https://user:pw@a.example.org/", "https://a.example.org\\b", "https://[::1/",
        "https://a.example.org:99999/", "https://a.example.org:x/", "https://a.example.org/" + "b" * 1_100,
        "https://a.example.org/?x=/../y", "https://" + "a" * 5_000, "https://a..example.org:/\x00",
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_what_is_no_pages_address_has_no_form(text: str) -> None:
    assert canonical(text) is None


@settings(max_examples=300)
@given(st.text(alphabet="ahtps:/.?#%@[]2eE&= ü\\\n", max_size=40), st.booleans())
def test_the_form_of_a_form_is_itself(text: str, related: bool) -> None:  # noqa: FBT001 - drawn
    found = canonical(text, PAGE) if related else canonical(f"http://{text}")
    if found is None:
        return
    assert canonical(found) == found
    assert document_key(found) == found
    assert root_of(found) + path_of(found) == found
    assert site_of(found) in found


# What pages say


@pytest.mark.parametrize(
    ("page", "links"),
    [
        ('<a href="a">x</a><A HREF=b>x</A><a class="x" href=\'c\' id=y>x</a>', ["a", "b", "c"]),
        ("<area href=a><a href='a#x'>x</a><a href=' a '>x</a>", ["a"]),
        ("<a\nhref\n=\n'a'>x</a><a href=b/>x</a><a/href=c>x</a>", ["a", "b/", "c"]),
        ("<a href='?x=1&amp;y=2'>x</a><a href='d&eacute;'>x</a>", ["?x=1&y=2", "d%C3%A9"]),
        ("<!-- <a href=a>x</a> --><a href=b>x</a><!-- <a href=c>", ["b"]),
        ("<script>'<a href=a>'</script><style><a href=b></style><title><a href=c></title><a href=d>", ["d"]),
        ("<textarea><a href=a></textarea ><script src=x><a href=b></SCRIPT><a href=c>", ["c"]),
        ("<a title='<a href=a>' href=b>x</a><a data-x=\">\" href=c>", ["b", "c"]),
        ("<a href=a rel='noopener NoFollow'><a rel=nofollow href=b><a rel=next href=c>", ["c"]),
        ("<a href='mailto:a@example.org'><a href='tel:1'><a href='javascript:x()'><a href=''><a href><a>", []),
        ("<a href=a.png><a href=b.ZIP><a href=c.css?v=1><a href=d.pdf><a href=e.docx>", ["d.pdf", "e.docx"]),
        ("<abbr href=a><a-b href=b><link href=c><img src=d><anchor href=e>", []),
        ("<meta name=robots content='index, nofollow'><a href=a>", []),
        ("<meta name=ROBOTS content=none><a href=a>", []),
        ("<a href=a><a href=b <a href=c>", ["a", "b"]),
    ],
)  # fmt: skip
def test_links_are_found_and_nothing_else(page: str, links: list[str]) -> None:
    assert marks_of(page.encode(), PAGE).links == tuple(PAGE + link for link in links)


def test_links_are_read_from_the_base_that_a_page_names() -> None:
    page = b"<base target=x><base href='/other/'><base href='/third/'><a href=a>"

    assert marks_of(page, PAGE).links == ("https://docs.example.org/other/a",)
    assert marks_of(page.decode().encode("utf-16"), PAGE).links == ("https://docs.example.org/other/a",)


@pytest.mark.parametrize(
    ("page", "robots", "indexed"),
    [
        ("<meta name=robots content=noindex>", [], False),
        ("<meta name='carrel' content='NOINDEX , nofollow'>", [], False),
        ("<meta name=googlebot content=noindex>", [], True),
        ("<meta name=description content=noindex>", [], True),
        ("", ["noindex"], False),
        ("", ["all", "none"], False),
        ("", ["Carrel: noindex"], False),
        ("", ["otherbot: noindex, nofollow"], True),
        ("", ["unavailable_after: 1 Jan 2030 00:00:00 GMT"], True),
        ("", ["max-snippet:5, noindex"], False),
    ],
)
def test_a_page_says_whether_it_wants_to_be_found(page: str, robots: list[str], indexed: bool) -> None:  # noqa: FBT001 - a table's column
    assert marks_of(page.encode(), PAGE, robots).indexed is indexed


def test_a_page_names_its_own_address_once() -> None:
    page = "<link rel='stylesheet' href=/x><link rel='alternate CANONICAL' href='/a?b#c'><link rel=canonical href=/d>"

    assert marks_of(page.encode(), PAGE).canonical == "https://docs.example.org/a?b"
    assert marks_of(b"<link rel=canonical>", PAGE).canonical is None


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "hostile",
    [
        "<a " * 200_000, "<a href='" * 100_000, '<a href="' + "x" * 900_000, "<a " + "b=c " * 200_000, "<!--" * 200_000,
        "<script>" * 100_000, "<a" + " " * 900_000, "<a" + "/" * 900_000, "<a href" + " " * 900_000 + "=b>",
        "<a x='<a x=\"" * 90_000, "<a href=:>" * 90_000, "<base href=b>" * 70_000, "<link rel=canonical href=x>",
        "<meta name=robots content=x>" * 30_000, "&" * 900_000, "<a href='" + "&amp;" * 180_000 + "'>", "<" * 900_000,
        "</script" * 90_000, "<a href=a/b/c/d/e/f/g/h/../../../../>" * 20_000, "<title>" + "</titl" * 90_000,
    ],
    ids=lambda hostile: repr(hostile[:14]),
)  # fmt: skip
def test_a_hostile_page_costs_little(hostile: str) -> None:
    assert len(marks_of(f"<a href=/first>{hostile}".encode(), PAGE).links) < 10_001


@pytest.mark.parametrize(
    ("piece", "many", "most"),
    [
        ("<base href=:>", 5_000, 1),
        ("<link rel=canonical href=::>", 5_000, 4),
        ("<a href=/{}>", 11_000, 10_000),
        ("<a href=/{}" + "%41" * 600 + ">", 2_000, 1_000_000 // 1_800),
        ("<a href=/{}" + "x" * 2_000 + ">", 100, 0),
    ],
)
def test_addresses_are_worked_out_so_often_and_no_more(piece: str, many: int, most: int) -> None:
    page = "".join(piece.format(number) for number in range(many)).encode()
    assert 0 <= calls_of("canonical", lambda: marks_of(page, PAGE)) <= most


def calls_of(name: str, work: Callable[[], object]) -> int:
    """How often a function of that name was called meanwhile."""
    found = 0

    def heard(frame: FrameType, event: str, _: object) -> None:
        nonlocal found
        found += event == "call" and frame.f_code.co_name == name

    sys.setprofile(heard)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize("piece", ["<a b>", "<title></title>", "<!---->", "<a b=c/d='e'>"])
def test_a_page_that_goes_on_and_on_is_read_no_further(piece: str) -> None:
    for many, read in ((10_000, True), (200_000, False)):
        found = marks_of(f"<a href=/first>{piece * many}<a href=/last>".encode(), PAGE)
        assert [link.rpartition("/")[2] for link in found.links] == ["first", "last"][: 1 + read]


def test_more_rules_than_can_be_remembered_forbid_everything() -> None:
    many = "User-agent: *\n" + "".join(f"Allow: /{number}\n" for number in range(MOST_RULES + 1))
    long = "User-agent: *\nAllow: /" + "x" * MOST_PATTERNS
    for text in (many, long):
        robots = Robots.read(text, token="Carrel")
        assert (robots.allows("/1"), robots.allows("/"), robots.allows("/robots.txt")) == (False, False, True)
