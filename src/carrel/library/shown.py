"""What is shown of a source that refreshes itself: from where, and why not, to those alone who may change it.

A path, a prefix or a query tells more of an organisation's insides than a reader of its documents needs, and may hold a
secret; so may a sentence about what went wrong there.
"""

from dataclasses import replace
from typing import Final

from carrel.domain.access import Principal, can
from carrel.domain.library import Source
from carrel.domain.origins import Item, Reason, Run
from carrel.domain.rights import Permission

_WITHHELD: Final = "Whoever may change the source is told more."


def shown_source(principal: Principal, source: Source) -> Source:
    """Without its place, unless the principal may change it."""
    if _may_change(principal):
        return source
    last = source.last_run and shown_run(principal, source.last_run)
    return replace(source, place=None, last_run=last)


def shown_run(principal: Principal, run: Run) -> Run:
    return run if _may_change(principal) else replace(run, problem=_bare(run.problem))


def shown_item(principal: Principal, item: Item) -> Item:
    return item if _may_change(principal) else replace(item, failure=_bare(item.failure))


def _may_change(principal: Principal) -> bool:
    is_limited = principal.only_sources is not None or principal.only_bots is not None
    return can(principal, Permission.CURATE) and not is_limited


def _bare(reason: Reason | None) -> Reason | None:
    return None if reason is None else replace(reason, detail=_WITHHELD)
