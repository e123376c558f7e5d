"""The key of a tenant's bucket: it opens the place that it is kept for, and is shown to no other."""

from carrel.domain.access import TenantGrant
from carrel.domain.buckets import same_endpoint
from carrel.domain.errors import Conflict
from carrel.domain.origins import Bucket
from carrel.domain.providers import S3
from carrel.domain.secret import Secret
from carrel.tenancy.credentials import Credentials


class BucketKeys:
    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def of(self, grant: TenantGrant, place: Bucket) -> Secret | None:
        """`ACCESS_KEY_ID:SECRET_ACCESS_KEY`; None for a place that names no credential.

        Raises NotFound, Conflict `unusable_credential` for another provider's or another endpoint's, Conflict
        `secret_unreadable`, Unavailable.
        """
        if place.credential is None:
            return None
        access = await self._credentials.access(grant, place.credential)
        if access.provider != S3 or not same_endpoint(access.base_url, place.endpoint):
            raise Conflict("The credential is not one of s3 for the bucket's endpoint.", code="unusable_credential")
        return access.secret
