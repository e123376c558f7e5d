"""A bucket's queue: each form of message, duplicates, what nobody understands, and listeners that die."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager

import pytest

from carrel.adapters.origins import queue as module
from carrel.adapters.origins.bucket import BucketOrigin, S3Rules
from carrel.domain.errors import Refusal
from carrel.domain.origins import Bucket
from carrel.domain.secret import Secret
from carrel.ports.origins import Found, Gone, Notice, Same
from support.s3_server import KEY, REGION, SECRET, S3Server

CREDENTIAL = Secret(f"{KEY}:{SECRET}")
PATIENCE = 30.0


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAIT", 1)
    monkeypatch.setattr(module, "_HIDDEN", 2)
    monkeypatch.setattr(module, "_BEAT", 0.5)


class Place:
    """A bucket, its queue, and the queue of the dead letters."""

    def __init__(self, s3: S3Server, *, versioned: bool = False, prefix: str = "") -> None:
        self.s3, self.sqs = s3.client("s3"), s3.client("sqs")
        self.bucket = s3.bucket(versioned=versioned)
        self.dead = self.sqs.create_queue(QueueName=f"{self.bucket}-dead")["QueueUrl"]
        redrive = {"deadLetterTargetArn": self.arn(self.dead), "maxReceiveCount": "2"}
        made = self.sqs.create_queue(QueueName=self.bucket, Attributes={"RedrivePolicy": json.dumps(redrive)})
        self.queue = made["QueueUrl"]
        place = Bucket(self.bucket, prefix, REGION, s3.url, queue=self.queue)
        self.origin = BucketOrigin(place, CREDENTIAL, S3Rules(frozenset({s3.url})))

    def arn(self, queue: str) -> str:
        return str(self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])

    def listen(self) -> None:
        wish = {"QueueArn": self.arn(self.queue), "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
        configuration = {"QueueConfigurations": [wish]}
        self.s3.put_bucket_notification_configuration(Bucket=self.bucket, NotificationConfiguration=configuration)

    def put(self, key: str, content: bytes = b"x") -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)

    def tell(self, *messages: str) -> None:
        for message in messages:
            self.sqs.send_message(QueueUrl=self.queue, MessageBody=message)

    def told(self, *keys: str, name: str = "ObjectCreated:Put") -> str:
        objects = [{"bucket": {"name": self.bucket}, "object": {"key": key}} for key in keys]
        return json.dumps({"Records": [{"eventName": name, "s3": one} for one in objects]})

    def left(self, queue: str | None = None) -> int:
        """Messages that were not deleted, hidden ones included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=queue or self.queue, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)


@asynccontextmanager
async def listening(place: Place) -> AsyncIterator[AsyncIterator[Notice]]:
    async with asyncio.timeout(PATIENCE), aclosing(place.origin.events()) as notices:
        yield notices


async def settled(place: Place, count: int) -> list[str | None]:
    """The next so many keys, each settled."""
    keys: list[str | None] = []
    async with listening(place) as notices:
        async for notice in notices:
            async with notice.settled:
                keys.append(notice.key)
            if len(keys) == count:
                break
    return keys


async def nothing_known(keys: Sequence[str]) -> Mapping[str, str]:
    return {}


@pytest.mark.parametrize("versioned", [False, True])
async def test_what_changes_in_the_bucket_is_heard(s3: S3Server, *, versioned: bool) -> None:
    place = Place(s3, versioned=versioned)
    place.listen()
    for key in ("a b+c.md", "ü/ñ.md", "folder/"):
        place.put(key)
    upload = place.s3.create_multipart_upload(Bucket=place.bucket, Key="large.md")["UploadId"]
    part = place.s3.upload_part(Bucket=place.bucket, Key="large.md", UploadId=upload, PartNumber=1, Body=b"y" * 10)
    parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
    place.s3.complete_multipart_upload(Bucket=place.bucket, Key="large.md", UploadId=upload, MultipartUpload=parts)
    place.s3.delete_object(Bucket=place.bucket, Key="a b+c.md")
    if versioned:  # of delete markers the server tells nothing
        place.tell(place.told("a+b%2Bc.md", name="ObjectRemoved:DeleteMarkerCreated"))

    heard: list[str | None] = []
    async with listening(place) as notices:
        async for notice in notices:
            async with notice.settled:
                heard.append(notice.key)
            if set(heard) == {"a b+c.md", "ü/ñ.md", "large.md"} and heard.count("a b+c.md") == 2:
                break
    assert isinstance(await place.origin.look("large.md", nothing_known), Found)
    assert await place.origin.look("a b+c.md", nothing_known) == Gone("a b+c.md")


async def test_a_message_goes_when_all_that_it_names_is_settled(s3: S3Server) -> None:
    place = Place(s3)
    place.tell(place.told("a.md", "b.md"))
    async with listening(place) as notices:
        async with (await anext(notices)).settled:
            pass
        assert place.left() == 1
        async with (await anext(notices)).settled:
            pass
        assert place.left() == 0


async def test_what_could_not_be_settled_is_told_again(s3: S3Server) -> None:
    place, heard = Place(s3), []
    place.tell(place.told("a.md"))
    async with listening(place) as notices:
        with pytest.raises(RuntimeError):
            async with (await anext(notices)).settled:
                raise RuntimeError("not now")
        async for notice in notices:
            async with notice.settled:
                heard.append(notice.key)
            break
    assert (heard, place.left()) == (["a.md"], 0)


