"""Names that hang: whoever asks for them waits, and nobody else does."""

import asyncio
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import httpx2
import pytest

from carrel.adapters.web.addresses import Address
from carrel.adapters.web.names import Names
from carrel.domain.access import for_job
from carrel.domain.errors import Invalid
from carrel.domain.ids import TenantId
from carrel.domain.origins import Site
from carrel.ports.origins import Found, Sight
from carrel.settings import Settings
from carrel.settings.web import Web
from carrel.wiring.opened import Opened
from carrel.wiring.origins import _sites
from carrel.wiring.outgoing import way_out
from carrel.wiring.providers import _judged
from support.receiver import a_receiver
from support.sites import a_site, the_trust

ANYWHERE = frozenset(range(1, 1 << 16))
HERE = [ip_address("127.0.0.1")]
EVIL, GOOD = TenantId(uuid.uuid4()), TenantId(uuid.uuid4())


@dataclass
class Lookup:
    """Names that begin with `hang` hang until they are let go, `first` before; all others lead here."""

    free: threading.Event = field(default_factory=threading.Event)
    first: threading.Event = field(default_factory=threading.Event)
    begun: Counter[str] = field(default_factory=Counter)

    def __call__(self, host: str, port: int) -> list[Address]:  # noqa: ARG002 - as resolvers are asked
        self.begun[host] += 1
        if host == "first":
            self.first.wait()
        if host.startswith("hang"):
            self.free.wait()
        return HERE


@pytest.fixture
def lookup() -> Iterator[Lookup]:
    found = Lookup()
    yield found
    found.first.set()
    found.free.set()


@pytest.fixture
def system(lookup: Lookup, monkeypatch: pytest.MonkeyPatch) -> Lookup:
    """What the system's own resolver does in this test."""

    def found(host: str, port: int, **_: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (str(lookup(host, port)[0]), port))]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    return lookup


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - threads have no event of this loop
            await asyncio.sleep(0.005)


@asynccontextmanager
async def hanging(lookup: Lookup, *asks: Awaitable[object], threads: int) -> Any:
    """All of them wait; as many threads as that have been given to them."""
    waiting = [asyncio.ensure_future(one) for one in asks]
    await until(lambda: lookup.begun.total() >= threads)
    try:
        yield waiting
    finally:
        lookup.free.set()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_names_of_one_asker_take_its_share_of_the_threads_and_no_more(lookup: Lookup) -> None:
    names = Names(lookup, most=8, each=3)
    evil, good = names.of("evil"), names.of("good")
    async with hanging(lookup, *(evil(f"hang{number}", 80) for number in range(32)), threads=3) as waiting:
        for number in range(5):
            assert await good(f"good{number}", 80) == HERE
        assert sum(count for name, count in lookup.begun.items() if name.startswith("hang")) == 3
        assert not any(one.done() for one in waiting)
    assert lookup.begun.total() == 37, "each was looked up in its turn"
    assert names._askers == {}


async def test_of_all_that_wait_who_has_the_fewest_is_next(lookup: Lookup) -> None:
    names = Names(lookup, most=8, each=3)
    evil, other = names.of("evil"), names.of("other")
    asks = (evil("first", 80), *(evil(f"hang{number}", 80) for number in range(9)), other("hang", 80))
    async with hanging(lookup, *asks, threads=4):
        waiting = asyncio.ensure_future(other("other", 80))
        await asyncio.sleep(0)
        assert lookup.begun.total() == 4
        lookup.first.set()
        assert await waiting == HERE
        assert list(lookup.begun)[4] == "other", "the others had come before"


async def test_the_second_half_of_the_threads_is_for_those_that_have_none(lookup: Lookup) -> None:
    names = Names(lookup, most=12, each=4)
    evil = (names.of(asker)(f"hang{asker}-{number}", 80) for asker in range(5) for number in range(8))
    async with hanging(lookup, *evil, threads=9):
        assert [names._askers[asker].busy for asker in range(5)] == [4, 2, 1, 1, 1]
        good = names.of("good")
        for _ in range(2):
            assert await asyncio.gather(*(good(f"good{number}", 80) for number in range(8))) == [HERE] * 8
        assert [names._askers[asker].busy for asker in range(5)] == [4, 2, 1, 1, 1]
    assert names._askers == {}


