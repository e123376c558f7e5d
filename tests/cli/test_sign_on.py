"""What groups give, and search over several organisations, at the terminal."""

import uuid
from pathlib import Path
from typing import Any

from cli.shell import Shell

ISSUER: dict[str, Any] = {
    "CARREL_LOGIN__KIND": "oidc",
    "CARREL_LOGIN__ISSUER": "https://login.example.org",
    "CARREL_LOGIN__AUDIENCE": "carrel",
}


def test_a_group_is_granted_listed_and_revoked(shell: Shell) -> None:
    slug = shell("tenants", "create", f"Grebe {uuid.uuid4().hex[:8]}", "--json").value["slug"]
    group = f"grebes-{uuid.uuid4().hex[:8]}"
    asked = ("groups", "grant", group, "--tenant", slug, "--role", "editor", "--json")

    made = shell(*asked, **ISSUER)
    assert (made.code, made.value["issuer"], made.value["role"]) == (0, ISSUER["CARREL_LOGIN__ISSUER"], "editor")
    assert shell(*asked).value["error"]["code"] == "issuer_required"
    assert made.value in shell("groups", "list", "--json").value["items"]
    assert shell("groups", "revoke", made.value["id"]).code == 0
    assert shell("groups", "revoke", made.value["id"]).code == 1


def test_several_organisations_are_searched_at_once(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "boats.md").write_text("# Boats\n\nThe boats float on the water of the harbour.\n")
    one, two = [shell("tenants", "create", f"Coot {uuid.uuid4().hex[:8]}", "--json").value for _ in range(2)]
    assert shell("ingest", str(tmp_path / "boats.md"), "--tenant", one["slug"], "--source", "docs").code == 0

    found = shell("search", "Do boats float?", "--tenant", two["slug"], "--tenant", one["slug"], "--json")
    assert found.code == 0
    assert {hit["tenant_id"] for hit in found.value["hits"]} == {one["id"]}
    assert found.value["partial"] == []
