"""Sources that refresh themselves, at the terminal: made, walked by a worker that is hired for it, paused."""

import json
import uuid
from pathlib import Path

import pytest

from cli.shell import Said, Shell


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "papers"
    (root / "runbooks").mkdir(parents=True)
    (root / "runbooks" / "payments.md").write_text("# Payments\n\nThe payment service listens on port 7443.\n")
    (root / "picture.png").write_bytes(b"\x89PNG and so on")
    return root


def test_a_folder_is_fetched_as_long_as_somebody_waits(shell: Shell, folder: Path) -> None:
    tenant = shell("tenants", "create", f"Fetch {uuid.uuid4().hex[:8]}", "--json").value["slug"]
    opened = json.dumps({tenant: [str(folder.parent)]})

    def sources(*words: str | Path) -> Said:
        return shell("sources", *words, "--tenant", tenant, "--json", CARREL_ORIGINS__FOLDERS=opened)

    made = sources("add", "handbook", "--kind", "folder", "--path", folder, "--every", "3600")
    assert (made.code, made.value["place"], made.value["schedule"]) == (0, {"path": str(folder)}, 3600)

    first = sources("refresh", "handbook", "--wait")
    assert (first.code, first.value["state"]) == (1, "partial")
    taken = first.value["created"] + first.value["unchanged"]  # a worker of another test may have walked it before
    assert (taken, first.value["failed"]) == (1, 1)
    (folder / "picture.png").unlink()
    second = sources("refresh", "handbook", "--wait")
    assert (second.code, second.value["state"], second.value["unchanged"]) == (0, "done", 1)
    (listed,) = sources("list").value["items"]
    assert (listed["documents"]["ready"], listed["last_run"]["state"]) == (1, "done")
    assert [run["state"] for run in sources("runs", "handbook").value["items"]][:2] == ["done", "partial"]
    assert "payments" in shell("search", "payment port", "--tenant", tenant).out

    paused = sources("pause", "handbook")
    assert (paused.code, paused.value["paused"], paused.value["next_run_at"]) == (0, True, None)
    refused = sources("refresh", "handbook")
    assert (refused.code, refused.value["error"]["code"]) == (1, "source_paused")
    assert sources("resume", "handbook").value["paused"] is False


def test_a_place_that_cannot_be_is_refused(shell: Shell, folder: Path) -> None:
    tenant = shell("tenants", "create", f"Bad {uuid.uuid4().hex[:8]}", "--json").value["slug"]
    for words, code in (
        (("--kind", "folder", "--path", folder), "folder_not_allowed"),
        (("--kind", "url", "--url", "https://a.example", "--every", "5"), "out_of_range"),
    ):
        said = shell("sources", "add", "bad", "--tenant", tenant, "--json", *words)
        assert (said.code, said.value["error"]["code"]) == (1, code)
