"""Lists come in pages; a person at the terminal wants the whole."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from carrel.library.sources import Page

T = TypeVar("T")


async def everything(turn: Callable[[str | None], Awaitable["Page[T]"]]) -> list[T]:
    """All items of all pages, in order; `turn(cursor)` gives one page."""
    page = await turn(None)
    items = list(page.items)
    while page.next_cursor is not None:
        page = await turn(page.next_cursor)
        items.extend(page.items)
    return items
