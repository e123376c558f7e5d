"""Buckets of tenants: which places are allowed, which keys are some, how a request is signed, what a message says."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from carrel.adapters.origins.events import keys_of
from carrel.adapters.origins.signature import path_of, query_of, signed
from carrel.domain.buckets import S3Key, S3Rules, s3_key, same_endpoint
from carrel.domain.errors import Invalid
from carrel.domain.origins import Bucket
from carrel.domain.secret import Secret
from carrel.settings import Settings
from carrel.wiring.opened import Opened

RULES = S3Rules(frozenset({"https://minio.example.org:9000/", "http://s3.internal", "https://S3.Upper.example"}))
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/carrel"
PLACE = Bucket("some-bucket", "docs/", "eu-west-1")


@pytest.mark.parametrize(
    ("place", "url"),
    [
        (PLACE, "https://s3.eu-west-1.amazonaws.com"),
        (replace(PLACE, region="us-gov-west-1"), "https://s3.us-gov-west-1.amazonaws.com"),
        (replace(PLACE, region="cn-north-1"), "https://s3.cn-north-1.amazonaws.com.cn"),
        (replace(PLACE, endpoint="https://minio.example.org:9000"), "https://minio.example.org:9000"),
        (replace(PLACE, endpoint="https://MINIO.example.org:9000/"), "https://minio.example.org:9000"),
        (replace(PLACE, endpoint="http://s3.internal:80", region="garage"), "http://s3.internal"),
        (replace(PLACE, endpoint="https://s3.upper.example:443"), "https://s3.upper.example"),
    ],
)
def test_a_place_that_is_allowed_leads_where_it_says(place: Bucket, url: str) -> None:
    RULES.judge(place)
    assert RULES.storage(place).url == url


@pytest.mark.parametrize(
    ("wrong", "code", "field"),
    [
        ({"bucket": "Some-Bucket"}, "invalid_bucket", "bucket"),
        ({"bucket": "ab"}, "invalid_bucket", "bucket"),
        ({"bucket": "a/../b"}, "invalid_bucket", "bucket"),
        ({"bucket": "a..b"}, "invalid_bucket", "bucket"),
        ({"bucket": "bucket?x"}, "invalid_bucket", "bucket"),
        ({"prefix": "a\nb"}, "invalid_prefix", "prefix"),
        ({"prefix": "x" * 1001}, "invalid_prefix", "prefix"),
        ({"region": "eu-west-1.evil.example/"}, "invalid_region", "region"),
        ({"region": "evil"}, "invalid_region", "region"),
        ({"region": ""}, "invalid_region", "region"),
        ({"region": "eu-west-1@evil", "endpoint": "http://s3.internal"}, "invalid_region", "region"),
        ({"endpoint": "http://169.254.169.254"}, "endpoint_not_allowed", "endpoint"),
        ({"endpoint": "http://minio.example.org:9000"}, "endpoint_not_allowed", "endpoint"),
        ({"endpoint": "https://minio.example.org"}, "endpoint_not_allowed", "endpoint"),
        ({"endpoint": "https://minio.example.org:9000/admin"}, "endpoint_not_allowed", "endpoint"),
        ({"endpoint": "https://user@minio.example.org:9000"}, "endpoint_not_allowed", "endpoint"),
        ({"endpoint": "https://minio.example.org:9000@evil.example"}, "endpoint_not_allowed", "endpoint"),
        ({"endpoint": "https://minio.example.org:9000#"}, "endpoint_not_allowed", "endpoint"),
        ({"endpoint": "https://evil.example\\@minio.example.org:9000"}, "endpoint_not_allowed", "endpoint"),
        ({"endpoint": "https://minio.example.org:99999"}, "endpoint_not_allowed", "endpoint"),
        ({"endpoint": "http://[::1]"}, "endpoint_not_allowed", "endpoint"),
        ({"endpoint": "ftp://s3.internal"}, "endpoint_not_allowed", "endpoint"),
        ({"endpoint": ""}, "endpoint_not_allowed", "endpoint"),
        ({"queue": "http://sqs.eu-west-1.amazonaws.com/1/q"}, "endpoint_not_allowed", "queue"),
        ({"queue": "https://sqs.eu-west-1.amazonaws.com.evil.example/1/q"}, "endpoint_not_allowed", "queue"),
        ({"queue": "https://sqs.evil.amazonaws.com/1/q"}, "endpoint_not_allowed", "queue"),
        ({"queue": "https://sqs.eu-west-1.amazonaws.com:8443/1/q"}, "endpoint_not_allowed", "queue"),
        ({"queue": "http://127.0.0.1:5432/1/q"}, "endpoint_not_allowed", "queue"),
        ({"queue": "https://sqs.eu-west-1.amazonaws.com/q?Action=x"}, "invalid_queue", "queue"),
        ({"queue": "https://sqs.eu-west-1.amazonaws.com/"}, "invalid_queue", "queue"),
        ({"queue": "carrel"}, "invalid_queue", "queue"),
    ],
)
def test_a_place_that_is_not_allowed_is_refused_with_its_field(wrong: dict[str, str], code: str, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        RULES.judge(replace(PLACE, **wrong))  # type: ignore[arg-type]
    assert (refused.value.code, refused.value.field) == (code, field)


def test_a_queue_is_signed_for_the_region_of_its_address() -> None:
    service = RULES.queue(replace(PLACE, queue=QUEUE, region="us-east-1"))
    assert service is not None
    assert (service.url, service.region) == ("https://sqs.eu-west-1.amazonaws.com", "eu-west-1")
    own = RULES.queue(replace(PLACE, queue="http://s3.internal/000000000000/carrel"))
    assert own is not None
    assert own.url == "http://s3.internal"


@pytest.mark.parametrize(
    "text", ["", "no colon", ":secret-of-it", "AKIA:", "AKIA:short", "AK IA:a-secret-of-it", "AKIA:a-secret\n"]
)
def test_a_secret_that_is_no_key_is_refused_without_a_word_of_it(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        s3_key(Secret(text))
    assert (refused.value.code, refused.value.field) == ("invalid_s3_secret", "secret")
    assert "secret-of-it" not in str(refused.value)


def test_a_key_is_read_up_to_the_first_colon() -> None:
    key = s3_key(Secret("AKIAEXAMPLE:a/secret+with:colon="))
    assert (key.id, key.secret.reveal()) == ("AKIAEXAMPLE", "a/secret+with:colon=")
    assert "secret" not in repr(key).replace("secret=Secret(…)", "")


def test_a_key_kept_for_one_endpoint_is_shown_to_no_other() -> None:
    assert same_endpoint(None, None)
    assert same_endpoint("https://minio.example.org:443/", "https://MINIO.example.org")
    assert not same_endpoint(None, "https://minio.example.org")
    assert not same_endpoint("https://minio.example.org", None)
    assert not same_endpoint("https://minio.example.org", "http://minio.example.org")
    assert not same_endpoint("https://minio.example.org/path", None)
    assert not same_endpoint("https://minio.example.org/path", "https://minio.example.org/path")


KEYS = [
    "plain.md",
    "a b.md",
    "ü/ñ 漢字.md",
    "plus+plus.md",
    "hash#x.md",
    "q?x=1&y.md",
    "per%20cent.md",
    "~(!)*',;:@$=[].md",
]


@pytest.mark.parametrize("name", KEYS)
def test_a_request_is_signed_as_amazons_own_client_signs_it(name: str) -> None:
    """Which here is told the same moment."""
    now, key = datetime(2026, 11, 21, 20, 15, 33, tzinfo=UTC), S3Key("AKIAEXAMPLE", Secret("a/secret+key="))
    query = query_of({"prefix": name, "list-type": "2", "max-keys": "1000", "continuation-token": "1/+=="})
    for url in (
        f"https://s3.eu-west-1.amazonaws.com{path_of('some-bucket', name)}",
        f"http://s3.internal:9000/b?{query}",
    ):
        headers = signed(url, {"if-none-match": '"abc"'}, key=key, region="eu-west-1", now=now)
        theirs = AWSRequest(
            method="GET", url=url, headers={name: headers[name] for name in headers if name != "authorization"}
        )
        theirs.context["timestamp"] = "20261121T201533Z"
        auth = S3SigV4Auth(Credentials("AKIAEXAMPLE", "a/secret+key="), "s3", "eu-west-1")
        proof = auth.signature(auth.string_to_sign(theirs, auth.canonical_request(theirs)), theirs)
        assert headers["authorization"].endswith(f"Signature={proof}")


# Messages


def record(key: str = "docs/a.md", name: str = "ObjectCreated:Put", bucket: str = "some-bucket") -> dict[str, Any]:
    return {"eventSource": "aws:s3", "eventName": name, "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}


def records(*all_of: dict[str, Any]) -> str:
    return json.dumps({"Records": all_of})


def bridged(title: str = "Object Created", key: str = "docs/a+b.md", source: str = "aws.s3") -> str:
    detail = {"bucket": {"name": "some-bucket"}, "object": {"key": key}}
    return json.dumps({"version": "0", "source": source, "detail-type": title, "detail": detail})


def by_sns(message: str) -> str:
    return json.dumps({"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": message})


@pytest.mark.parametrize(
    ("body", "keys"),
    [
        (records(record()), ["docs/a.md"]),
        (records(record(name="s3:ObjectCreated:Put")), ["docs/a.md"]),
        (records(record(name="ObjectCreated:CompleteMultipartUpload")), ["docs/a.md"]),
        (records(record(name="ObjectRemoved:Delete")), ["docs/a.md"]),
        (records(record(name="ObjectRemoved:DeleteMarkerCreated")), ["docs/a.md"]),
        (records(record(name="LifecycleExpiration:Delete")), ["docs/a.md"]),
        (records(record(name="ObjectRestore:Completed")), ["docs/a.md"]),
        (records(record(name="ObjectTagging:Put")), []),
        (records(record(name="ObjectRestore:Post")), []),
        (records(record(), record(), record("docs/b.md")), ["docs/a.md", "docs/b.md"]),
        (records(record("docs/" + quote("ü ñ+#.md").replace("%20", "+"))), ["docs/ü ñ+#.md"]),
        (records(record("docs/folder/")), []),
        (records(record("docs/%00.md")), []),
        (records(record("other/a.md")), []),
        (records(record(bucket="another-bucket")), []),
        (json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "some-bucket"}), []),
        (by_sns(records(record())), ["docs/a.md"]),
        (by_sns(bridged()), ["docs/a+b.md"]),
        (by_sns(json.dumps({"Event": "s3:TestEvent"})), []),
        (bridged(), ["docs/a+b.md"]),
        (bridged("Object Deleted"), ["docs/a+b.md"]),
        (bridged("Object Tags Added"), []),
        (bridged(source="aws.ec2"), []),
    ],
)
def test_a_message_names_what_may_have_changed(body: str, keys: list[str]) -> None:
    assert list(keys_of(body, PLACE)) == keys


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no json",
        "[]",
        "1",
        "{}",
        '{"Records": []}',
        '{"Records": {}}',
        '{"Records": [1]}',
        '{"Records": [{"eventName": "ObjectCreated:Put"}]}',
        records({**record(), "s3": {"bucket": {"name": "some-bucket"}, "object": {"key": 7}}}),
        records(record("docs/%FF.md")),
        by_sns("no json"),
        by_sns(by_sns(records(record()))),
        '{"source": "aws.s3", "detail-type": "Object Created", "detail": {}}',
        '{"source": "aws.s3", "detail-type": "Object Created"}',
    ],
)
def test_a_message_that_is_no_event_is_malformed(body: str) -> None:
    with pytest.raises(Invalid) as refused:
        keys_of(body, PLACE)
    assert refused.value.code == "malformed_event"


def test_the_settings_say_which_endpoints_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARREL_ORIGINS__S3_ENDPOINTS", "https://minio.example.org:9000/ , http://s3.internal")
    rules = Opened.by(Settings()).buckets
    rules.judge(replace(PLACE, endpoint="http://s3.internal"))
    assert rules.most_bytes == 50 << 20
    with pytest.raises(Invalid):
        rules.judge(replace(PLACE, endpoint="http://s3.external"))
