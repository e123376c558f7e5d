"""`carrel chats`, from the first question at the terminal to the file that is taken along."""

import csv
import json
import stat
import uuid
from pathlib import Path

from cli.shell import Shell


def test_chats_are_read_renamed_taken_along_and_deleted(shell: Shell, tmp_path: Path) -> None:
    """Commands take their time, so this is one walk."""
    slug = f"chats-{uuid.uuid4().hex[:8]}"
    assert shell("tenants", "create", "Chats", "--slug", slug, "--json").code == 0
    (tmp_path / "boats.md").write_text("# Boats\n\nBoats float on port 7777.\n")
    assert shell("ingest", tmp_path / "boats.md", "--tenant", slug, "--source", "books", "--json").code == 0
    asked = shell("ask", "On which port do boats float?", "--tenant", slug, "--json").value
    went_on = shell("ask", "And on which port do they sink?", "--tenant", slug, "--chat", asked["chat_id"]).out
    assert f"--chat {asked['chat_id']}" in went_on

    (listed,) = shell("chats", "list", "--tenant", slug, "--json").value["items"]
    assert (listed["id"], listed["title"]) == (asked["chat_id"], "On which port do boats float?")
    shown = shell("chats", "show", listed["id"], "--tenant", slug, "--json").value
    assert [message["question"][:3] for message in shown["messages"]] == ["On ", "And"]
    assert shown["messages"][0]["answer"] == asked["answer"]
    assert "7777" in shell("chats", "show", listed["id"], "--tenant", slug).out
    renamed = shell("chats", "rename", listed["id"], " Ports\n", "--tenant", slug, "--json").value
    assert renamed["title"] == "Ports"
    assert shell("chats", "rename", listed["id"], " ", "--tenant", slug).code == 2

    as_json, as_csv = tmp_path / "chats.json", tmp_path / "chats.csv"
    written = shell("chats", "export", "--tenant", slug, "--to", as_json, "--json").value
    assert written == {"file": str(as_json), "bytes": as_json.stat().st_size}
    assert stat.S_IMODE(as_json.stat().st_mode) == 0o600
    assert json.loads(as_json.read_text())["chats"][0]["messages"][0]["answer"] == asked["answer"]
    one = ("chats", "export", listed["id"], "--tenant", slug, "--to", as_csv, "--format", "csv")
    assert shell(*one).code == 0
    heads, line, _ = list(csv.reader(as_csv.read_text().splitlines()))
    assert dict(zip(heads, line, strict=True))["title"] == "Ports"
    assert shell(*one).code == 2

    assert shell("chats", "list", "--tenant", slug, "--end-user", "Ann", "--json").value["items"] == []
    for command in (("show",), ("delete",), ("rename",)):
        more = ("x",) if command == ("rename",) else ()
        foreign = shell("chats", *command, listed["id"], *more, "--tenant", slug, "--end-user", "Ann", "--json")
        assert (foreign.code, foreign.value["error"]["code"]) == (1, "not_found")
    assert shell("chats", "delete", listed["id"], "--tenant", slug, "--json").value["deleted"]
    gone = shell("chats", "show", listed["id"], "--tenant", slug, "--json")
    assert (gone.code, gone.value["error"]["code"]) == (1, "not_found")


def test_usage_is_told_by_what_one_asks_for(shell: Shell) -> None:
    slug = f"usage-{uuid.uuid4().hex[:8]}"
    assert shell("tenants", "create", "Usage", "--slug", slug, "--json").code == 0
    shell("ask", "Is anything here?", "--tenant", slug, "--json")
    told = shell("usage", "--tenant", slug, "--by", "member", "--by", "model", "--json").value["items"]
    assert [(line["day"], line["events"], line["cost"], line["unpriced"]) for line in told] == [(None, 1, None, 1)]
    assert told[0]["member_id"]
    assert "extractive" in shell("usage", "--tenant", slug, "--by", "model").out
