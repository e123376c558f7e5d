"""Files of one request: staged part by part, and made documents only when the whole request was well-formed."""

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Final

from carrel.api.multipart import BrokenBodyError, Part, parts
from carrel.domain.errors import Invalid, TooLarge
from carrel.domain.keys import document_key
from carrel.domain.library import Outcome
from carrel.ingest.upload import MOST_BYTES, Arrival, Delivery, Dock, Uploads

MOST_FILES: Final = 100
MOST_IN_ALL: Final = 10 * MOST_BYTES
_FRAMING: Final = 1024 * 1024  # boundaries and headers of the parts do not count as files


async def receive(
    uploads: Uploads, dock: Dock, body: AsyncIterator[bytes], content_type: str | None
) -> list[Arrival | Delivery]:
    """Each file as it was staged, or as it was rejected, in order; whoever takes them commits or drops them.

    Raises Unsupported, TooLarge, Invalid `malformed_multipart`, `no_files`, `too_many_files`, `unknown_field`: then no
    file of the request was taken.
    """
    arrivals: list[Arrival | Delivery] = []
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


def fingerprint(arrivals: list[Arrival | Delivery]) -> bytes:
    """What makes two uploads the same: the file names and their bytes, in order."""
    lines = (
        f"{arrival.key}\0{arrival.blob.sha256.hex()}" if isinstance(arrival, Arrival) else _rejected(arrival)
        for arrival in arrivals
    )
    return sha256("\n".join(lines).encode("utf-8", "surrogatepass")).digest()


def _judge(part: Part, before: int) -> None:
    if part.name != "files":
        raise Invalid("Every part is named `files`.", code="unknown_field", field=part.name[:200] or "files")
    if before == MOST_FILES:
        raise Invalid(f"At most {MOST_FILES} files in one request.", code="too_many_files", field="files")


async def _staged(uploads: Uploads, dock: Dock, part: Part, before: list[Arrival | Delivery]) -> Arrival | Delivery:
    try:
        key = document_key(part.file_name)
        if any(arrival.key == key for arrival in before):
            raise Invalid("This key came before in the same request.", code="duplicate_key", field="files")
        return await uploads.stage(dock, key, part, declared=part.media_type)
    except TooLarge:
        problem: Invalid = TooLarge(f"A file has at most {MOST_BYTES:,} bytes.")
    except Invalid as refusal:
        problem = refusal
    return Delivery(_shown(part.file_name), Outcome.REJECTED, problem=problem)


def _shown(name: str) -> str:
    """A name that is not UTF-8 can be shown only with marks in place of what cannot be read."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _rejected(delivery: Delivery) -> str:
    return f"{delivery.key}\0{delivery.problem.code if delivery.problem else ''}"