async def test_a_worker_that_dies_before_it_settles_doubles_nothing(s3: S3Server) -> None:
    """It had done the work: whoever is told again sees that the object is as it is known."""
    place, tags = Place(s3), {}
    place.put("a.md")
    place.tell(place.told("a.md"))
    async with listening(place) as notices:
        notice = await anext(notices)
        sight = await place.origin.look("a.md", nothing_known)
        assert isinstance(sight, Found)
        tags["a.md"] = str(sight.tag)

    async def known(keys: Sequence[str]) -> Mapping[str, str]:
        return {key: tags[key] for key in keys}

    assert notice.key == "a.md"
    assert await settled(place, 1) == ["a.md"]
    assert await place.origin.look("a.md", known) == Same("a.md")
    assert place.left() == 0


async def test_events_that_come_twice_and_in_the_wrong_order_say_what_is_now(s3: S3Server) -> None:
    place = Place(s3)
    place.put("a.md")
    created, removed = place.told("a.md"), place.told("a.md", name="ObjectRemoved:DeleteMarkerCreated")
    place.tell(removed, created, created, removed)
    assert await settled(place, 4) == ["a.md"] * 4
    assert isinstance(await place.origin.look("a.md", nothing_known), Found)
    assert place.left() == 0


async def test_what_nobody_understands_goes_to_the_dead_letters_and_holds_nobody_up(s3: S3Server) -> None:
    place = Place(s3)
    place.tell("no json", '{"Records": [{}]}', place.told("a.md"), place.told("%FF.md"), place.told("b.md"))
    heard: list[str | None] = []
    async with listening(place) as notices:
        listener = asyncio.ensure_future(_collect(notices, heard))
        while place.left(place.dead) < 3:  # noqa: ASYNC110 - the queue tells nobody
            await asyncio.sleep(0.2)
        listener.cancel()
        await asyncio.wait({listener})
    assert sorted(map(str, heard)) == ["a.md", "b.md"]
    assert place.left() == 0


async def _collect(notices: AsyncIterator[Notice], heard: list[str | None]) -> None:
    async for notice in notices:
        async with notice.settled:
            heard.append(notice.key)


async def test_what_says_nothing_of_this_place_is_settled(s3: S3Server) -> None:
    place = Place(s3, prefix="docs/")
    other = place.told("docs/a.md").replace(place.bucket, "another-bucket")
    place.tell(json.dumps({"Event": "s3:TestEvent"}), other, place.told("out/a.md"), place.told("docs/mine.md"))
    assert await settled(place, 1) == ["docs/mine.md"]
    async with listening(place) as notices:
        listener = asyncio.ensure_future(_collect(notices, []))
        while place.left():  # noqa: ASYNC110 - the queue tells nobody
            await asyncio.sleep(0.2)
        listener.cancel()
        await asyncio.wait({listener})


async def test_what_takes_long_stays_hidden_from_others(s3: S3Server) -> None:
    place = Place(s3)
    place.tell(place.told("slow.md"), place.told("waiting.md"))
    async with listening(place) as notices:
        first = await anext(notices)
        async with first.settled:
            await asyncio.sleep(3.5)  # longer than anything is hidden without a beat
            others = place.sqs.receive_message(QueueUrl=place.queue, MaxNumberOfMessages=10).get("Messages", [])
    assert others == []


# Queues that cannot be listened to


async def refusal_of(origin: BucketOrigin) -> Refusal:
    with pytest.raises(Refusal) as refused:
        async with asyncio.timeout(PATIENCE), aclosing(origin.events()) as notices:
            await anext(notices)
    return refused.value


def origin_with(queue: str, *, secret: Secret | None = CREDENTIAL) -> BucketOrigin:
    url = queue[: queue.index("/", 8)]
    return BucketOrigin(Bucket("a-bucket", "", REGION, url, queue=queue), secret, S3Rules(frozenset({url})))


async def test_a_queue_that_is_not_there_says_so(s3: S3Server) -> None:
    refused = await refusal_of(origin_with(f"{s3.url}/123456789012/none"))
    assert (refused.code, refused.retryable) == ("queue_missing", False)


async def test_a_queue_that_refuses_us_says_so(s3: S3Server) -> None:
    place = Place(s3)
    with s3.strict():
        refused = await refusal_of(place.origin)
    assert (refused.code, refused.retryable) == ("queue_refused", False)
    assert SECRET not in refused.detail


async def test_a_queue_that_does_not_answer_is_unavailable() -> None:
    refused = await refusal_of(origin_with("http://127.0.0.1:9/123456789012/none"))
    assert (refused.code, refused.retryable) == ("queue_unavailable", True)


async def test_without_the_extra_a_queue_says_what_is_missing(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in {"aiobotocore", "botocore"}]:
        monkeypatch.setitem(sys.modules, name, None)
    refused = await refusal_of(origin_with(f"{s3.url}/123456789012/none"))
    assert refused.code == "aws_missing"
    assert "carrel[aws]" in refused.detail


async def test_a_place_without_a_queue_has_no_events(s3: S3Server) -> None:
    origin = BucketOrigin(Bucket("a-bucket", "", REGION, s3.url), None, S3Rules(frozenset({s3.url})))
    assert [notice async for notice in origin.events()] == []


@pytest.mark.parametrize("secret", [CREDENTIAL, None], ids=["a key", "nobody"])
async def test_nothing_of_the_machines_own_identity_is_sent(
    secret: Secret | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token-of-the-machine")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-key-of-the-machine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-machine")
    heard: list[str] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(
            b'HTTP/1.1 403 Forbidden\r\ncontent-length: 28\r\nconnection: close\r\n\r\n{"__type":"AccessDenied"}   '
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        queue = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/123456789012/q"
        assert (await refusal_of(origin_with(queue, secret=secret))).code == "queue_refused"
    assert heard
    assert all("of-the-machine" not in request for request in heard)
    assert all((KEY in request) is (secret is not None) for request in heard)
