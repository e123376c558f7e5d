"""Files become documents, documents answer, and what could not be taken is named."""

import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from carrel.cli.files import gather
from cli.shell import Said, Shell, children_of, end, lives, until

PAYMENTS = (
    "# Payment service\n\nThe payment service listens on port 7443. Restart it with `systemctl restart payments`.\n"
)
STORAGE = "# Storage\n\nThe storage cluster keeps three copies of every object in the rack Juniper.\n"


@pytest.fixture(scope="module")
def attended(shell: Shell) -> Iterator[None]:
    """A worker lives for the tests that come after; those before it hire their own."""
    work = shell.begin("work", "--json")
    assert work.stdout is not None
    work.stdout.readline()
    yield
    end(work)


@pytest.fixture
def tenant(shell: Shell) -> str:
    slug: str = shell("tenants", "create", f"Files {uuid.uuid4().hex[:8]}", "--json").value["slug"]
    return slug


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "papers"
    (root / "runbooks").mkdir(parents=True)
    (root / "runbooks" / "payments.md").write_text(PAYMENTS)
    (root / "storage.txt").write_text(STORAGE)
    return root


def ingested(shell: Shell, tenant: str, *paths: Path, source: str = "handbook", wait: bool = True) -> Said:
    return shell("ingest", *paths, "--tenant", tenant, "--source", source, "--json", "--wait" if wait else "--no-wait")


def outcomes(said: Said) -> dict[str, str]:
    return {one["key"]: one["outcome"] for one in said.value["documents"]}


def test_a_folder_is_brought_in_worked_and_found_unchanged_the_next_time(
    shell: Shell, tenant: str, folder: Path
) -> None:
    first = ingested(shell, tenant, folder)
    (folder / "storage.txt").write_text(STORAGE + "\nThe rack stands in hall 4.\n")
    second = ingested(shell, tenant, folder)

    assert (first.code, outcomes(first)) == (0, {"runbooks/payments.md": "created", "storage.txt": "created"})
    assert {one["status"] for one in first.value["documents"]} == {"ready"}
    assert (second.code, outcomes(second)) == (0, {"runbooks/payments.md": "unchanged", "storage.txt": "replaced"})
    assert second.value["counts"]["replaced"] == 1
    assert "2/2" in second.err


def test_ctrl_c_ends_it_quietly_and_takes_the_hired_worker_along(shell: Shell, tenant: str, folder: Path) -> None:
    for number in range(12):
        (folder / f"{number}.md").write_text(f"# Paper {number}\n\n{STORAGE * 20}")
    ingesting = shell.begin("ingest", str(folder), "--tenant", tenant, "--source", "handbook")
    until(lambda: bool(children_of(ingesting.pid)))
    hired = children_of(ingesting.pid)

    said = end(ingesting, signal.SIGINT)

    assert said.code == 130
    assert "Traceback" not in said.err
    until(lambda: not any(lives(pid) for pid in hired))


def test_two_files_with_one_key_do_not_hide_each_other(shell: Shell, tenant: str, folder: Path) -> None:
    said = ingested(shell, tenant, folder / "storage.txt", folder, wait=False)

    assert said.code == 1
    assert [(one["key"], one["outcome"]) for one in said.value["documents"]] == [
        ("storage.txt", "created"),
        ("runbooks/payments.md", "created"),
        ("storage.txt", "rejected"),
    ]


def test_without_waiting_the_documents_are_left_to_a_worker(shell: Shell, tenant: str, folder: Path) -> None:
    left = ingested(shell, tenant, folder, wait=False)
    counts = shell("sources", "list", "--tenant", tenant, "--json").value["items"][0]["documents"]
    again = ingested(shell, tenant, folder)

    assert left.code == 0
    assert counts["pending"] == 2
    assert outcomes(again) == {"runbooks/payments.md": "unchanged", "storage.txt": "unchanged"}
    assert {one["status"] for one in again.value["documents"]} == {"ready"}


