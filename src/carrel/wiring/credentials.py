"""The secrets of tenants: for models at providers, and for their buckets."""

from carrel.tenancy.buckets import BucketKeys
from carrel.tenancy.credentials import Credentials
from carrel.tenancy.vault import Vault
from carrel.wiring.database import Base


def credentials(base: Base) -> Credentials:
    return Credentials(base.database, Vault(base.secrets.master_keys), pepper=base.secrets.pepper)


def bucket_keys(base: Base) -> BucketKeys:
    return BucketKeys(credentials(base))
