"""`python -m bench`: the whole way of a row, on little data."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_quick_bench_of_search_measures_a_served_carrel_and_writes_its_results_down(tmp_path: Path) -> None:
    ended = _bench("search", "--quick", "--data", str(tmp_path / "absent"), "--results", str(tmp_path / "results"))

    assert ended.returncode == 0, ended.stderr
    whole = json.loads((tmp_path / "results" / "bench.json").read_text())
    rows = {row["name"]: row for row in whole["rows"]}
    cores = len(os.sched_getaffinity(0))
    processes = {"1 API process", f"{cores} API processes" if cores > 1 else "1 API process"}
    assert whole["quick"] is True
    assert whole["machine"]["postgresql"].startswith("18")
    assert set(rows) == {
        "search: CPU per search",
        "search: CPU by stage",
        "search: latency alone",
        *(
            f"search: {clients}, {number}"
            for clients in ("1 client", "4 clients", "16 clients")
            for number in processes
        ),
    }
    assert "chance" in rows["search: CPU per search"]["note"]
    assert "0 failed" in rows["search: latency alone"]["note"]
    assert all("; 0 errors" in row["measured"] for name, row in rows.items() if "client" in name)
    assert "none of its numbers count" in (tmp_path / "results" / "bench.md").read_text()
    assert {file.name for file in (tmp_path / "results").glob("*.png")} == {"search-stages.png", "search-rates.png"}


def test_a_row_that_does_not_exist_is_named(tmp_path: Path) -> None:
    ended = _bench("serch", "--results", str(tmp_path))

    assert ended.returncode == 2
    assert "serch" in ended.stderr


def test_a_row_that_breaks_is_written_down_and_fails_even_a_quick_run(tmp_path: Path) -> None:
    (tmp_path / "scifact").mkdir()
    (tmp_path / "scifact" / "corpus.jsonl").write_text("this is no JSON")

    ended = _bench("search", "--quick", "--data", str(tmp_path), "--results", str(tmp_path / "results"))

    assert ended.returncode == 1
    assert "JSONDecodeError" in ended.stderr
    assert "broke with code 1" in (tmp_path / "results" / "bench.md").read_text()


def _bench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False, timeout=170
    )
