"""Sources that refresh themselves, over the wire: their places, their runs, and what was seen."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field

from carrel.api.schemas.types import Asked, Identifier, Listing, Paging, whole_or_none
from carrel.domain.origins import Item, ItemStatus, Reason, Run, RunState
from carrel.domain.places import LONGEST_ADDRESS, LONGEST_PATH, MOST_ADDRESSES

Address = Annotated[str, Field(max_length=LONGEST_ADDRESS)]
Whole = Annotated[int | None, BeforeValidator(whole_or_none)]


class PlaceFields(Asked):
    """`url` and `sitemap` take `urls` and `pages`, `url` also `depth`; `folder` takes `path`; `s3` takes the others."""

    urls: Annotated[
        list[Address] | None, Field(max_length=MOST_ADDRESSES, description="Pages to begin with, or sitemaps.")
    ] = None
    depth: Annotated[Whole, Field(description="How many links away from them, 0 to 5; 0 if absent.")] = None
    pages: Annotated[Whole, Field(description="How many pages are read at most, 1 to 10,000; 1,000 if absent.")] = None
    bucket: Annotated[str | None, Field(max_length=63)] = None
    prefix: Annotated[str | None, Field(max_length=LONGEST_PATH)] = None
    region: Annotated[str | None, Field(max_length=40)] = None
    endpoint: Annotated[Address | None, Field(description="Another object store than Amazon's.")] = None
    credential_id: Annotated[
        Identifier | None, Field(description="Without one the bucket is public; to name one needs `manage`.")
    ] = None
    queue: Annotated[Address | None, Field(description="The SQS queue that hears of the bucket's objects.")] = None
    path: Annotated[str | None, Field(max_length=LONGEST_PATH)] = None


class PlaceView(BaseModel):
    """The fields that its kind has; the others are null. Shown to those who may change the source, and no others."""

    urls: list[str] | None = None
    depth: int | None = None
    pages: int | None = None
    bucket: str | None = None
    prefix: str | None = None
    region: str | None = None
    endpoint: str | None = None
    credential_id: UUID | None = None
    queue: str | None = None
    path: str | None = None


class ReasonView(BaseModel):
    code: str
    detail: str

    @classmethod
    def of(cls, reason: Reason | None) -> "ReasonView | None":
        return None if reason is None else cls(code=reason.code, detail=reason.detail)


class RunView(BaseModel):
    """`partial`: some things could not be had, or it was stopped. `failed`: the place could not be walked whole."""

    id: UUID
    state: RunState
    started_at: datetime
    ended_at: datetime | None
    found: int
    created: int
    replaced: int
    unchanged: int
    deleted: int
    failed: int
    problem: ReasonView | None

    @classmethod
    def of(cls, run: Run) -> "RunView":
        return cls(
            id=run.id,
            state=run.state,
            started_at=run.started_at,
            ended_at=run.ended_at,
            found=run.counts.found,
            created=run.counts.created,
            replaced=run.counts.replaced,
            unchanged=run.counts.unchanged,
            deleted=run.counts.deleted,
            failed=run.counts.failed,
            problem=ReasonView.of(run.problem),
        )


class RunList(Listing[RunView]):
    pass


class ItemsQuery(Paging):
    status: Annotated[ItemStatus | None, Field(description="Only those that could not be had, or only the others.")] = (
        None
    )


class ItemView(BaseModel):
    """A thing that was seen at the source's place. `document_id` is null where its name cannot be a key."""

    key: str
    status: ItemStatus
    document_id: UUID | None
    error: ReasonView | None
    changed_at: datetime

    @classmethod
    def of(cls, item: Item) -> "ItemView":
        return cls(
            key=item.key,
            status=ItemStatus.OK if item.failure is None else ItemStatus.FAILED,
            document_id=item.document,
            error=ReasonView.of(item.failure),
            changed_at=item.changed_at,
        )


class ItemList(Listing[ItemView]):
    pass


class RefreshWish(Asked):
    accept_empty: Annotated[
        bool, Field(strict=True, description="In this run nothing at all may be there, and all may go.")
    ] = False
