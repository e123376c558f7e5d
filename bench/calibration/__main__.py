"""`python -m bench.calibration DATA_DIR`: learn the curve of confidence anew, and say how good it is.

Writes `confidence.json`, `observations.jsonl`, `report.md` and `reliability.png` to `eval-results/calibration`. With
`--adopt` the curve becomes the one that Carrel is delivered with. `--again` learns from the observations of the last
run instead of ingesting and asking.
"""

import argparse
import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.calibration.gather import gather
from bench.calibration.learn import learn
from bench.calibration.observations import Observation, Shelf, keep, kept
from bench.calibration.report import markdown, plot, report, shape
from carrel import wiring
from carrel.ask.confidence import read, written
from carrel.evaluate.sets import load_set

SETS: Final = {
    "scifact": "CC BY 4.0, ODC-By 1.0",
    "clapnq": "Apache-2.0",
    "codebase": "MIT",
    "runbooks/openshift": "Apache-2.0",
    "runbooks/prometheus": "Apache-2.0",
}
_ROOT: Final = Path(__file__).parents[2]
_RESULTS: Final = _ROOT / "eval-results" / "calibration"
_DELIVERED: Final = _ROOT / "src" / "carrel" / "ask" / "confidence.json"


def main() -> None:
    arguments = _arguments()
    present = [name for name in SETS if (arguments.data / name).is_dir()]
    for name in SETS.keys() - set(present):
        print(f"{name}: not in {arguments.data}, left out")
    if not present:
        raise SystemExit("None of the sets is there.")
    _RESULTS.mkdir(parents=True, exist_ok=True)
    observed = _RESULTS / "observations.jsonl"
    if not arguments.again:
        keep(_gathered(arguments.data, present), observed)
    told = conclude(kept(observed), source_of(arguments.data, present), _RESULTS)
    print(told)
    if arguments.adopt:
        _DELIVERED.write_text((_RESULTS / "confidence.json").read_text("utf-8"), "utf-8")
        print(f"Adopted: {_DELIVERED.relative_to(_ROOT)}")


def conclude(observations: Sequence[Observation], source: dict[str, object], results: Path) -> str:
    """Writes the curve, the report and the plot; the report as Markdown. Raises ValueError for too little data."""
    curve, found = learn(observations), report(observations)
    counts = {kind: sum(one.kind == kind for one in observations) for kind in ("answerable", "near", "far")}
    text = written(curve, {**source, "observations": counts, "measured": shape(found)})
    (results / "confidence.json").write_text(text, "utf-8")
    told = markdown(read(text), found)
    (results / "report.md").write_text(told, "utf-8")
    plot(observations, results / "reliability.png")
    return told


def source_of(data: Path, present: Sequence[str]) -> dict[str, object]:
    """What the curve was learned from, so that anybody can see whether it was this."""
    return {
        "learned": datetime.now(UTC).date().isoformat(),
        "command": "python -m bench.calibration DATA_DIR",
        "sets": [{"name": name, "licence": SETS[name], "sha256": _digest(data / name)} for name in present],
    }


def shelves(data: Path, present: Sequence[str]) -> list[Shelf]:
    """Sets in a folder of their own are about the same things: they are one family, named by the folder."""
    return [Shelf(load_set(data / name), name.split("/")[0]) for name in present]


def _gathered(data: Path, present: Sequence[str]) -> list[Observation]:
    wiring.configure("warning")
    with TemporaryDirectory(prefix="carrel-calibration-", ignore_cleanup_errors=True) as home:
        return asyncio.run(gather(Path(home), shelves(data, present)))


def _digest(folder: Path) -> str:
    """Of all files with their names, in order."""
    digest = sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.calibration", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("data", type=Path, metavar="DATA_DIR", help="where the labelled sets lie")
    parser.add_argument("--again", action="store_true", help="learn from the observations of the last run")
    parser.add_argument("--adopt", action="store_true", help="deliver this curve with Carrel")
    return parser.parse_args()


if __name__ == "__main__":
    main()
