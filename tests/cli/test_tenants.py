"""`carrel tenants`, from making one to its receipt, and from one archive to another tenant."""

import json
import stat
import tarfile
import uuid
from pathlib import Path

import pytest

from cli.shell import Shell


@pytest.fixture
def slug(shell: Shell) -> str:
    name = f"life-{uuid.uuid4().hex[:8]}"
    assert shell("tenants", "create", "Life", "--slug", name, "--json").code == 0
    return name


def test_one_is_renamed_suspended_resumed_and_deleted(shell: Shell, slug: str) -> None:
    """Commands take their time, so this is one walk."""
    renamed = shell("tenants", "rename", slug, "Other Life", "--json").value
    assert (renamed["slug"], renamed["name"]) == (slug, "Other Life")
    assert shell("tenants", "suspend", renamed["id"], "--json").value["status"] == "suspended"
    assert "works again" in shell("tenants", "resume", slug).out
    assert "Other Life" in shell("tenants", "show", slug).out
    asked = shell("tenants", "delete", slug, "--json")
    assert (asked.code, asked.value["error"]["code"]) == (2, "usage")

    gone = shell("tenants", "delete", slug, "--yes", "--json")

    assert gone.value == {"id": renamed["id"], "slug": slug, "deleted": True}
    refused = shell("tenants", "resume", slug, "--json")
    assert (refused.code, refused.value["error"]["code"]) == (1, "not_found")
    assert shell("tenants", "receipt", renamed["id"], "--json").value["tenant_id"] == renamed["id"]
    assert "asked for" in shell("tenants", "receipt", renamed["id"]).out
    unknown = shell("tenants", "receipt", str(uuid.uuid4()), "--json")
    assert (unknown.code, unknown.value["error"]["code"]) == (1, "not_found")


def test_one_moves_as_an_archive(shell: Shell, slug: str, tmp_path: Path) -> None:
    (tmp_path / "boats.md").write_text("# Boats\n\nBoats float on port 7777.\n")
    assert shell("ingest", tmp_path / "boats.md", "--tenant", slug, "--source", "books", "--json").code == 0
    archive, other = tmp_path / "life.tar", f"{slug}-moved"

    written = shell("tenants", "export", slug, "--to", archive, "--json")

    assert written.value == {"file": str(archive), "bytes": archive.stat().st_size}
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    with tarfile.open(archive) as tar:
        assert json.load(tar.extractfile("manifest.json"))["private"] == "all"  # type: ignore[arg-type]
    taken = shell("tenants", "import", archive, "--json")
    assert (taken.code, taken.value["error"]["code"]) == (1, "tenant_exists")
    brought = shell("tenants", "import", archive, "--slug", other, "--json")
    assert brought.code == 0
    assert (brought.value["tenant"]["slug"], brought.value["documents"]) == (other, {"ready": 1})
    found = [shell("search", "port of boats", "--tenant", name, "--json").value["hits"] for name in (slug, other)]
    before, after = [[(hit["key"], hit["text"]) for hit in hits] for hits in found]
    assert before == after != []


def test_an_archive_that_is_none_is_refused_and_nothing_is_made(shell: Shell, slug: str, tmp_path: Path) -> None:
    (tmp_path / "evil.tar").write_bytes(b"no archive")
    refused = shell("tenants", "import", tmp_path / "evil.tar", "--slug", f"{slug}-evil", "--json")
    assert (refused.code, refused.value["error"]["code"]) == (1, "archive_damaged")
    assert shell("tenants", "show", f"{slug}-evil").code == 1
