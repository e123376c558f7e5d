"""A bucket of S3 as an origin: its objects below a prefix, and the queue that hears of them.

The tag of an object is its ETag with its size: the list shows no version, and equal ETags are equal bytes whichever
version they are of.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Final, Protocol

from carrel.adapters.origins.queue import heard
from carrel.adapters.origins.s3 import ABSENT, OK, SAME, Answer, BucketClient, Listed
from carrel.domain.buckets import S3Key, S3Rules, s3_key
from carrel.domain.errors import Conflict, Invalid, Refusal, TooLarge, Unavailable
from carrel.domain.keys import place_key
from carrel.domain.origins import Bucket
from carrel.domain.secret import Secret
from carrel.ports.origins import Failed, Found, Gone, Known, Notice, Same, Sight

__all__ = ["BucketOrigin", "Revealed", "S3Rules"]

_ABSENT: Final = "NoSuchKey"
_ARCHIVED: Final = "InvalidObjectState"
_UNTOLD: Final = frozenset({"", "binary/octet-stream", "application/octet-stream"})
_SMALL: Final = 1 << 20
_MOST_MISSES: Final = 3  # objects one after the other: then it is the bucket that does not answer


class Revealed(Protocol):
    """A secret that is shown where it is used: `ACCESS_KEY_ID:SECRET_ACCESS_KEY`."""

    def reveal(self) -> str: ...


class BucketOrigin:
    """Without a secret the bucket is public; nothing of the machine's own identity is ever used.

    Raises Invalid, with its field, for a place that the rules do not allow or a secret that is none.
    """

    def __init__(self, place: Bucket, secret: Revealed | None, rules: S3Rules) -> None:
        rules.judge(place)
        self._place = place
        self._rules = rules
        self._key: S3Key | None = None if secret is None else s3_key(Secret(secret.reveal()))

    async def walk(self, known: Known) -> AsyncGenerator[Sight]:
        """Raises Conflict `bucket_missing`, `bucket_refused`, `bucket_elsewhere`, Unavailable `bucket_unavailable`."""
        misses = 0
        async with self._client() as client, aclosing(self._judged(client, known)) as judged:
            async for one in judged:
                if not isinstance(one, Listed):
                    yield one
                    continue
                async with AsyncExitStack() as opened:
                    try:
                        sight = await opened.enter_async_context(self._seen(client, one.key))
                        misses = 0
                    except Unavailable as refusal:
                        misses += 1
                        if misses == _MOST_MISSES:
                            raise
                        sight = Failed(one.key, refusal)
                    if not isinstance(sight, Gone):  # it went since the list was made
                        yield sight

    async def look(self, key: str, known: Known) -> Sight:
        """Raises as `walk`."""
        if key.endswith("/") or not key.startswith(self._place.prefix):
            return Gone(key)
        if (unfit := self._unfit(key, 0)) is not None:
            return Failed(_visible(key), unfit)
        tag = (await known([key])).get(key)
        async with self._client() as client, self._seen(client, key, tag=tag) as sight:
            return await self._detached(sight)

    async def events(self) -> AsyncGenerator[Notice]:
        """Raises Conflict `queue_missing`, `queue_refused`, `aws_missing`, Unavailable `queue_unavailable`."""
        service = self._rules.queue(self._place)
        if service is not None:
            async with aclosing(heard(self._place, service, self._key)) as notices:
                async for notice in notices:
                    yield notice

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[BucketClient]:
        client = BucketClient(self._rules.storage(self._place), self._place.bucket, self._key)
        try:
            yield client
        finally:
            await client.close()

    async def _judged(self, client: BucketClient, known: Known) -> AsyncGenerator[Listed | Same | Failed]:
        """Page by page: what is as it was, what cannot be read whatever it holds, and what is to be read."""
        async with aclosing(client.pages(self._place.prefix)) as pages:
            async for page in pages:
                objects = [one for one in page if not one.key.endswith("/")]
                unfit = {one.key: reason for one in objects if (reason := self._unfit(one.key, one.size))}
                tags = await known([one.key for one in objects if one.key not in unfit])
                for one in objects:
                    tag = _tag(one.tag, one.size)
                    if one.key in unfit:
                        yield Failed(_visible(one.key), unfit[one.key])
                    else:
                        yield Same(one.key) if tag is not None and tags.get(one.key) == tag else one

    def _unfit(self, key: str, size: int) -> Refusal | None:
        """Why an object cannot become a document, as far as that can be told without asking for it."""
        try:
            place_key(key)
        except Invalid as problem:
            return problem
        if size > self._rules.most_bytes:
            return TooLarge(f"A file has at most {self._rules.most_bytes:,} bytes.", field="files")
        return None

    @asynccontextmanager
    async def _seen(self, client: BucketClient, key: str, *, tag: str | None = None) -> AsyncIterator[Sight]:
        """What is found can be read as long as the context is there."""
        async with client.object(key, unless=tag and tag.rpartition(":")[0]) as answer:
            yield self._sight(key, answer, tag)

    def _sight(self, key: str, answer: Answer, known: str | None) -> Sight:
        if answer.status == ABSENT:
            if answer.complaint != _ABSENT:
                raise Unavailable("The endpoint does not answer as S3 does.", code="bucket_unavailable")
            return Gone(key)
        tag = _tag(answer.tag, answer.size)
        if answer.status == SAME or (answer.status == OK and tag is not None and tag == known):
            return Same(key)
        if answer.status != OK:
            return Failed(key, _refusal(answer))
        if (unfit := self._unfit(key, answer.size)) is not None:
            return Failed(key, unfit)
        media_type = (answer.media_type or "").partition(";")[0].strip().lower()
        return Found(key, tag, self._counted(answer.content), None if media_type in _UNTOLD else answer.media_type)

    async def _counted(self, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """What comes counts, whatever was said of it. Raises TooLarge."""
        size = 0
        async for piece in content:
            size += len(piece)
            if size > self._rules.most_bytes:
                raise TooLarge(f"A file has at most {self._rules.most_bytes:,} bytes.", field="files")
            yield piece

    async def _detached(self, sight: Sight) -> Sight:
        """Found so that it may be read later or not at all: little is read now, much is asked for again then."""
        if not isinstance(sight, Found):
            return sight
        held = bytearray()
        async for piece in sight.content:
            held += piece
            if len(held) > _SMALL:
                return Found(sight.key, sight.tag, self._again(sight.key), sight.media_type)
        return Found(sight.key, sight.tag, _once(bytes(held)), sight.media_type)

    async def _again(self, key: str) -> AsyncIterator[bytes]:
        """Raises what the object says by then, if it is no longer to be had."""
        async with self._client() as client, self._seen(client, key) as sight:
            match sight:
                case Found():
                    async for piece in sight.content:
                        yield piece
                case Failed():
                    raise sight.refusal
                case _:
                    raise Unavailable("The object went while it was read.", code="bucket_unavailable")


def _visible(key: str) -> str:
    """A name that no document can have is told all the same: by what can be kept of it."""
    return key.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _tag(tag: str | None, size: int) -> str | None:
    return None if tag is None else f"{tag}:{size}"


def _refusal(answer: Answer) -> Refusal:
    if answer.complaint == _ARCHIVED:
        return Conflict("The object is archived and must be restored before it can be read.", code="object_archived")
    return Conflict("The bucket refuses to give this object to the credential.", code="object_refused")


async def _once(content: bytes) -> AsyncIterator[bytes]:
    if content:
        yield content