@pytest.mark.usefixtures("attended")
def test_what_cannot_be_read_is_named_and_the_exit_code_says_so(shell: Shell, tenant: str, folder: Path) -> None:
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing of the kind")
    (folder / "empty.md").write_bytes(b"")
    (folder / "film.mp4").write_bytes(b"\0\0\0 ftyp")
    (folder / ".hidden.md").write_text("# Hidden")

    said = ingested(shell, tenant, folder)

    problems = {one["key"]: one["problem"]["code"] for one in said.value["documents"] if one["problem"]}
    assert said.code == 1
    assert problems == {"broken.pdf": "damaged_document", "empty.md": "empty_document"}
    assert outcomes(said)["storage.txt"] == "created"
    assert said.value["skipped"] == ["film.mp4"]
    readable = shell("ingest", folder, "--tenant", tenant, "--source", "handbook")
    assert readable.code == 1
    assert "damaged_document" in readable.out
    assert "Skipped 1 of other kinds: film.mp4." in readable.err
    assert f"1 failed in {tenant};" in " ".join(shell("doctor").out.split())


@pytest.mark.usefixtures("attended")
def test_search_shows_passages_and_ask_answers_or_refuses(shell: Shell, tenant: str, folder: Path) -> None:
    ingested(shell, tenant, folder / "runbooks", source="runbooks")
    ingested(shell, tenant, folder / "storage.txt", source="storage")
    shell("bots", "create", "storekeeper", "--tenant", tenant, "--source", "storage")
    question = "On which port does the payment service listen?"

    found = shell("search", "payment port", "--tenant", tenant, "--json").value
    answered = shell("ask", question, "--tenant", tenant, "--json")
    readable = shell("ask", question, "--tenant", tenant)
    refused = shell("ask", question, "--tenant", tenant, "--bot", "storekeeper", "--json")

    assert found["hits"][0]["key"] == "payments.md"
    assert (answered.code, answered.value["status"]) == (0, "answered")
    assert "7443" in answered.value["answer"]
    assert "[1] Payment service" in readable.out
    assert (refused.code, refused.value["status"]) == (1, "refused")
    assert refused.value["guidance"]
    assert "payments.md" not in refused.out


@pytest.mark.usefixtures("attended")
def test_a_search_in_one_source_sees_no_other(shell: Shell, tenant: str, folder: Path) -> None:
    ingested(shell, tenant, folder / "runbooks", source="runbooks")
    ingested(shell, tenant, folder / "storage.txt", source="storage")

    said = shell("search", "payment service port", "--tenant", tenant, "--source", "storage", "--json")

    assert {hit["key"] for hit in said.value["hits"]} <= {"storage.txt"}


def test_a_link_leads_to_no_file_outside_the_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("outside")
    (folder / "link.md").symlink_to(tmp_path / "secret.md")
    (folder / "inside.md").symlink_to(folder / "storage.txt")
    (folder / "around").symlink_to(folder)
    (folder / "broken.md").symlink_to(folder / "nothing.md")

    keys = [file.key for file in gather([folder], {".md", ".txt"}).files]

    assert keys == ["inside.md", "runbooks/payments.md", "storage.txt"]


@pytest.mark.usefixtures("attended")
def test_what_failed_is_shown_with_its_way_out_and_tried_again(shell: Shell, tenant: str, folder: Path) -> None:
    (folder / "torn.pdf").write_bytes(b"%PDF-1.7 broken")
    ingested(shell, tenant, folder)
    of_tenant = ("--tenant", tenant, "--json")

    (dead,) = shell("documents", "failed", "--source", "handbook", *of_tenant).value["items"]
    none = shell("documents", "failed", "--code", "no_text", *of_tenant).value["items"]
    again = shell("documents", "redrive", dead["id"], *of_tenant)
    absent = shell("documents", "redrive", str(uuid.uuid4()), *of_tenant)
    versions = shell("documents", "versions", dead["id"], *of_tenant)
    strange = shell("documents", "versions", "nothing", *of_tenant)

    assert (dead["key"], dead["error"]["code"], dead["attempts"], none) == ("torn.pdf", "damaged_document", 1, [])
    assert dead["error"]["way_out"].endswith("bring it again.")
    assert (again.code, again.value) == (0, {"redriven": 1})
    assert (absent.code, absent.value["error"]["code"]) == (1, "not_found")
    assert [(one["number"], one["live_from"]) for one in versions.value["items"]] == [(1, None)]
    assert (strange.code, strange.value["error"]["code"]) == (1, "not_found")
