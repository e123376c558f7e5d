"""What a source that refreshes itself must know of the place that its documents come from."""

from dataclasses import dataclass
from typing import TypeAlias

from carrel.domain.ids import CredentialId


@dataclass(frozen=True, slots=True)
class Site:
    """Pages from `urls` on: those alone for `depth` 0, else what they link to on the same host, so many steps away.

    With `sitemap` the addresses are sitemaps, and the pages are those that they name. `pages` at most are read.
    """

    urls: tuple[str, ...]
    sitemap: bool = False
    depth: int = 0
    pages: int = 1_000


@dataclass(frozen=True, slots=True)
class Bucket:
    """The objects of an S3 bucket below `prefix`. Without an endpoint it is Amazon's of the region.

    Endpoints are the operator's to allow. `credential` names a secret of the tenant; without one the bucket is public.
    `queue` is the SQS queue that hears of its objects.
    """

    bucket: str
    prefix: str = ""
    region: str = "us-east-1"
    endpoint: str | None = None
    credential: CredentialId | None = None
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class Folder:
    """The files below a folder of this machine, which the operator has opened for the tenant."""

    path: str


Place: TypeAlias = Site | Bucket | Folder
