"""Keys of documents: a relative path that leaves nothing and hides nothing."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrel.domain.errors import Invalid
from carrel.domain.ids import SourceId, document_id, new_id
from carrel.domain.keys import document_key, title_from_key


@pytest.mark.parametrize(
    "name",
    [
        "a.md",
        "runbooks/payments.md",
        "with space.md",
        "ünïcode/日本語.pdf",
        "a..b",
        "...",
        ".hidden",
        "a/.b/c",
        "100%.md",
        "https://docs.example.org/",
        "http://docs.example.org:8080//a/b/?q=..&x=/y",
        "https://docs.example.org/@somebody/a.b",
    ],
)
def test_a_relative_path_is_a_key(name: str) -> None:
    assert document_key(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    "name",
    [
        "", " ", "/etc/passwd", "\\server", "..", "../a", "a/../b", "a/..", "a\\..\\b", "./a", "a/./b", "a//b", "a/",
        "C:\\a", "c:a", "a\x00b", "a\nb", "a\u202eb", "a\u200bb", "a\ud800b", "a\u2028b", "a" * 1025, "ü" * 513,
        "https://", "https:///a", "https://docs.example.org", "https://docs.example.org/a/../b", "http://a/./b",
        "https://a@b/", "https://a/b#c", "https://a/b c", "https://a/b\\c", "https://a/..", "https://a?b/", "ftp://a/b",
        "HTTPS://a/b", "https://a/" + "b" * 1020,
    ],
)  # fmt: skip
def test_what_leaves_its_folder_or_hides_something_is_no_key(name: str) -> None:
    with pytest.raises(Invalid) as refused:
        document_key(name)
    assert (refused.value.code, refused.value.field) == ("invalid_key", "key")


@given(st.text())
def test_a_key_of_a_key_is_itself(name: str) -> None:
    try:
        key = document_key(name)
    except Invalid:
        return
    assert document_key(key) == key
    assert not key.startswith("/")
    assert ".." not in key.split("/")
    assert title_from_key(key)


def test_the_two_ways_to_write_an_accent_are_one_key() -> None:
    source = SourceId(new_id())
    assert document_id(source, document_key("e\u0301.md")) == document_id(source, document_key("\u00e9.md"))


def test_the_same_key_in_two_sources_is_two_documents() -> None:
    assert document_id(SourceId(new_id()), "a.md") != document_id(SourceId(new_id()), "a.md")


@pytest.mark.parametrize(
    ("key", "title"),
    [
        ("runbooks/payment-service_v2.md", "payment service v2"),
        (".env", ".env"),
        ("README", "README"),
        ("a.tar.gz", "a.tar"),
        ("---", "---"),
        ("https://docs.example.org/guide/getting-started.html?lang=en", "getting started"),
        ("https://docs.example.org/guide/", "guide"),
        ("https://docs.example.org/", "docs.example.org"),
        ("https://docs.example.org/?page=a/b.c", "docs.example.org"),
    ],
)
def test_a_title_is_the_name_made_readable(key: str, title: str) -> None:
    assert title_from_key(key) == title
