"""`Idempotency-Key`: which request this is, so that a repetition gets the answer of the first."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final, TypeVar
from uuid import UUID

from fastapi import Depends, Header, Request
from pydantic import BaseModel

from carrel.api.security import principal_of
from carrel.domain.access import Principal
from carrel.domain.errors import Invalid
from carrel.library.sources import Memo, StoredAnswer

Result = TypeVar("Result")

_FORM: Final = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Once:
    """Under which key the answer of this request is kept; without one it is not."""

    key: str | None
    principal: UUID | None
    place: bytes

    def memo(
        self, content: BaseModel | bytes, status: int, render: Callable[[Result], BaseModel]
    ) -> Memo[Result] | None:
        """`content` is what must be the same when the key comes again; `render` makes the body to store."""
        if self.key is None or self.principal is None:
            return None
        said = content if isinstance(content, bytes) else content.model_dump_json().encode()

        def stored(result: Result) -> StoredAnswer:
            return StoredAnswer(status, render(result).model_dump(mode="json"))

        return Memo(self.principal, self.key, sha256(self.place + b"\n" + said).digest(), stored)


async def once(
    request: Request,
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="1 to 255 visible ASCII characters. The same key with the same content gets the stored answer.",
            json_schema_extra={"minLength": 1, "maxLength": 255, "pattern": r"^[\x21-\x7e]+$"},
        ),
    ] = None,
) -> Once:
    """Raises Invalid `invalid_idempotency_key`."""
    if len(request.headers.getlist("idempotency-key")) > 1 or (key is not None and not _FORM.fullmatch(key)):
        raise Invalid(
            "Send one Idempotency-Key of 1 to 255 visible ASCII characters.",
            code="invalid_idempotency_key",
            field="Idempotency-Key",
        )
    place = f"{request.method} {request.url.path}?{request.url.query}".encode()  # the query may say for whom
    return Once(key, _asker(principal_of(request)), place)


def _asker(principal: Principal) -> UUID | None:
    """A person is the same in every session."""
    return principal.user if principal.is_person else principal.credential


IdempotencyKey = Annotated[Once, Depends(once)]
