"""Files: brought as multipart, listed, handed out, deleted."""

from collections.abc import AsyncIterator
from hashlib import sha256
from types import MappingProxyType
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BeforeValidator, Field

from carrel.api.attachment import attachment
from carrel.api.idempotency import IdempotencyKey, Once
from carrel.api.limits import warn
from carrel.api.multipart import BrokenBodyError, Part, parts
from carrel.api.openai.lists import Identified, Listed, Steps, seconds
from carrel.api.schemas.types import digits
from carrel.api.security import GuardedRoute, MayIngest, MayRead, MaySearch
from carrel.api.state import App
from carrel.domain.errors import Invalid, TooLarge
from carrel.domain.files import File
from carrel.domain.ids import FileId
from carrel.domain.keys import file_name
from carrel.domain.library import Blob
from carrel.library.files import MOST_BYTES, Counter, Files, NewFile
from carrel.library.sources import Memo

router = APIRouter(prefix="/openai/v1/files", tags=["openai"], route_class=GuardedRoute)

Purpose = Literal["assistants", "batch", "evals", "fine-tune", "user_data", "vision"]
_PURPOSES: Final = frozenset({"assistants", "batch", "evals", "fine-tune", "user_data", "vision"})
_FRAMING: Final = 64 * 1024  # boundaries, headers and the other fields
_LONGEST_FIELD: Final = 1024
_FORM: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "At most 50 MB, with a name."},
                        "purpose": {"enum": sorted(_PURPOSES), "description": "Kept, and told again."},
                    },
                }
            }
        },
    }
}
_BYTES: Final = MappingProxyType({"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}})


class FileView(Identified):
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed", "error"]
    status_details: Annotated[str | None, Field(description="What is wrong with its bytes: delete it, bring it again.")]
    expires_at: None = None

    @classmethod
    def of(cls, file: File) -> "FileView":
        return cls(
            id=str(file.id),
            bytes=file.size,
            created_at=seconds(file.created_at),
            filename=file.name,
            purpose=file.purpose,
            status="error" if file.fault else "processed",
            status_details=file.fault,
        )


class FileList(Listed[FileView]):
    pass


class FileDeleted(Identified):
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


class FilesQuery(Steps):
    limit: Annotated[int, Field(ge=1, le=10_000), BeforeValidator(digits)] = 10_000
    purpose: Annotated[str | None, Field(min_length=1, max_length=64)] = None


@router.post("", openapi_extra=_FORM, responses={413: {}, 415: {}, 422: {}})
async def openai_create_file(principal: MayIngest, app: App, request: Request, once: IdempotencyKey) -> FileView:
    """Bring a file. It is no document before it is attached to a vector store."""
    async with app.files.counter(principal, expects=_expected(request)) as counter:
        warn(request, counter.hold.warnings)
        form = _Form(app.files, counter)
        new = await form.read(request.stream(), request.headers.get("content-type"))
        return FileView.of(await app.files.keep(counter, new, memo=_memo(once, new)))


@router.get("")
async def openai_list_files(principal: MayRead, app: App, query: Annotated[FilesQuery, Query()]) -> FileList:
    """The files that the credential has brought, newest first."""
    found = await app.files.walk(principal, query.step(), purpose=query.purpose)
    data = [FileView.of(file) for file in found.items]
    return FileList.page(data, has_more=found.has_more)


@router.get("/{file_id}")
async def openai_get_file(principal: MayRead, app: App, file_id: UUID) -> FileView:
    """One file."""
    return FileView.of(await app.files.get(principal, FileId(file_id)))


@router.get("/{file_id}/content", response_class=StreamingResponse, responses={200: dict(_BYTES)})
async def openai_get_file_content(principal: MaySearch, app: App, file_id: UUID) -> StreamingResponse:
    """The bytes as they were brought, as an attachment."""
    download = await app.files.download(principal, FileId(file_id))
    name = file_name(download.key)
    return await attachment(download.content, name, "application/octet-stream", size=download.size)


@router.delete("/{file_id}")
async def openai_delete_file(principal: MayIngest, app: App, file_id: UUID) -> FileDeleted:
    """Delete a file, and forget every document that was made of it."""
    await app.files.delete(principal, FileId(file_id))
    return FileDeleted(id=str(file_id))


class _Form:
    """The two fields of a file's form, in whichever order they come; the bytes go straight to where they are kept."""

    def __init__(self, files: Files, counter: Counter) -> None:
        self._files = files
        self._counter = counter
        self._purpose: str | None = None
        self._file: tuple[Part, Blob] | None = None

    async def read(self, body: AsyncIterator[bytes], content_type: str | None) -> NewFile:
        """Raises Invalid, TooLarge, Unsupported: then nothing is kept."""
        try:
            async for part in parts(body, content_type, most_bytes=MOST_BYTES + _FRAMING):
                await self._take(part)
            return self._whole()
        except BaseException as error:
            if self._file is not None:
                await self._files.drop(self._file[1])
            if isinstance(error, BrokenBodyError):
                raise error.refusal from error
            raise

    async def _take(self, part: Part) -> None:
        if part.name == "file" and self._file is None:
            try:
                self._file = part, await self._files.stage(self._counter, part)
            except TooLarge as error:
                raise TooLarge(f"A file has at most {MOST_BYTES:,} bytes.", field="file") from error
        elif part.name == "purpose" and self._purpose is None:
            self._purpose = await _text(part)
        else:
            raise Invalid(
                "Send `file` and `purpose`, each once.", code="unknown_field", field=part.name[:200] or "file"
            )

    def _whole(self) -> NewFile:
        if self._purpose is None:
            raise Invalid("Say the file's purpose.", code="missing", field="purpose")
        if self._purpose not in _PURPOSES:
            raise Invalid(f"A purpose is {', '.join(sorted(_PURPOSES))}.", code="invalid_choice", field="purpose")
        if self._file is None:
            raise Invalid("Send one part named `file`.", code="no_files", field="file")
        part, blob = self._file
        return NewFile(part.file_name, self._purpose, part.media_type, blob)


async def _text(part: Part) -> str:
    said = bytearray()
    async for piece in part:
        said += piece
        if len(said) > _LONGEST_FIELD:
            raise Invalid("This is too long.", code="too_long", field=part.name)
    return said.decode("utf-8", "replace")


def _memo(once: Once, new: NewFile) -> Memo[File] | None:
    said = f"{new.name}\0{new.purpose}\0{new.blob.sha256.hex()}".encode("utf-8", "surrogatepass")
    return once.memo(sha256(said).digest(), 200, FileView.of)


def _expected(request: Request) -> int | None:
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else None
