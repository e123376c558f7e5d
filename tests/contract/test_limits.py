"""What every limiter promises (ports/limits.py), tried in memory and on a real Redis."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from carrel.adapters.limits.memory import MemoryLimiter
from carrel.adapters.limits.redis import RedisLimiter
from carrel.domain.errors import Unavailable
from carrel.domain.limits import Limit, Standing
from carrel.ports.limits import Limiter
from support.redis_server import RedisServer, a_redis

LONG = Limit(5, 3600)


PATIENCE = 60.0  # a busy machine is not what these tests are about


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with a_redis(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture(params=["memory", "redis"])
async def limiter(request: pytest.FixtureRequest) -> AsyncIterator[Limiter]:
    if request.param == "memory":
        yield MemoryLimiter()
        return
    limiter = RedisLimiter(request.getfixturevalue("server").url, patience=PATIENCE)
    yield limiter
    await limiter.close()


async def first_answer(limiter: Limiter) -> Standing:
    async with asyncio.timeout(60):
        while True:
            with suppress(Unavailable):
                return await limiter.hit(LONG, "who")
            await asyncio.sleep(0.1)


def somebody() -> str:
    return uuid.uuid4().hex


async def test_a_look_counts_nothing_and_tells_what_is_left(limiter: Limiter) -> None:
    who = somebody()
    assert (await limiter.hit(LONG, who, cost=0)).remaining == 5
    for left in (4, 3, 2, 1, 0):
        assert (await limiter.hit(LONG, who)).remaining == left
        assert (await limiter.hit(LONG, who, cost=0)).remaining == left
    assert not (await limiter.hit(LONG, who)).allowed


async def test_as_many_hits_are_allowed_as_the_limit_says_and_each_tells_what_is_left(limiter: Limiter) -> None:
    who = somebody()
    standings = [await limiter.hit(LONG, who) for _ in range(7)]
    assert [standing.allowed for standing in standings] == [True] * 5 + [False] * 2
    assert [standing.remaining for standing in standings] == [4, 3, 2, 1, 0, 0, 0]
    assert all(0 < standing.wait <= LONG.seconds for standing in standings)
    assert all(standing.limit == LONG for standing in standings)


async def test_keys_do_not_use_up_each_others_limits_also_when_they_look_alike(limiter: Limiter) -> None:
    who = somebody()
    for key in ((who,), (who, ""), ("", who), (f"{who}/a", "b"), (who, "a/b"), (f"{who}1:a", "b"), (f"{who}", "1:ab")):
        assert (await limiter.hit(Limit(1, 60), *key)).allowed
        assert not (await limiter.hit(Limit(1, 60), *key)).allowed


async def test_limits_of_one_key_are_counted_apart(limiter: Limiter) -> None:
    who = somebody()
    assert (await limiter.hit(Limit(1, 60), who)).allowed
    assert (await limiter.hit(Limit(1, 3600), who)).allowed
    assert not (await limiter.hit(Limit(1, 60), who)).allowed


async def test_many_hits_at_the_same_time_are_counted_exactly(limiter: Limiter) -> None:
    who = somebody()
    standings = await asyncio.gather(*(limiter.hit(Limit(50, 3600), who) for _ in range(200)))
    assert sum(standing.allowed for standing in standings) == 50


async def test_what_costs_more_than_is_left_is_refused_and_uses_up_nothing(limiter: Limiter) -> None:
    who = somebody()
    assert (await limiter.hit(LONG, who, cost=3)).remaining == 2
    assert not (await limiter.hit(LONG, who, cost=3)).allowed
    assert not (await limiter.hit(LONG, who, cost=6)).allowed
    assert (await limiter.hit(LONG, who, cost=2)).allowed


async def test_a_refused_hit_is_allowed_once_its_wait_is_over(limiter: Limiter) -> None:
    who, limit = somebody(), Limit(2, 1)
    for _ in range(2):
        await limiter.hit(limit, who)
    refused = await limiter.hit(limit, who)
    await asyncio.sleep(refused.wait + 0.02)  # clocks of a storage may be coarse
    assert (await limiter.hit(limit, who)).allowed


async def test_two_limiters_of_one_redis_count_together(server: RedisServer) -> None:
    who, limiters = somebody(), [RedisLimiter(server.url, patience=PATIENCE) for _ in range(2)]
    standings = await asyncio.gather(*(limiters[n % 2].hit(Limit(50, 3600), who) for n in range(200)))
    assert sum(standing.allowed for standing in standings) == 50
    for limiter in limiters:
        await limiter.close()


async def test_two_limiters_in_memory_count_for_themselves() -> None:
    one, other = MemoryLimiter(), MemoryLimiter()
    assert (await one.hit(Limit(1, 60), "who")).allowed
    assert (await other.hit(Limit(1, 60), "who")).allowed


async def test_a_limiter_without_its_redis_is_unavailable_and_comes_back_by_itself(tmp_path: Path) -> None:
    with a_redis(tmp_path) as server:
        limiter = RedisLimiter(server.url)
        assert (await limiter.hit(LONG, "who")).allowed
        server.stop()
        for _ in range(3):
            with pytest.raises(Unavailable) as refused:
                await limiter.hit(LONG, "who")
            assert refused.value.code == "limiter_unavailable"
        server.start()
        assert (await first_answer(limiter)).remaining == 4
        await limiter.close()


async def test_after_a_restart_no_hit_fails_on_a_connection_that_was_idle(tmp_path: Path) -> None:
    with a_redis(tmp_path) as server:
        limiter = RedisLimiter(server.url)
        await asyncio.gather(*(limiter.hit(Limit(100, 60), "who") for _ in range(10)))
        server.stop()
        server.start()
        assert all([(await limiter.hit(Limit(100, 60), "who")).allowed for _ in range(20)])
        await limiter.close()


async def test_memory_keeps_what_is_in_its_window_and_no_more() -> None:
    limiter, limit = MemoryLimiter(), Limit(1, 1)
    for n in range(1000):
        await limiter.hit(limit, str(n))
    await asyncio.sleep(1.1)
    for n in range(600):
        await limiter.hit(limit, f"later {n}")
    assert len(limiter._windows.storage._kept[1]) == 600  # type: ignore[attr-defined]
