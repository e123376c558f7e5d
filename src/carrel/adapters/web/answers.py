"""What an answer over HTTP says of itself, how far that is believed, and its content within a limit."""

import json
import re
import zlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx2

from carrel.domain.errors import Invalid, Refusal, Throttled, TooLarge, Unavailable, Unsupported

_DENIED: Final = frozenset({401, 402, 403, 407, 451})
_THROTTLED: Final = 429
_UNAVAILABLE: Final = 503
_PLAIN: Final = frozenset({"", "identity"})
_GZIP: Final = frozenset({"gzip", "x-gzip"})  # packed twice, one piece could become a million times as long
_GZIP_WINDOW: Final = 31
_ETAG: Final = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{1,400}"')
_DATE: Final = re.compile(r"[A-Za-z]{3}, \d{2} [A-Za-z]{3} \d{4} \d{2}:\d{2}:\d{2} GMT")
_CHARSET: Final = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_WAIT: Final = 10.0
_LONGEST_WAIT: Final = 86_400.0


def media_of(answer: httpx2.Response, accepts: frozenset[str] | None) -> tuple[str, str | None]:
    """Its media type, and the charset if it names one. Raises Unsupported, Invalid `answer_refused`."""
    header = answer.headers.get("content-type", "")
    media_type = header.partition(";")[0].strip().lower()
    if accepts is not None and media_type not in accepts:
        raise Unsupported(f"The other side sent {media_type[:60]!r}, which is not read here.")
    charset = _CHARSET.search(header)
    return media_type, charset[1].lower() if charset else None


async def content_of(answer: httpx2.Response, most: int) -> bytes:
    """Counted as it is unpacked, and no more of it unpacked than that: what is declared is a hint.

    Raises TooLarge, Invalid `answer_refused`, Unavailable `web_unavailable`.
    """
    packing = answer.headers.get("content-encoding", "").strip().lower()
    if packing not in _PLAIN | _GZIP:
        raise _unwanted("The other side packed its answer in another way than asked for.")
    content = _Counted(most)
    unpacker = zlib.decompressobj(_GZIP_WINDOW) if packing in _GZIP else None
    async for piece in answer.aiter_raw():
        content.add(_unpacked(unpacker, piece, content.room) if unpacker else piece)
    if unpacker and not unpacker.eof:
        raise Unavailable("The answer breaks off.", code="web_unavailable")
    return content.whole()


def refusal_of(answer: httpx2.Response) -> Refusal:
    """What a status says that gives no page."""
    status, wait = answer.status_code, _wait(answer.headers.get("retry-after", ""))
    if status == _THROTTLED or (status == _UNAVAILABLE and wait is not None):
        return Throttled("The other side asks to come back later.", code="web_throttled", wait=wait or _WAIT)
    if answer.is_server_error:
        return Unavailable(f"The other side answered {status}.", code="web_unavailable")
    if status in _DENIED:
        return Invalid(f"The other side does not let Carrel read this: it answered {status}.", code="page_denied")
    return _unwanted(f"The other side answered {status}.")


def packed_tag(answer: httpx2.Response) -> str | None:
    """ETag and Last-Modified as one text, of those that can be sent back as they are."""
    etag, date = answer.headers.get("etag", ""), answer.headers.get("last-modified", "")
    parts = [etag if _ETAG.fullmatch(etag) else "", date if _DATE.fullmatch(date) else ""]
    return json.dumps(parts) if any(parts) else None


def reminders(tag: str | None) -> dict[str, str]:
    """The headers that ask for a page only if it has another tag; none for a tag that was not packed here."""
    try:
        etag, date = json.loads(tag or "null")
    except (ValueError, TypeError):
        return {}
    headers = {}
    if isinstance(etag, str) and _ETAG.fullmatch(etag):
        headers["If-None-Match"] = etag
    if isinstance(date, str) and _DATE.fullmatch(date):
        headers["If-Modified-Since"] = date
    return headers


class _Counted:
    def __init__(self, most: int) -> None:
        self._most = most
        self._content = bytearray()

    @property
    def room(self) -> int:
        """One more than may come, so that too much is seen."""
        return self._most - len(self._content) + 1

    def add(self, piece: bytes) -> None:
        self._content += piece
        if len(self._content) > self._most:
            raise TooLarge(f"The answer has more than {self._most:,} bytes.")

    def whole(self) -> bytes:
        return bytes(self._content)


def _unpacked(unpacker: "zlib._Decompress", piece: bytes, room: int) -> bytes:
    if unpacker.eof:
        return b""  # whatever follows the end belongs to nothing
    try:
        return unpacker.decompress(piece, room)
    except zlib.error as error:
        raise _unwanted("The answer cannot be unpacked.") from error


def _wait(text: str) -> float | None:
    """Seconds, from either form of `Retry-After`."""
    if _SECONDS.fullmatch(text.strip()):
        return min(float(text), _LONGEST_WAIT)
    try:
        seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 1.0), _LONGEST_WAIT)


def _unwanted(detail: str) -> Invalid:
    return Invalid(detail, code="answer_refused")
