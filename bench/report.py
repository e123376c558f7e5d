"""The results as a person and as a program read them."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.machine import Machine
from bench.rows import Row


def markdown(machine: Machine, rows: Sequence[Row], *, minutes: float, quick: bool) -> str:
    """A table, and below it the notes."""
    lines = [f"Measured on {machine.sentence}, in {minutes:.1f} minutes.", ""]
    if quick:
        lines += ["A quick run on little data: it shows that the instruments work, and none of its numbers count.", ""]
    lines += ["| what | measured | hold | verdict |", "|---|---|---|---|"]
    lines += [f"| {row.name} | {row.measured} | {row.hold} | {'' if quick else row.verdict} |" for row in rows]
    notes = [f"- {row.name}: {row.note}." for row in rows if row.note]
    return "\n".join([*lines, *(["", *notes] if notes else [])]) + "\n"


def write(folder: Path, machine: Machine, rows: Sequence[Row], *, minutes: float, quick: bool) -> None:
    """`bench.md` and `bench.json`. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.md").write_text(markdown(machine, rows, minutes=minutes, quick=quick), "utf-8")
    whole = {
        "machine": asdict(machine),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "minutes": round(minutes, 2),
        "quick": quick,
        "rows": [{**asdict(row), "verdict": None if quick else row.verdict} for row in rows],
    }
    (folder / "bench.json").write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", "utf-8")
