"""Settings of sources that refresh themselves."""

from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from carrel.settings.group import Group, endpoint, words

_FOLDERS: Final = TypeAdapter(dict[str, list[Annotated[str, Field(pattern=r"^/")]]])


class OriginRules(Group):
    """What tenants may name as the places of their documents, and how much is walked at a time."""

    folders: str | None = Field(
        default=None,
        description="Folders that are opened, in JSON: by the organisation's slug, a list of whole paths.",
    )
    s3_endpoints: str | None = Field(
        default=None,
        description="Object stores beside Amazon's, and their queues, as in https://s3.example.org, with commas.",
    )
    walks: int = Field(default=4, ge=1, le=64, description="Sources that one worker walks at the same time.")
    pending: int = Field(
        default=500, ge=1, le=100_000, description="Waiting documents of an organisation at which its walks wait."
    )

    @field_validator("folders")
    @classmethod
    def _are_folders(cls, value: str | None) -> str | None:
        try:
            _FOLDERS.validate_json(value or "{}")
        except ValidationError as error:
            raise ValueError('write JSON as {"forgecraft": ["/srv/forgecraft"]}, with whole paths') from error
        return value

    @field_validator("s3_endpoints")
    @classmethod
    def _are_origins(cls, value: str | None) -> str | None:
        for word in words(value or ""):
            if urlsplit(endpoint(word)).path:
                raise ValueError("write an address without a path, as in https://s3.example.org")
        return value

    @property
    def folder_map(self) -> dict[str, tuple[str, ...]]:
        found = _FOLDERS.validate_json(self.folders or "{}")
        return {slug: tuple(paths) for slug, paths in found.items()}

    @property
    def endpoint_set(self) -> frozenset[str]:
        return frozenset(endpoint(word).lower() for word in words(self.s3_endpoints or ""))
