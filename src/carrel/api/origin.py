"""From where a request comes, and by which program."""

from typing import Annotated, Final

from fastapi import Depends, Request

from carrel.api.state import application_of

_LONGEST: Final = 200


async def _origin(request: Request) -> str:
    peer = request.client.host if request.client else None
    return application_of(request).entrance.origins.of(peer, request.headers.getlist("x-forwarded-for"))


async def _client(request: Request) -> str:
    """What the program says of itself, for the list of one's sessions."""
    said = request.headers.get("user-agent", "")
    return "".join(character for character in said if character.isprintable())[:_LONGEST]


Origin = Annotated[str, Depends(_origin)]
Client = Annotated[str, Depends(_client)]
