"""`python -m bench [ROW …] [--quick]`: runs rows, prints the table, writes it down; exit 1 if a number did not hold."""

import argparse
import asyncio
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Final

from bench.context import a_bench
from bench.machine import this_machine
from bench.report import markdown, write
from bench.rows import Row
from bench.served import ONE_THREAD, end_with_parent
from carrel.telemetry import configure

ROWS: Final = ("start", "ingest", "search", "tenants", "neighbour", "streams", "crowd", "growth")
_BESIDE: Final = {"growth": "crowd"}  # what holds ratios and recall may run, at a low priority, beside what waits
RESULTS: Final = Path("bench-results")
DATA: Final = Path("../shared/data")
_LEAST: Final = 10
_ENDS: Final = "runs to its end"
_TESTS: Final = Path(__file__).parents[1] / "tests"  # whose builders of office files are used here too


def main() -> None:
    given = _arguments()
    if given.alone:
        os.nice(given.niceness)
        configure("warning")  # logs go to stderr: on stdout stands the row
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers are stopped and folders removed
        rows = _run(given.rows[0], given)
        sys.stdout.write(json.dumps([asdict(row) for row in rows]))
        return
    began = time.perf_counter()
    rows = [row for names in in_turn(given.rows or ROWS) for row in _side_by_side(names, given)]
    minutes = (time.perf_counter() - began) / 60
    print(markdown(this_machine(), rows, minutes=minutes, quick=given.quick))
    write(given.results, this_machine(), rows, minutes=minutes, quick=given.quick)
    bad = [row.name for row in rows if row.verdict == "missed" and (row.hold == _ENDS or not given.quick)]
    sys.exit(f"Not held: {', '.join(bad)}." if bad else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", choices=[*ROWS, []], help=f"of {', '.join(ROWS)}; all if none"
    )
    parser.add_argument("--quick", action="store_true", help="the same code on little data: its numbers hold nothing")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the labelled sets (%(default)s)")
    parser.add_argument("--results", type=Path, help=f"the folder of the results ({RESULTS}, or quick in it)")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--niceness", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.results = given.results or (RESULTS / "quick" if given.quick else RESULTS)  # a trial takes no run's place
    return given


def in_turn(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Each by itself, but growth with the crowd where both are wanted: the crowd takes five minutes and half a core."""
    paired = {one for pair in _BESIDE.items() if set(pair) <= set(names) for one in pair}
    alone = [(name,) for name in names if name not in paired]
    return [*alone, *((other, name) for name, other in _BESIDE.items() if name in paired)]


def _side_by_side(names: Sequence[str], given: argparse.Namespace) -> list[Row]:
    """The first as it is, the others niced. Each in a process of its own: none warms another, none breaks another."""
    title, began = " beside ".join(reversed(names)), time.perf_counter()
    sys.stderr.write(f"{title} …\n")
    started = [_started(name, given, niceness=_LEAST if name != names[0] else 0) for name in names]
    rows = [row for name, process in zip(names, started, strict=True) for row in _told(name, process)]
    sys.stderr.write(f"{title}: {(time.perf_counter() - began) / 60:.1f} minutes\n")
    return rows


def _started(name: str, given: argparse.Namespace, *, niceness: int) -> "subprocess.Popen[bytes]":
    options = ["--data", str(given.data), "--results", str(given.results), *(["--quick"] if given.quick else [])]
    return subprocess.Popen(
        [sys.executable, "-m", "bench", name, "--alone", "--niceness", str(niceness), *options],
        stdout=subprocess.PIPE,
        preexec_fn=end_with_parent,  # noqa: PLW1509 - no threads live here
        env={**os.environ, **ONE_THREAD},
    )


def _told(name: str, process: "subprocess.Popen[bytes]") -> list[Row]:
    said, _ = process.communicate()
    if process.returncode:
        return [Row(name, f"broke with code {process.returncode}", _ENDS, held=False)]
    return [Row(**row) for row in json.loads(said)]


def _run(name: str, given: argparse.Namespace) -> list[Row]:
    sys.path.append(str(_TESTS))
    module = import_module(f"bench.{name}")
    with a_bench(given.results.absolute(), given.data.absolute(), quick=given.quick) as bench:
        found = module.run(bench)
        rows: list[Row] = asyncio.run(found) if inspect.iscoroutine(found) else found
    return rows


if __name__ == "__main__":
    main()
