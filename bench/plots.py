"""Plots as PNG: lines over a growing quantity, and bars side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_SIZE: Final = (7.0, 4.2)  # inches
_DPI: Final = 110
_WIDTH: Final = 0.8  # of the room between two groups, for all of its bars

Points = Sequence[tuple[float, float]]


def lines(file: Path, title: str, series: Mapping[str, Points], *, across: str, up: str, powers: bool = False) -> None:
    """One line with its points for each name. `powers`: the axis across counts in powers of ten."""
    figure = Figure(figsize=_SIZE)
    axes = figure.subplots()
    for name, points in series.items():
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", label=name)
    if powers:
        axes.set_xscale("log")
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    _save(figure, file, title)


def bars(file: Path, title: str, series: Mapping[str, Sequence[float]], *, groups: Sequence[str], up: str) -> None:
    """For each group one bar of each name."""
    figure = Figure(figsize=_SIZE)
    axes = figure.subplots()
    width = _WIDTH / len(series)
    for place, (name, heights) in enumerate(series.items()):
        left = [group - _WIDTH / 2 + width * (place + 0.5) for group in range(len(groups))]
        axes.bar_label(axes.bar(left, heights, width, label=name), fmt="%.3g", fontsize=8)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel(up)
    if len(series) > 1:
        axes.legend()
    _save(figure, file, title)


def _save(figure: Figure, file: Path, title: str) -> None:
    figure.suptitle(title)
    figure.tight_layout()
    FigureCanvasAgg(figure)
    figure.savefig(file, dpi=_DPI)