async def test_a_dozen_tenants_whose_names_hang_hold_up_no_other(lookup: Lookup) -> None:
    names = Names(lookup)
    evil = (names.of(asker)(f"hang{asker}-{number}", 80) for asker in range(12) for number in range(8))
    async with hanging(lookup, *evil, threads=12):
        assert await names.of("good")("good", 80) == HERE


async def test_a_name_is_waited_for_only_so_long_and_its_thread_counts_till_it_ends(lookup: Lookup) -> None:
    names = Names(lookup, most=8, each=2, patience=0.05)
    evil = names.of("evil")
    for number in range(4):
        with pytest.raises(TimeoutError):
            await evil(f"hang{number}", 80)
    assert lookup.begun.total() == 2
    assert names._askers["evil"].busy == 2
    assert not names._askers["evil"].waiting
    assert await names.of("good")("good", 80)
    lookup.free.set()
    await until(lambda: names._askers == {})
    assert await evil("hang4", 80) == HERE


async def test_what_the_system_refuses_is_raised_where_it_was_asked_for() -> None:
    def nobody(host: str, port: int) -> list[Address]:
        raise socket.gaierror(socket.EAI_NONAME, "nobody")

    names = Names(nobody, each=1)
    for _ in range(3):
        with pytest.raises(socket.gaierror):
            await names.of("one")("nobody.example", 80)
    assert names._askers == {}


# In the product: what the threads of the loop do goes on, and so does what other tenants do


async def test_a_tenants_receivers_with_names_that_hang_hold_up_no_other(system: Lookup) -> None:
    ways = way_out("127.0.0.1", ANYWHERE)

    def told(tenant: TenantId, host: str, port: int) -> Awaitable[int]:
        return ways(tenant).post(f"http://{host}:{port}/hook", body=b"{}", headers={})

    async with a_receiver(status=204) as receiver:
        evil = (told(EVIL, f"hang{number}.example", 80) for number in range(32))
        async with hanging(system, *evil, threads=4), asyncio.timeout(30):
            assert await asyncio.gather(*(told(GOOD, "hook.example", receiver.port) for _ in range(8))) == [204] * 8
            assert await asyncio.to_thread(len, "chunks") == 6


async def test_a_tenants_sites_with_names_that_hang_hold_up_no_other(system: Lookup) -> None:
    async with a_site() as site:
        opened = Opened(web=Web(allowed="127.0.0.1", ports=f"80,{site.port}", pause=0))
        way = _sites(opened)

        async def walked(tenant: TenantId, url: str) -> list[Sight]:
            async with way(for_job(tenant, None), "slug", Site((url,), depth=0)) as origin:
                return [sight async for sight in origin.walk(nothing_known)]

        site.put("/", "<p>A page.</p>")
        evil = (walked(EVIL, f"http://hang{number}.example/") for number in range(32))
        async with hanging(system, *evil, threads=4), asyncio.timeout(30):
            (sight,) = await walked(GOOD, site.at("/"))
            assert isinstance(sight, Found)
            assert await asyncio.to_thread(len, "chunks") == 6


async def test_a_tenants_providers_with_names_that_hang_hold_up_no_other(system: Lookup) -> None:
    judged = _judged(Settings())

    async def asked(tenant: TenantId, url: str) -> None:
        async with judged(the_trust(), tenant) as transport:
            await transport.handle_async_request(httpx2.Request("GET", url))

    evil = (asked(EVIL, f"https://hang{number}.example/") for number in range(32))
    async with hanging(system, *evil, threads=4), asyncio.timeout(30):
        with pytest.raises(Invalid):  # that it leads inside is known as soon as it is found
            await asked(GOOD, "https://good.example/")
        assert system.begun["good.example"] == 1
        assert await asyncio.to_thread(len, "chunks") == 6


async def nothing_known(keys: Sequence[str]) -> Mapping[str, str]:
    return {}
