"""A real server on loopback that speaks S3, SQS, SNS and IAM (moto's), which a test may stop and start again."""

import json
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3  # type: ignore[import-untyped]
import httpx2

from carrel.adapters.blobs.s3 import S3Blobs, S3Place
from carrel.domain.secret import Secret

KEY, SECRET, REGION = "a-key-for-tests", "a-secret-for-tests", "us-east-1"


@dataclass
class S3Server:
    """Keeps everything in memory. `start` returns when it listens."""

    port: int
    _process: "subprocess.Popen[bytes] | None" = None
    _clients: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not self._listens():
            assert self._process.poll() is None, "The server has ended."
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def client(self, service: str) -> Any:
        """Amazon's own client, to look behind the scenes."""
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service, endpoint_url=self.url, region_name=REGION, aws_access_key_id=KEY, aws_secret_access_key=SECRET
            )
        return self._clients[service]

    def bucket(self, *, versioned: bool = False) -> str:
        name, s3 = f"bucket-{uuid.uuid4().hex}", self.client("s3")
        s3.create_bucket(Bucket=name)
        if versioned:
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def user(self, *actions: str) -> tuple[str, str]:
        """The key of a new user who may do that, anywhere: its id and its secret."""
        iam, name = self.client("iam"), f"user-{uuid.uuid4().hex}"
        allowed = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        iam.create_user(UserName=name)
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=policy)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return made["AccessKeyId"], made["SecretAccessKey"]

    @contextmanager
    def strict(self) -> Iterator[None]:
        """Rights are checked: whoever has no key of its IAM is refused."""
        self._allow_unchecked(0)
        try:
            yield
        finally:
            self._allow_unchecked("inf")

    def _allow_unchecked(self, requests: float | str) -> None:
        httpx2.post(f"{self.url}/moto-api/reset-auth", content=str(requests)).raise_for_status()

    def _listens(self) -> bool:
        with socket.socket() as attempt:
            return attempt.connect_ex(("127.0.0.1", self.port)) == 0


def names_in(server: S3Server, bucket: str) -> list[str]:
    """Every object of the bucket, and every upload that was not brought to an end."""
    s3 = server.client("s3")
    objects = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    return objects + [one["Key"] for one in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


def s3_blobs(server: S3Server, bucket: str, *, prefix: str = "") -> S3Blobs:
    return S3Blobs(S3Place(bucket, prefix, server.url, REGION, KEY, Secret(SECRET), allow_http=True))


@contextmanager
def an_s3() -> Iterator[S3Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = S3Server(int(free.getsockname()[1]))
    server.start()
    try:
        yield server
    finally:
        server.stop()
