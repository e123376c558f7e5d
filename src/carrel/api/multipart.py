"""A multipart body as its parts, one after the other, straight from the wire: nothing is kept in memory or spooled."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeAlias
from urllib.parse import unquote_to_bytes

from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    content_disposition_unquote,
    parse_options_header,
)

from carrel.domain.errors import Invalid, TooLarge, Unsupported

_MOST_HEADER: Final = 8 * 1024
_EXTENDED: Final = re.compile(r"filename\*\s*=\s*utf-8'[^']*'([^;\s]+)", re.IGNORECASE)
# The parser reads headers as text; latin-1 keeps their bytes, which we then read as UTF-8 ourselves.
_CARRIER: Final = "latin-1"

_LONGEST_BOUNDARY: Final = 200

_Event: TypeAlias = Any  # a MultipartSegment begins a part, bytes are its content, None ends it


class BrokenBodyError(Exception):
    """The body as a whole cannot be read on. It is no refusal itself, lest it be taken for one of a single file."""

    def __init__(self, refusal: Invalid) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


@dataclass(slots=True)
class Part:
    """One part of the body. Iterating gives its bytes, once; the next part begins after the last of them."""

    name: str
    file_name: str
    media_type: str | None
    _events: AsyncIterator[_Event] = field(repr=False)
    _ended: bool = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece: bytes | None = None if self._ended else await anext(self._events)
        if piece is None:
            self._ended = True
            raise StopAsyncIteration
        return piece

    async def drain(self) -> None:
        async for _ in self:
            pass


async def parts(body: AsyncIterator[bytes], content_type: str | None, *, most_bytes: int) -> AsyncIterator[Part]:
    """Raises Unsupported for another kind of body, Invalid `malformed_multipart`; each part BrokenBodyError, too."""
    parser = PushMultipartParser(_boundary(content_type), max_header_size=_MOST_HEADER, header_charset=_CARRIER)
    events = _events(parser, _counted(body, most_bytes))
    async for event in events:
        part = _part(event, events)
        yield part
        await part.drain()


def _boundary(content_type: str | None) -> str:
    kind, options = parse_options_header(content_type or "")
    if kind != "multipart/form-data":
        raise Unsupported("Send the files as multipart/form-data.")
    boundary = options.get("boundary", "")
    if not 0 < len(boundary) <= _LONGEST_BOUNDARY or not boundary.isascii() or not boundary.isprintable():
        raise _malformed()
    return str(boundary)


async def _counted(body: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    count = 0
    async for piece in body:
        count += len(piece)
        if count > most:
            raise BrokenBodyError(TooLarge(f"One request has at most {most:,} bytes."))
        if piece:
            yield piece


async def _events(parser: PushMultipartParser, body: AsyncIterator[bytes]) -> AsyncIterator[_Event]:
    try:
        async for piece in body:
            for event in parser.parse(piece):
                yield event
        parser.close()
    except MultipartError as error:
        raise BrokenBodyError(_malformed()) from error


def _part(segment: MultipartSegment, events: AsyncIterator[_Event]) -> Part:
    disposition = segment.header("Content-Disposition") or ""
    _, options = parse_options_header(disposition, unquote=_unquoted)
    extended = _EXTENDED.search(disposition)
    name = unquote_to_bytes(extended[1]) if extended else options.get("filename", "").encode(_CARRIER)
    return Part(
        name=options.get("name", ""),
        file_name=name.decode("utf-8", "surrogateescape"),
        media_type=segment.header("Content-Type"),
        _events=events,
    )


def _unquoted(value: str, _is_file_name: bool = False) -> str:  # noqa: FBT001, FBT002 - the parser's own signature
    """The name as it was sent: an absolute path stays one, so that it is refused and not shortened."""
    return str(content_disposition_unquote(value))


def _malformed() -> Invalid:
    return Invalid("The body is not well-formed multipart/form-data.", code="malformed_multipart", field="files")
