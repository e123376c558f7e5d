"""Archives of organisations, and chats, as files: written beside and then renamed, so a name stands for a whole one."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from carrel.cli import find
from carrel.cli.hired import hired
from carrel.domain.access import console

if TYPE_CHECKING:
    from carrel.tenancy.imports import Imported
    from carrel.wiring import Office


async def written(office: "Office", slug: str, to: Path) -> int:
    """How many bytes. Nobody else may read the file. Raises Absent, Unavailable; then nothing is left of it."""
    tenant = await find.tenant(office, slug)
    exported = await office.exports.begin(console(tenant.id), tenant.id)
    return await kept(exported.content, to)


async def kept(content: AsyncIterator[bytes], to: Path) -> int:
    """How many bytes. Nobody else may read the file. Raises what the content raises; then nothing is left of it."""
    draft = to.with_name(f"{to.name}.part")
    try:
        size = await _write(content, draft)
        draft.rename(to)
    except BaseException:
        with suppress(FileNotFoundError):
            draft.unlink()
        raise
    return size


async def _write(content: AsyncIterator[bytes], draft: Path) -> int:
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        async for piece in content:
            await asyncio.to_thread(file.write, piece)
        return file.tell()


async def brought(office: "Office", file: Path, slug: str | None) -> "Imported":
    """If no worker lives, one works for as long as this takes. Raises Invalid for an archive that is not in order."""
    archive = await office.imports.judge(file)
    async with hired(office.desk) as worker:
        worker.need()
        return await office.imports.run(console(None), archive, slug=slug)
