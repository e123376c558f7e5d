"""Percentiles: what so many of a hundred measurements do not exceed."""

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that so many percent do not exceed (nearest rank). Raises ValueError for no values."""
    if not values:
        raise ValueError("There is no percentile of nothing.")
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(rank, 1) - 1]
