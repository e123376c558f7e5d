"""A bucket as an origin: what is there, what has changed, what cannot be had, and endpoints that lie."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from carrel.adapters.origins.bucket import BucketOrigin, S3Rules
from carrel.domain.errors import Conflict, Invalid, Refusal, TooLarge, Unavailable
from carrel.domain.origins import Bucket
from carrel.domain.secret import Secret
from carrel.ports.origins import Failed, Found, Gone, Same, Sight
from support.s3_server import KEY, REGION, SECRET, S3Server

ODD_KEYS = ["a b.md", "ü/ñ 漢字.md", "plus+plus.md", "hash#x.md", "q?x=1&y.md", "per%20cent.md", "~(!)*',;:@$=[].md"]
CREDENTIAL = Secret(f"{KEY}:{SECRET}")


async def nothing_known(keys: Sequence[str]) -> Mapping[str, str]:
    return {}


def origin_of(
    s3: S3Server, bucket: str, prefix: str = "", *, secret: Secret | None = CREDENTIAL, **rules: Any
) -> BucketOrigin:
    return BucketOrigin(Bucket(bucket, prefix, REGION, s3.url), secret, S3Rules(frozenset({s3.url}), **rules))


class Memory:
    """What a source remembers of its items: their tags, and how often it was asked for them."""

    def __init__(self) -> None:
        self.tags: dict[str, str] = {}
        self.pages: list[int] = []
        self.asked: list[str] = []

    async def known(self, keys: Sequence[str]) -> Mapping[str, str]:
        self.pages.append(len(keys))
        self.asked += keys
        return {key: self.tags[key] for key in keys if key in self.tags}

    async def walked(self, origin: BucketOrigin) -> dict[str, Sight | bytes]:
        """By key: the bytes of what was found, and else what was seen."""
        seen: dict[str, Sight | bytes] = {}
        async for sight in origin.walk(self.known):
            assert sight.key not in seen, "each key once"
            seen[sight.key] = await self.read(sight)
        return seen

    async def read(self, sight: Sight) -> Sight | bytes:
        if not isinstance(sight, Found):
            return sight
        assert sight.tag is not None
        self.tags[sight.key] = sight.tag
        return b"".join([piece async for piece in sight.content])


def refusal_of(sight: object) -> str:
    assert isinstance(sight, Failed)
    return sight.refusal.code


def put(s3: S3Server, bucket: str, **objects: bytes) -> None:
    for key, content in objects.items():
        s3.client("s3").put_object(Bucket=bucket, Key=key, Body=content)


@pytest.mark.parametrize("versioned", [False, True])
async def test_a_second_walk_reads_only_what_has_changed(s3: S3Server, *, versioned: bool) -> None:
    bucket, memory = s3.bucket(versioned=versioned), Memory()
    put(s3, bucket, **{"a.md": b"A", "b.md": b"B", "c.md": b"C"})
    origin = origin_of(s3, bucket)
    assert await memory.walked(origin) == {"a.md": b"A", "b.md": b"B", "c.md": b"C"}
    put(s3, bucket, **{"b.md": b"BB", "d.md": b"D", "a.md": b"A"})
    s3.client("s3").delete_object(Bucket=bucket, Key="c.md")

    assert await memory.walked(origin) == {"a.md": Same("a.md"), "b.md": b"BB", "d.md": b"D"}


@pytest.mark.parametrize("versioned", [False, True])
async def test_one_object_is_looked_at_as_it_is_now(s3: S3Server, *, versioned: bool) -> None:
    bucket, memory = s3.bucket(versioned=versioned), Memory()
    origin, client = origin_of(s3, bucket), s3.client("s3")
    put(s3, bucket, **{"a.md": b"A"})
    assert await memory.read(await origin.look("a.md", memory.known)) == b"A"
    assert await origin.look("a.md", memory.known) == Same("a.md")
    assert (await memory.walked(origin)) == {"a.md": Same("a.md")}, "both ways give it the same tag"
    put(s3, bucket, **{"a.md": b"AA"})
    assert await memory.read(await origin.look("a.md", memory.known)) == b"AA"
    client.delete_object(Bucket=bucket, Key="a.md")
    assert await origin.look("a.md", memory.known) == Gone("a.md")
    put(s3, bucket, **{"a.md": b"again"})
    assert await memory.read(await origin.look("a.md", memory.known)) == b"again"


async def test_names_are_taken_to_the_letter(s3: S3Server) -> None:
    bucket = s3.bucket()
    put(s3, bucket, **{key: key.encode() for key in ODD_KEYS})
    origin = origin_of(s3, bucket)
    assert await Memory().walked(origin) == {key: key.encode() for key in ODD_KEYS}
    for key in ODD_KEYS:
        assert await Memory().read(await origin.look(key, nothing_known)) == key.encode()


async def test_one_name_that_no_document_can_have_stops_no_other(s3: S3Server) -> None:
    bucket = s3.bucket()
    put(s3, bucket, **{"a.md": b"A", "a//b.md": b"B", "x/../y.md": b"C", "./z.md": b"D", "/e.md": b"E", "z.md": b"Z"})
    seen = await Memory().walked(origin_of(s3, bucket))
    assert (seen.pop("a.md"), seen.pop("z.md")) == (b"A", b"Z")
    assert {key: refusal_of(sight) for key, sight in seen.items()} == dict.fromkeys(
        ["a//b.md", "x/../y.md", "./z.md", "/e.md"], "invalid_key"
    )
    assert refusal_of(await origin_of(s3, bucket).look("x/../y.md", nothing_known)) == "invalid_key"


async def test_folders_are_no_documents_and_empty_objects_are(s3: S3Server) -> None:
    bucket = s3.bucket()
    put(s3, bucket, **{"folder/": b"", "folder/a.md": b"A", "empty.md": b""})
    origin = origin_of(s3, bucket)
    assert await Memory().walked(origin) == {"folder/a.md": b"A", "empty.md": b""}
    assert await origin.look("folder/", nothing_known) == Gone("folder/")


async def test_a_prefix_is_a_wall(s3: S3Server) -> None:
    bucket = s3.bucket()
    put(s3, bucket, **{"in/a.md": b"A", "out/b.md": b"B", "input.md": b"C"})
    origin = origin_of(s3, bucket, "in/")
    assert await Memory().walked(origin) == {"in/a.md": b"A"}
    assert await origin.look("out/b.md", nothing_known) == Gone("out/b.md")


async def test_what_is_too_large_is_not_read(s3: S3Server) -> None:
    bucket = s3.bucket()
    put(s3, bucket, **{"large.md": b"x" * 11, "right.md": b"x" * 10})
    origin = origin_of(s3, bucket, most_bytes=10)
    seen = await Memory().walked(origin)
    assert seen.pop("right.md") == b"x" * 10
    assert refusal_of(seen["large.md"]) == "too_large"
    assert refusal_of(await origin.look("large.md", nothing_known)) == "too_large"


async def test_what_is_archived_fails_with_that_reason_and_the_others_go_on(s3: S3Server) -> None:
    bucket = s3.bucket()
    for key, storage in {"cold.md": "GLACIER", "colder.md": "DEEP_ARCHIVE", "warm.md": "STANDARD_IA"}.items():
        s3.client("s3").put_object(Bucket=bucket, Key=key, Body=b"x", StorageClass=storage)
    seen = await Memory().walked(origin_of(s3, bucket))
    assert seen.pop("warm.md") == b"x"
    assert {key: refusal_of(sight) for key, sight in seen.items()} == dict.fromkeys(
        ["cold.md", "colder.md"], "object_archived"
    )
    assert refusal_of(await origin_of(s3, bucket).look("cold.md", nothing_known)) == "object_archived"


async def test_a_large_object_that_was_looked_at_can_be_read_later(s3: S3Server) -> None:
    bucket, content = s3.bucket(), b"0123456789" * 150_000
    put(s3, bucket, **{"large.txt": content})
    sight = await origin_of(s3, bucket).look("large.txt", nothing_known)
    assert isinstance(sight, Found)
    digest = hashlib.sha256()
    async for piece in sight.content:
        digest.update(piece)
    assert digest.digest() == hashlib.sha256(content).digest()


async def test_the_media_type_is_told_if_somebody_said_one(s3: S3Server) -> None:
    bucket = s3.bucket()
    s3.client("s3").put_object(Bucket=bucket, Key="a", Body=b"x", ContentType="text/markdown; charset=utf-8")
    s3.client("s3").put_object(Bucket=bucket, Key="b", Body=b"x")
    types = {
        sight.key: sight.media_type
        async for sight in origin_of(s3, bucket).walk(nothing_known)
        if isinstance(sight, Found)
    }
    assert types == {"a": "text/markdown; charset=utf-8", "b": None}


async def test_many_pages_are_walked_and_asked_for_one_by_one(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carrel.adapters.origins.s3._PAGE", 10)
    bucket, memory = s3.bucket(), Memory()
    put(s3, bucket, **{f"{number:03}.md": b"%d" % number for number in range(25)})
    assert len(await memory.walked(origin_of(s3, bucket))) == 25
    assert memory.pages == [10, 10, 5]


# What cannot be walked at all


async def walk_refused(origin: BucketOrigin) -> Refusal:
    with pytest.raises(Refusal) as refused:
        [sight async for sight in origin.walk(nothing_known)]
    return refused.value


async def test_a_bucket_that_is_not_there_makes_nothing_disappear(s3: S3Server) -> None:
    origin = origin_of(s3, "there-is-none-of-this")
    assert (await walk_refused(origin)).code == "bucket_missing"
    with pytest.raises(Conflict) as refused:
        await origin.look("a.md", nothing_known)
    assert refused.value.code == "bucket_missing"


async def test_a_bucket_that_refuses_us_says_so(s3: S3Server) -> None:
    bucket = s3.bucket()
    put(s3, bucket, **{"a.md": b"A"})
    with s3.strict():
        refused = await walk_refused(origin_of(s3, bucket))
        assert refusal_of(await origin_of(s3, bucket).look("a.md", nothing_known)) == "object_refused"
    assert (refused.code, refused.retryable) == ("bucket_refused", False)
    assert SECRET not in refused.detail


async def test_objects_that_are_not_public_are_refused_one_by_one(s3: S3Server) -> None:
    """The server lists for everybody, and gives what is public."""
    bucket = s3.bucket()
    put(s3, bucket, **{"a.md": b"A"})
    s3.client("s3").put_object(Bucket=bucket, Key="b.md", Body=b"B", ACL="public-read")
    seen = await Memory().walked(origin_of(s3, bucket, secret=None))
    assert (refusal_of(seen["a.md"]), seen["b.md"]) == ("object_refused", b"B")


async def test_a_key_with_rights_is_let_in_where_signatures_are_checked(s3: S3Server) -> None:
    bucket = s3.bucket()
    put(s3, bucket, **{"a b.md": b"A", "in/ü+.md": b"U"})
    secret = Secret(":".join(s3.user("s3:*")))
    with s3.strict():
        assert await Memory().walked(origin_of(s3, bucket, secret=secret)) == {"a b.md": b"A", "in/ü+.md": b"U"}
        wrong = Secret(f"{secret.reveal()}x")
        assert (await walk_refused(origin_of(s3, bucket, secret=wrong))).code == "bucket_refused"


def test_an_endpoint_that_nobody_allowed_is_not_even_tried(s3: S3Server) -> None:
    with pytest.raises(Invalid) as refused:
        BucketOrigin(Bucket("a-bucket", endpoint=s3.url), None, S3Rules())
    assert (refused.value.code, refused.value.field) == ("endpoint_not_allowed", "endpoint")


async def test_an_endpoint_that_does_not_answer_is_unavailable(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carrel.adapters.origins.s3._PAUSE", 0.01)
    place = Bucket("a-bucket", endpoint="http://127.0.0.1:9")
    refused = await walk_refused(BucketOrigin(place, None, S3Rules(frozenset({"http://127.0.0.1:9"}))))
    assert (refused.code, refused.retryable) == ("bucket_unavailable", True)


# Endpoints that lie

Answer = Callable[[str], bytes]
LIST = '<?xml version="1.0"?><ListBucketResult>{}</ListBucketResult>'
ONE = '<Contents><Key>{}</Key><Size>{}</Size><ETag>"{}"</ETag></Contents>'


def http(body: str | bytes, status: str = "200 OK", headers: str = "") -> bytes:
    content = body.encode() if isinstance(body, str) else body
    return (
        f"HTTP/1.1 {status}\r\ncontent-length: {len(content)}\r\n{headers}connection: close\r\n\r\n".encode() + content
    )


@asynccontextmanager
async def an_endpoint(answer: Answer) -> AsyncIterator[tuple[BucketOrigin, list[str]]]:
    heard: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        heard.append(request)
        writer.write(answer(request.split(" ")[1]))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield (
            BucketOrigin(Bucket("a-bucket", endpoint=url), CREDENTIAL, S3Rules(frozenset({url}), most_bytes=100)),
            heard,
        )


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carrel.adapters.origins.s3._PAUSE", 0.001)


BOMB = '<!DOCTYPE l [<!ENTITY a "x"><!ENTITY b "&a;&a;">]><ListBucketResult>&b;</ListBucketResult>'
LIES: dict[str, tuple[bytes, str]] = {
    "a page of HTML": (http("<html><body>Sign in</body></html>"), "bucket_unavailable"),
    "no XML": (http("no xml"), "bucket_unavailable"),
    "nothing": (http(""), "bucket_unavailable"),
    "entities": (http(BOMB), "bucket_unavailable"),
    "an encoding that nobody reads": (http('<?xml version="1.0" encoding="shift_jis"?><a/>'), "bucket_unavailable"),
    "an encoding that is none": (http('<?xml version="1.0" encoding="foo"?><a/>'), "bucket_unavailable"),
    "a refusal in an encoding that is none": (
        http('<?xml version="1.0" encoding="foo"?><a/>', "403 Forbidden"),
        "bucket_refused",
    ),
    "a size beyond measure": (http(LIST.format(ONE.format("a", "9" * 5000, "e"))), "bucket_unavailable"),
    "an object without a size": (http(LIST.format("<Contents><Key>a</Key></Contents>")), "bucket_unavailable"),
    "a size that is none": (http(LIST.format(ONE.format("a", "-1", "e"))), "bucket_unavailable"),
    "a token that leads nowhere on": (
        http(LIST.format("<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>")),
        "bucket_unavailable",
    ),
    "a redirect": (http("", "307 Temporary Redirect", "location: http://169.254.169.254/\r\n"), "bucket_elsewhere"),
    "another region": (http("", "301 Moved", "x-amz-bucket-region: eu-west-3\r\n"), "bucket_elsewhere"),
    "no": (http("<Error><Code>AccessDenied</Code></Error>", "403 Forbidden"), "bucket_refused"),
    "who are you": (http("", "401 Unauthorized"), "bucket_refused"),
    "trouble": (http("", "503 Slow Down"), "bucket_unavailable"),
    "half an answer": (b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n<ListBuck", "bucket_unavailable"),
    "no HTTP": (b"220 smtp.example.org ready\r\n", "bucket_unavailable"),
}


async def looked_at(origin: BucketOrigin) -> Sight | Refusal:
    try:
        return await origin.look("a.md", nothing_known)
    except Refusal as refusal:
        return refusal


@pytest.mark.parametrize("lie", LIES)
async def test_an_endpoint_that_lies_makes_nothing_disappear(lie: str) -> None:
    said, code = LIES[lie]
    async with an_endpoint(lambda _: said) as (origin, heard):
        refused = await walk_refused(origin)
        sight = await looked_at(origin)
    assert refused.code == code
    assert not isinstance(sight, Gone)
    assert all("169.254" not in request for request in heard)


async def test_an_object_that_is_called_absent_by_no_bucket_is_not_gone() -> None:
    async with an_endpoint(lambda _: http("not here", "404 Not Found")) as (origin, _):
        with pytest.raises(Unavailable) as refused:
            await origin.look("a.md", nothing_known)
    assert refused.value.code == "bucket_unavailable"


async def first_read(origin: BucketOrigin) -> bytes:
    async with aclosing(origin.walk(nothing_known)) as walk:
        sight = await anext(walk)
        assert isinstance(sight, Found)
        return b"".join([piece async for piece in sight.content])


async def test_what_comes_counts_and_not_what_the_list_says() -> None:
    listed = LIST.format(ONE.format("a.md", 3, "e"))

    def answer(path: str) -> bytes:
        return http(listed) if "list-type" in path else b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + b"x" * 101

    async with an_endpoint(answer) as (origin, _):
        with pytest.raises(TooLarge):
            await first_read(origin)


async def test_one_object_in_trouble_stops_no_other_and_many_are_the_buckets() -> None:
    listed = LIST.format("".join(ONE.format(f"{name}.md", 3, "e") for name in "abcdef"))

    def answer(path: str) -> bytes:
        if "list-type" in path:
            return http(listed)
        return http("abc", headers='etag: "e"\r\n') if path[-4] in good else http("", "500 Oops")

    good = "acef"
    async with an_endpoint(answer) as (origin, _):
        seen = await Memory().walked(origin)
        assert {key for key, sight in seen.items() if sight == b"abc"} == {"a.md", "c.md", "e.md", "f.md"}
        assert {refusal_of(seen["b.md"]), refusal_of(seen["d.md"])} == {"bucket_unavailable"}
        good = "af"
        with pytest.raises(Unavailable):
            await Memory().walked(origin)


async def test_names_that_xml_cannot_hold_are_asked_for_in_another_form() -> None:
    def answer(path: str) -> bytes:
        if "list-type" not in path:
            return http("abc", headers='etag: "e"\r\n')
        if "encoding-type=url" not in path:
            return http(LIST.format(ONE.format("\x01.md", 3, "e")))
        names = ("%01.md", "%00.md", "a+b%2Bc.md")
        return http(
            LIST.format("<EncodingType>url</EncodingType>" + "".join(ONE.format(name, 3, "e") for name in names))
        )

    memory = Memory()
    async with an_endpoint(answer) as (origin, _):
        seen = await memory.walked(origin)
    asked = memory.asked
    assert refusal_of(seen.pop("\x01.md")) == "invalid_key"
    assert refusal_of(seen.pop("\ufffd.md")) == "invalid_key"
    assert all("\x00" not in key for key in asked)
    assert seen == {"a b+c.md": b"abc"}


@pytest.mark.parametrize("tag", ["ü", "a b", "x\ny", "x" * 201])
async def test_a_tag_that_no_header_can_hold_is_none(tag: str) -> None:
    listed = LIST.format(ONE.format("a.md", 3, tag))
    async with (
        an_endpoint(lambda path: http(listed if "list-type" in path else "abc")) as (origin, _),
        aclosing(origin.walk(nothing_known)) as walk,
    ):
        sight = await anext(walk)
    assert isinstance(sight, Found)
    assert sight.tag is None


async def test_nothing_of_the_machines_own_identity_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token-of-the-machine")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-key-of-the-machine")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with an_endpoint(lambda _: http(LIST.format(""))) as (origin, heard):
        assert await Memory().walked(origin) == {}
        public = BucketOrigin(origin._place, None, origin._rules)
        assert await Memory().walked(public) == {}
    assert len(heard) == 2
    assert KEY in heard[0]
    assert "authorization" not in heard[1].lower()
    assert all("of-the-machine" not in request for request in heard)


def test_a_place_keeps_its_rules_whoever_changes_it() -> None:
    rules = S3Rules(frozenset({"http://127.0.0.1:9"}))
    place = Bucket("a-bucket", endpoint="http://127.0.0.1:9")
    BucketOrigin(place, None, rules)
    with pytest.raises(Invalid):
        BucketOrigin(replace(place, endpoint="http://127.0.0.1:10"), None, rules)
