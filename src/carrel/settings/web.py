"""Web sites that sources read: where they may be, and how often they are asked."""

from pydantic import Field

from carrel.settings.group import WayOut


class Web(WayOut):
    allowed: str | None = Field(
        default=None, description="Names and networks at which web sources may be though they are not public."
    )
    ports: str = Field(default="80,443", description="Ports at which web sources may be, with commas between them.")
    pause: float = Field(
        default=0.5, ge=0, le=60, description="Seconds between two requests of one process to the same host."
    )
