"""What the operator has opened for sources that refresh themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from carrel.domain.buckets import S3Rules
from carrel.ingest.upload import MOST_BYTES
from carrel.settings import Settings
from carrel.settings.web import Web


@dataclass(frozen=True, slots=True)
class Opened:
    """What the operator has opened: folders by the tenant's slug, and for all object stores and places in the web."""

    folders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: S3Rules = field(default_factory=S3Rules)
    web: Web = field(default_factory=Web)
    walks: int = 4
    pending: int = 500

    @classmethod
    def by(cls, settings: Settings) -> "Opened":
        rules = settings.origins
        buckets = S3Rules(rules.endpoint_set, MOST_BYTES)
        return cls(rules.folder_map, buckets, settings.web, rules.walks, rules.pending)

    def folders_of(self, slug: str) -> tuple[str, ...]:
        return self.folders.get(slug, ())
