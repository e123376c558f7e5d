"""Documents as resources: listed for whoever may see them, read by whoever may search them."""

import re
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from fastapi import Request

from carrel.api.mcp.results import DOCUMENTS, uri_of
from carrel.api.security import Requires, admitted
from carrel.api.state import application_of
from carrel.domain.errors import NotFound
from carrel.domain.ids import DocumentId
from carrel.domain.library import Document
from carrel.domain.rights import Permission
from carrel.library.documents import Reading, Shelf

TEMPLATE: Final = f"{DOCUMENTS}{{document_id}}"
_LISTED: Final = Requires(Permission.METADATA)
_READ: Final = Requires(Permission.SEARCH)
_URI: Final = re.compile(
    rf"{re.escape(DOCUMENTS)}([0-9a-fA-F]{{8}}(?:-[0-9a-fA-F]{{4}}){{3}}-[0-9a-fA-F]{{12}})", re.ASCII
)
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Listed:
    documents: list[Document]
    next_cursor: str | None


async def listed(request: Request, cursor: str | None) -> Listed:
    """Newest first; what cannot be read yet is left out, so a page may be short, and the last one has no cursor.

    Raises Denied, Conflict `tenant_ambiguous`, Invalid `invalid_cursor`.
    """
    async with admitted(request, _LISTED) as principal:
        documents = application_of(request).documents
        page = await documents.listed(principal, Shelf(), limit=_PAGE, cursor=cursor)
    return Listed([one for one in page.items if one.live_version is not None], page.next_cursor)


async def read(request: Request, uri: str) -> Reading:
    """Raises NotFound for what is foreign, absent or no document's address; Denied, Throttled, Conflict `no_text`."""
    async with admitted(request, _READ) as principal:
        found = _URI.fullmatch(uri)
        if found is None:
            raise NotFound
        return await application_of(request).documents.read(principal, DocumentId(UUID(found[1])))


def address(document: Document) -> str:
    return uri_of(document.id)
