"""`python -m bench.evaluation DATA_DIR` prints Markdown, and writes it with JSON. Exit 1 if a row missed its number."""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.evaluation.holds import fact_rows, isolation_row, missed, rows_of
from bench.evaluation.isolation import Isolation, Neighbour, isolation
from bench.evaluation.shelves import RUNBOOKS, Shelves, open_shelves
from bench.machine import Machine, this_machine
from bench.rows import Row
from carrel import wiring
from carrel.cli.evaluate import Evaluated, demonstrated, measured, shape_of
from carrel.cli.hired import HiredWorker, hired
from carrel.cli.set_tenants import Filled, filled
from carrel.evaluate.facts import FactFindings
from carrel.evaluate.metrics import demand_metrics
from carrel.evaluate.report import as_table, facts_markdown, facts_shape, markdown
from carrel.wiring import Application, Parts, assemble
from carrel.wiring.application import equipped


@dataclass(slots=True)
class Outcome:
    """What one run found out. With a limit on the questions its numbers are told and not held."""

    machine: Machine
    absent: tuple[str, ...]
    limit: int | None
    evaluated: list[Evaluated] = field(default_factory=list)
    facts: FactFindings | None = None
    isolation: Isolation | None = None
    seconds: float = 0.0

    @property
    def rows(self) -> list[Row]:
        rows = [row for one in self.evaluated for row in rows_of(one.findings)]
        if self.facts is not None:
            rows += fact_rows(self.facts)
        if self.isolation is not None:
            rows.append(isolation_row(self.isolation))
        return [replace(row, held=None) for row in rows] if self.limit else rows


def main(arguments: Sequence[str]) -> int:
    wish = _parser().parse_args(arguments)
    demand_metrics()
    shelves = open_shelves(wish.data, limit=wish.limit)
    for name in shelves.absent:
        _note(f"{name} is not in {wish.data} and is left out.")
    with TemporaryDirectory(prefix="carrel-eval-", ignore_cleanup_errors=True) as scratch:
        os.environ["CARREL_HOME"] = scratch  # the worker that is hired reads it too
        outcome = asyncio.run(_run(shelves, wish.limit))
    text = _markdown(outcome)
    _write(wish.results, outcome, text)
    print(text)
    return 1 if missed(outcome.rows) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench.evaluation", description=__doc__)
    parser.add_argument("data", type=Path, metavar="DATA_DIR", help="where the sets lie")
    parser.add_argument("--limit", type=int, help="the most questions of each set; the numbers are only told then")
    parser.add_argument("--results", type=Path, default=Path("eval-results"), help="where JSON and Markdown go")
    return parser


async def _run(shelves: Shelves, limit: int | None) -> Outcome:
    began = time.perf_counter()
    outcome = Outcome(this_machine(), shelves.absent, limit)
    wiring.configure("critical")  # each lie that is noticed would be an error in the log
    async with equipped(wiring.load()) as parts:
        carrel = assemble(parts)
        async with hired(carrel.desk) as worker:
            await _measure(outcome, shelves, parts, carrel, worker=worker)
    outcome.seconds = time.perf_counter() - began
    return outcome


async def _measure(
    outcome: Outcome, shelves: Shelves, parts: Parts, carrel: Application, *, worker: HiredWorker
) -> None:
    """Both runbooks stay until the end, when they meet; nothing else does."""
    outcome.facts = await demonstrated(carrel, worker=worker, keep=True)
    _note(facts_markdown(outcome.facts))
    places: dict[str, Filled] = {}
    async with AsyncExitStack() as stay:
        for name, labelled in shelves.present.items():
            place = await stay.enter_async_context(filled(carrel, labelled, worker=worker, keep=True))
            outcome.evaluated.append(await measured(carrel, place, labelled, shelves.foreign_to(name)))
            _note(markdown([outcome.evaluated[-1].findings]))
            places[name] = place
        if all(name in places for name in RUNBOOKS):
            one, other = (Neighbour(shelves.present[name], places[name]) for name in RUNBOOKS)
            outcome.isolation = await isolation(parts, one, other, limit=outcome.limit)


def _markdown(outcome: Outcome) -> str:
    verdicts = [(row.name, row.measured, row.hold, row.verdict, row.note) for row in outcome.rows]
    parts = [
        f"# Evaluation\n\n{outcome.machine.sentence}. {outcome.seconds / 60:.1f} minutes.",
        markdown([one.findings for one in outcome.evaluated]),
        *([facts_markdown(outcome.facts)] if outcome.facts else []),
        as_table(("row", "measured", "to hold", "verdict", "note"), verdicts),
    ]
    if outcome.absent:
        parts.append(f"Absent, and left out: {', '.join(outcome.absent)}.")
    if outcome.limit:
        parts.append(f"At most {outcome.limit} questions of each set: too few for a verdict.")
    return "\n\n".join(parts)


def _write(folder: Path, outcome: Outcome, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    value = {
        "machine": asdict(outcome.machine),
        "seconds": round(outcome.seconds, 1),
        "limit": outcome.limit,
        "absent": list(outcome.absent),
        "sets": [shape_of(one) for one in outcome.evaluated],
        "demo": facts_shape(outcome.facts) if outcome.facts else None,
        "isolation": asdict(outcome.isolation) if outcome.isolation else None,
        "rows": [{**asdict(row), "verdict": row.verdict} for row in outcome.rows],
    }
    (folder / "eval.json").write_text(json.dumps(value, indent=2, default=str) + "\n")
    (folder / "eval.md").write_text(text + "\n")


def _note(sentence: str) -> None:
    print(sentence, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
