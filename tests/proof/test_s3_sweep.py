"""A large bucket: walked again and again, also by walks that break off, nothing is lost, doubled or read in vain."""

import random
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Final

import pytest

from carrel.adapters.origins.bucket import BucketOrigin, S3Rules
from carrel.domain.origins import Bucket
from carrel.domain.secret import Secret
from carrel.ports.origins import Found, Same
from support.rounds import rounds
from support.s3_server import KEY, REGION, SECRET, S3Server

pytestmark = [pytest.mark.proof, pytest.mark.slow]

OBJECTS: Final = rounds(70, 2_500)
PAGE: Final = rounds(30, 1_000)
WALKS: Final = rounds(2, 10)
SEED: Final = 20_261_121


class Source:
    """What a source remembers: the bytes and the tag of each key."""

    def __init__(self, origin: BucketOrigin) -> None:
        self._origin = origin
        self.kept: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.pages: list[int] = []

    async def known(self, keys: Sequence[str]) -> Mapping[str, str]:
        self.pages.append(len(keys))
        return {key: self.tags[key] for key in keys if key in self.tags}

    async def walk(self, *, most: int | None = None) -> int:
        """How many were read. What a whole walk did not mention has gone; one that broke off takes nothing away."""
        seen, read = set(), 0
        async with aclosing(self._origin.walk(self.known)) as walk:
            async for sight in walk:
                assert sight.key not in seen
                assert isinstance(sight, Found | Same), sight
                seen.add(sight.key)
                if isinstance(sight, Found):
                    read += 1
                    self.kept[sight.key] = b"".join([piece async for piece in sight.content])
                    self.tags[sight.key] = str(sight.tag)
                if read == most:
                    return read
        for key in self.kept.keys() - seen:
            del self.kept[key], self.tags[key]
        return read


async def test_a_large_bucket_is_followed_through_every_change(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carrel.adapters.origins.s3._PAGE", PAGE)
    bucket, client, chance = s3.bucket(), s3.client("s3"), random.Random(SEED)
    there: dict[str, bytes] = {}

    def put(key: str) -> None:
        there[key] = chance.randbytes(chance.randrange(1, 200))
        client.put_object(Bucket=bucket, Key=key, Body=there[key])

    for number in range(OBJECTS):
        put(f"folder {number % 7}/ü+{number:05}.md")
    place = Bucket(bucket, "folder", REGION, s3.url)
    source = Source(BucketOrigin(place, Secret(f"{KEY}:{SECRET}"), S3Rules(frozenset({s3.url}))))

    assert await source.walk(most=OBJECTS // 3) == OBJECTS // 3
    assert await source.walk() == OBJECTS - OBJECTS // 3, "what was read before the break is not read again"
    assert max(source.pages) == min(PAGE, OBJECTS)
    for _ in range(WALKS):
        changed = chance.sample(sorted(there), 5)
        for key in changed:
            put(key)
        for key in chance.sample(sorted(there.keys() - set(changed)), 5):
            client.delete_object(Bucket=bucket, Key=key)
            del there[key]
        put(f"folder new/{chance.random()}.md")
        assert await source.walk() == 6
        assert source.kept == there
