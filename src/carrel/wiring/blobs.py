"""Where uploaded bytes are kept, and what the doctor says of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, assert_never

from carrel.adapters.blobs.local import LocalBlobs
from carrel.domain.errors import Unavailable
from carrel.domain.secret import Secret
from carrel.operate.doctor import Mark, Remark, folder_remarks
from carrel.ports.blobs import Blobs
from carrel.settings import LocalBlobs as Folder
from carrel.settings import S3Blobs as Bucket
from carrel.settings import Settings

if TYPE_CHECKING:
    from carrel.adapters.blobs.s3 import S3Blobs


def blobs(settings: Settings) -> Blobs:
    match settings.blobs:
        case Folder() as folder:
            return LocalBlobs(folder.path or settings.folder / "blobs")
        case Bucket() as bucket:
            return _in_bucket(bucket)
        case _:
            assert_never(settings.blobs)


async def remarks(settings: Settings) -> Sequence[Remark]:
    """A bucket is tried in earnest: an object is written, looked at and removed."""
    chosen = settings.blobs
    if isinstance(chosen, Folder):
        return list(folder_remarks(chosen.path or settings.folder / "blobs"))
    try:
        await _in_bucket(chosen).clock()
    except Unavailable as refusal:
        return [Remark(Mark.WRONG, "blobs", f"{refusal.detail} See CARREL_BLOBS__….")]
    where = chosen.endpoint or "Amazon S3"
    return [Remark(Mark.GOOD, "blobs", f"Uploaded bytes are kept in the bucket {chosen.bucket} of {where}.")]


def _in_bucket(bucket: Bucket) -> "S3Blobs":
    from carrel.adapters.blobs.s3 import S3Blobs, S3Place

    secret = bucket.secret_access_key
    place = S3Place(
        bucket.bucket,
        bucket.prefix or "",
        bucket.endpoint,
        bucket.region,
        bucket.access_key_id,
        None if secret is None else Secret(secret.get_secret_value()),
        bucket.allow_http,
    )
    return S3Blobs(place)
