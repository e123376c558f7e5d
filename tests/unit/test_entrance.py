"""Networks, passwords and codes by themselves."""

import uuid
from collections import Counter

import pytest

from carrel.domain.errors import Invalid
from carrel.tenancy.codes import code_of
from carrel.tenancy.origins import Origins, networks
from carrel.tenancy.passwords import Passwords, demand_strength
from carrel.tenancy.registration import own_slug

PROXIES = networks("10.0.0.0/8, fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "origin"),
    [
        ("192.0.2.77", [], "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.77", [], "192.0.2.0/24"),
        (None, [], "unknown"),
        ("a socket", ["203.0.113.9"], "unknown"),
        ("192.0.2.77", ["203.0.113.9"], "192.0.2.0/24"),
        ("10.1.1.1", ["203.0.113.9"], "203.0.113.0/24"),
        ("fd00::1", ["203.0.113.9"], "203.0.113.0/24"),
        ("10.1.1.1", ["198.51.100.1, 203.0.113.9"], "203.0.113.0/24"),
        ("10.1.1.1", ["198.51.100.1", "203.0.113.9, 10.2.2.2"], "203.0.113.0/24"),
        ("10.1.1.1", ["203.0.113.9, nonsense"], "10.1.1.0/24"),
        ("10.1.1.1", ["10.2.2.2"], "10.2.2.0/24"),
        ("10.1.1.1", [""], "10.1.1.0/24"),
        ("10.1.1.1", [], "10.1.1.0/24"),
    ],
)
def test_who_forwards_is_believed_only_if_it_is_one_of_ours(
    peer: str | None, forwarded: list[str], origin: str
) -> None:
    assert Origins(PROXIES).of(peer, forwarded) == origin


def test_nobody_is_believed_unless_it_is_said() -> None:
    assert Origins().of("127.0.0.1", ["203.0.113.9"]) == "127.0.0.0/24"


@pytest.mark.parametrize(
    "weak",
    [
        "short",
        "x" * 9,
        "x" * 129,
        "1234567890",
        "Password123",
        "zzzzzzzzzzzz",
        "ada.lovelace",
        "ADA.lovelace@x.example",
    ],
)
def test_a_weak_password_is_one(weak: str) -> None:
    with pytest.raises(Invalid) as refusal:
        demand_strength(weak, email="ada.lovelace@x.example")
    assert refusal.value.code == "weak_password"


@pytest.mark.parametrize("strong", ["four words and none", "ÄÖÜ äöü ß€ 12", "x1" * 64, "\u0000 odd but long"])
def test_nothing_else_is(strong: str) -> None:
    demand_strength(strong, email="ada@x.example")


async def test_a_password_is_proven_by_itself_only() -> None:
    passwords = Passwords(passes=1, memory=8)
    one, other = await passwords.hash("a long enough word"), await passwords.hash("a long enough word")
    assert one != other
    assert one.startswith("$argon2id$")
    assert await passwords.proves("a long enough word", one)
    assert not await passwords.proves("another long word", one)
    assert not await passwords.proves("a long enough word", None)
    assert not await passwords.proves("nobody's password", None)
    assert not await passwords.proves("a long enough word", "a hash of another kind")


async def test_the_product_hashes_at_the_price_that_it_names() -> None:
    assert "$m=19456,t=2,p=1$" in await Passwords().hash("a long enough word")


def test_codes_follow_from_pepper_and_row_and_are_evenly_spread() -> None:
    row = uuid.uuid4()
    assert code_of(b"pepper", row) == code_of(b"pepper", row) != code_of(b"another", row)
    drawn = [code_of(b"pepper", uuid.uuid4()) for _ in range(20_000)]
    assert {len(code) for code in drawn} == {6}
    for place in range(6):
        counts = Counter(code[place] for code in drawn)
        assert all(1_700 < counts[digit] < 2_300 for digit in "0123456789")  # 2,000 expected, 42 the deviation


@pytest.mark.parametrize(
    ("name", "start"), [("Acme Works", "acme-works-"), ("株式会社", "organisation-"), ("a" * 200, "a" * 56 + "-")]
)
def test_a_slug_of_ones_own_is_nobody_elses(name: str, start: str) -> None:
    slug = own_slug(name)
    assert slug.startswith(start)
    assert len(slug) <= 63
    assert slug != own_slug(name)
