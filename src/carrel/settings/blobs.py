"""Where uploaded bytes are kept."""

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from carrel.settings.group import Group, endpoint

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)


class LocalBlobs(Group):
    """Uploaded bytes in a folder."""

    kind: Literal["local"] = "local"
    path: Path | None = Field(default=None, description="The folder; empty means `blobs` in the home folder.")
    scrub_days: int = Field(default=30, ge=1, le=3650, description="Days in which everything is read again once.")


class S3Blobs(Group):
    """Uploaded bytes in an S3 bucket."""

    kind: Literal["s3"] = "s3"
    bucket: str = Field(description="The bucket.")
    prefix: str | None = Field(default=None, max_length=500, description="What every object's name begins with.")
    endpoint: str | None = Field(default=None, description="Where it is; empty means Amazon's own address.")
    region: str | None = Field(default=None, description="Its region; empty means the machine's own configuration.")
    access_key_id: str | None = Field(default=None, description="The key's id; empty means the machine's own identity.")
    secret_access_key: SecretStr | None = Field(default=None, description="The key's secret.")
    allow_http: bool = Field(default=False, description="Allow an endpoint without TLS.")
    scrub_days: int = Field(default=30, ge=1, le=3650, description="Days in which everything is read again once.")

    @field_validator("bucket")
    @classmethod
    def _is_a_bucket(cls, value: str) -> str:
        if not _BUCKET.fullmatch(value):
            raise ValueError("write a bucket's name: 3 to 63 of a-z, 0-9, '.' and '-'")
        return value

    @field_validator("prefix")
    @classmethod
    def _is_a_prefix(cls, value: str | None) -> str | None:
        if value and any(part in {"", ".", ".."} for part in value.strip("/").split("/")):
            raise ValueError("write a path without empty parts, '.' and '..'")
        return value

    @field_validator("endpoint")
    @classmethod
    def _is_an_endpoint(cls, value: str | None) -> str | None:
        return value if value is None else endpoint(value)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("give access_key_id and secret_access_key, or neither")
        if self.endpoint and self.endpoint.startswith("http://") and not self.allow_http:
            raise ValueError("an endpoint without TLS needs allow_http")
        return self
