"""Files of one request: staged part by part, and made documents only when the whole request was well-formed."""

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Final, assert_never

from carrel.api.multipart import BrokenBodyError, Part, parts
from carrel.domain.errors import Invalid, TooLarge
from carrel.domain.keys import document_key
from carrel.domain.library import Outcome
from carrel.ingest.upload import MOST_BYTES, SMALL, Arrival, Brought, Delivery, Dock, Held, Uploads

MOST_FILES: Final = 100
MOST_IN_ALL: Final = 10 * MOST_BYTES
_MOST_HELD: Final = 4 * 1024 * 1024  # bytes of one request that stay in memory until it is known what is new
_FRAMING: Final = 1024 * 1024  # boundaries and headers of the parts do not count as files


async def receive(uploads: Uploads, dock: Dock, body: AsyncIterator[bytes], content_type: str | None) -> list[Brought]:
    """Each file as it was staged or held, or as it was rejected, in order; whoever takes them commits or drops them.

    Raises Unsupported, TooLarge, Invalid `malformed_multipart`, `no_files`, `too_many_files`, `unknown_field`: then no
    file of the request was taken.
    """
    arrivals: list[Brought] = []
    try:
        async for part in parts(body, content_type, most_bytes=MOST_IN_ALL + _FRAMING):
            _judge(part, len(arrivals))
            arrivals.append(await _staged(uploads, dock, part, arrivals))
        if not arrivals:
            raise Invalid("Send 1 to 100 parts named `files`.", code="no_files", field="files")
    except BaseException as error:
        await uploads.drop(arrival for arrival in arrivals if isinstance(arrival, Arrival))
        if isinstance(error, BrokenBodyError):
            raise error.refusal from error
        raise
    return arrivals


def fingerprint(arrivals: list[Brought]) -> bytes:
    """What makes two uploads the same: the file names and their bytes, in order."""
    return sha256("\n".join(map(_line, arrivals)).encode("utf-8", "surrogatepass")).digest()


def _line(brought: Brought) -> str:
    match brought:
        case Arrival():
            return f"{brought.key}\0{brought.blob.sha256.hex()}"
        case Held():
            return f"{brought.key}\0{brought.sha256.hex()}"
        case Delivery():
            return f"{brought.key}\0{brought.problem.code if brought.problem else ''}"
        case _:
            assert_never(brought)


def _judge(part: Part, before: int) -> None:
    if part.name != "files":
        raise Invalid("Every part is named `files`.", code="unknown_field", field=part.name[:200] or "files")
    if before == MOST_FILES:
        raise Invalid(f"At most {MOST_FILES} files in one request.", code="too_many_files", field="files")


async def _staged(uploads: Uploads, dock: Dock, part: Part, before: list[Brought]) -> Brought:
    try:
        key = document_key(part.file_name)
        if any(arrival.key == key for arrival in before):
            raise Invalid("This key came before in the same request.", code="duplicate_key", field="files")
        room = min(SMALL, _MOST_HELD - sum(len(one.content) for one in before if isinstance(one, Held)))
        return await uploads.take(dock, key, part, declared=part.media_type, room=room)
    except TooLarge:
        problem: Invalid = TooLarge(f"A file has at most {MOST_BYTES:,} bytes.")
    except Invalid as refusal:
        problem = refusal
    return Delivery(_shown(part.file_name), Outcome.REJECTED, problem=problem)


def _shown(name: str) -> str:
    """A name that is not UTF-8 can be shown only with marks in place of what cannot be read."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
