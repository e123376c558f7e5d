"""Layout: where a tenant's entries lie, in tables that many tenants share or in tables of its own."""

from dataclasses import dataclass
from enum import StrEnum


class Isolation(StrEnum):
    """What a tenant has, or what its operator asked for."""

    POOLED = "pooled"
    DEDICATED = "dedicated"


class LayoutState(StrEnum):
    """On the way up: pooled, filling, promoting, dedicated. On the way down: demoting, leaving, pooled.

    Searches read the tenant's own tables while it is dedicated or demoting, else the pooled ones. What is new is
    written to both while it is promoting or demoting, to its own while it is dedicated, else to the pooled ones.
    """

    POOLED = "pooled"
    FILLING = "filling"
    PROMOTING = "promoting"
    DEDICATED = "dedicated"
    DEMOTING = "demoting"
    LEAVING = "leaving"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """In chunks. Between the two a tenant stays as it is, so one that grows and shrinks a little does not move."""

    promote_at: int = 20_000
    demote_below: int = 12_000


@dataclass(frozen=True, slots=True)
class Layout:
    """`asked` is the operator's wish, if there is one; `chunks` were counted when the tenant was weighed last.

    `settled`: no search that saw the former state can still run.
    """

    state: LayoutState
    asked: Isolation | None
    chunks: int
    settled: bool

    def wanted(self, thresholds: Thresholds) -> Isolation:
        if self.asked is not None:
            return self.asked
        if self.chunks >= thresholds.promote_at:
            return Isolation.DEDICATED
        if self.chunks < thresholds.demote_below:
            return Isolation.POOLED
        return Isolation.DEDICATED if self.state in _LARGE else Isolation.POOLED

    def is_due(self, thresholds: Thresholds) -> bool:
        """Whether there is anything to do now."""
        if self.state is LayoutState.LEAVING:
            return self.settled
        at_rest = self.state in {LayoutState.POOLED, LayoutState.DEDICATED}
        return not at_rest or self.state.value != self.wanted(thresholds).value


_LARGE = frozenset({LayoutState.FILLING, LayoutState.PROMOTING, LayoutState.DEDICATED})
