"""`carrel eval` measures a folder's questions in a tenant of its own, again and again, and tidies up."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.shell import Said, Shell

ROOT = Path(__file__).parents[2]
PORTS = {"id": "ports", "title": "Payment service", "text": "The payment service listens on port 7443."}
COPIES = {"id": "copies", "title": "Storage", "text": "The storage cluster keeps three copies of every object."}
QUERIES = (
    {"id": "1", "text": "On which port does the payment service listen?", "answerable": True},
    {"id": "2", "text": "How many copies of an object does the storage cluster keep?", "answerable": True},
    {"id": "3", "text": "Who won the cup in 1998?", "answerable": False},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return a_set(tmp_path / "papers", PORTS, COPIES)


def a_set(folder: Path, *corpus: dict[str, str]) -> Path:
    folder.mkdir()
    (folder / "corpus.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in corpus))
    (folder / "queries.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in QUERIES))
    (folder / "qrels.tsv").write_text("query_id\tdoc_id\trelevance\n1\tports\t1\n2\tcopies\t1\n")
    return folder


def evaluated(shell: Shell, *arguments: str | Path) -> Said:
    return shell("eval", *arguments, seconds=150)


def documents_of(shell: Shell, tenant: str) -> dict[str, int]:
    sources: list[Any] = shell("sources", "list", "--tenant", tenant, "--json").value["items"]
    return {source["name"]: source["documents"].get("ready", 0) for source in sources}


def test_a_set_is_measured_and_its_documents_go_again(shell: Shell, folder: Path) -> None:
    said = evaluated(shell, folder, "--json")

    assert said.code == 0, said.err
    (measured,) = said.value["sets"]
    assert (measured["set"], measured["documents"], measured["ranked_queries"]) == ("papers", 2, 2)
    assert {way: numbers["ndcg_10"] for way, numbers in measured["ranking"].items()} == {
        "hybrid": 1.0,
        "dense": 1.0,
        "lexical": 1.0,
    }
    (refusal,) = measured["refusal"]
    assert (refusal["unanswerable_from"], refusal["auroc"]) == ("its own", 1.0)
    assert refusal["unanswerable"] == {"answered": 0, "refused": 1}
    assert documents_of(shell, "eval-papers") == {}
    assert "Asking papers" in said.err


def test_what_was_kept_is_used_again_without_doubling_and_what_the_set_lost_is_forgotten(
    shell: Shell, tmp_path: Path
) -> None:
    folder = a_set(tmp_path / "kept", PORTS, COPIES, {"id": "old", "text": "The old pager rings."})
    first = evaluated(shell, folder, "--keep", "--json")
    before = documents_of(shell, "eval-kept")
    (folder / "corpus.jsonl").write_text(f"{json.dumps(PORTS)}\n{json.dumps(COPIES)}\n")
    second = evaluated(shell, folder, "--keep", "--limit", "2", "--json")

    assert (first.code, second.code) == (0, 0)
    assert (before, documents_of(shell, "eval-kept")) == ({"documents": 3}, {"documents": 2})
    assert second.value["sets"][0]["queries"] == 2
    assert first.value["sets"][0]["ranking"] == second.value["sets"][0]["ranking"]


def test_a_folder_of_markdown_is_a_set_and_a_foreign_sets_questions_are_not_for_it(
    shell: Shell, folder: Path, tmp_path: Path
) -> None:
    books = tmp_path / "books"
    books.mkdir()
    (books / "etcdNoLeader.md").write_text("# etcdNoLeader\n\nThis alert means that etcd has no leader. Elect one.\n")
    (books / "NodeDown.md").write_text("# NodeDown\n\nThis alert means that a node does not answer. Restart it.\n")
    (books / "empty.md").write_text("---\ntitle: nothing\n---\n")

    said = evaluated(shell, books, "--foreign", folder)

    assert said.code == 1, "a document that holds no text cannot be read"
    assert "(no_text)" in said.err
    assert "| books | hybrid | 2 | 1.0000 |" in said.out
    assert "| books | papers | 1.0000 |" in said.out


def test_a_broken_set_is_refused_before_anything_is_made(shell: Shell, folder: Path, tmp_path: Path) -> None:
    (folder / "qrels.tsv").write_text("1\tports\t1\n2\tnowhere\t1\n")
    shutil.copytree(folder, tmp_path / "elsewhere" / "papers")

    broken = shell("eval", folder, "--json")
    missing = shell("eval", tmp_path / "nothing", "--json")

    assert (broken.code, broken.value["error"]["code"]) == (1, "unknown_in_set")
    assert "qrels.tsv, line 2: corpus.jsonl has no document 'nowhere'." in broken.value["error"]["detail"]
    assert (missing.code, missing.value["error"]["code"]) == (1, "set_missing")


def test_two_sets_of_one_name_and_somebody_elses_tenant_are_refused(shell: Shell, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    twin = a_set(tmp_path / "elsewhere" / "papers", PORTS)
    taken = a_set(tmp_path / "taken", PORTS, COPIES)
    shell("tenants", "create", "Somebody", "--slug", "eval-taken")

    assert shell("eval", folder, twin, "--json").value["error"]["code"] == "unknown_in_set"
    shutil.rmtree(twin)
    a_set(twin, PORTS, COPIES)
    assert shell("eval", folder, twin, "--json").value["error"]["code"] == "two_sets"
    assert shell("eval", taken, "--json").value["error"]["code"] == "tenant_exists"


@pytest.mark.slow
def test_the_small_evaluation_measures_the_sets_that_are_there_and_names_the_others(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("openshift", "prometheus"):
        books = data / "runbooks" / name
        books.mkdir(parents=True)
        (books / "NoLeader.md").write_text(f"# NoLeader\n\nThis alert of {name} means that there is no leader.\n")
    a_set(data / "clapnq", PORTS, COPIES)

    said = subprocess.run(
        [sys.executable, "-m", "bench.evaluation", data, "--limit", "5", "--results", tmp_path / "results"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )

    assert said.returncode == 0, said.stderr
    value = json.loads((tmp_path / "results" / "eval.json").read_text())
    assert value["absent"] == ["scifact", "codebase"]
    assert [one["set"] for one in value["sets"]] == ["clapnq", "openshift", "prometheus"]
    assert value["isolation"]["names_in_common"] == 1
    assert value["isolation"]["honest"]["foreign"] == value["isolation"]["lied_to"]["foreign"] == 0
    assert value["isolation"]["lied_to"]["alarms"] == value["isolation"]["lied_to"]["searches"] > 0
    assert said.stdout == (tmp_path / "results" / "eval.md").read_text()
    assert "scifact is not in" in said.stderr


def test_without_a_set_it_says_what_may_be_measured(shell: Shell) -> None:
    said = evaluated(shell, "--json")

    assert said.code != 0
    assert "--demo" in said.err + said.out
