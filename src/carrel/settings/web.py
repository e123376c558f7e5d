"""Web sites that sources read: where they may be, and how often they are asked."""

from pydantic import Field, field_validator

from carrel.settings.group import Group, places, port_words, words


class Web(Group):
    allowed: str | None = Field(
        default=None, description="Names and networks at which web sources may be though they are not public."
    )
    ports: str = Field(default="80,443", description="Ports at which web sources may be, with commas between them.")
    pause: float = Field(
        default=0.5, ge=0, le=60, description="Seconds between two requests of one process to the same host."
    )

    @field_validator("allowed")
    @classmethod
    def _are_places(cls, value: str | None) -> str | None:
        return places(value)

    @field_validator("ports")
    @classmethod
    def _are_ports(cls, value: str) -> str:
        return port_words(value)

    @property
    def port_set(self) -> frozenset[int]:
        return frozenset(map(int, words(self.ports)))
