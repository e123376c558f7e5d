"""Tenants, keys, sources and bots at the terminal: one value on stdout, one line for a refusal, exact exit codes."""

import re
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from carrel.adapters.postgres import Endpoint, bootstrap
from cli.shell import Shell


@pytest.fixture(scope="module")
def acme(shell: Shell) -> str:
    """A tenant's slug."""
    slug: str = shell("tenants", "create", f"Acme {uuid.uuid4().hex[:8]}", "--json").value["slug"]
    return slug


def test_a_tenant_is_made_once(shell: Shell) -> None:
    made = shell("tenants", "create", "Blue Heron", "--json")
    again = shell("tenants", "create", "Blue Heron", "--json")

    assert (made.code, made.value["slug"], made.value["name"]) == (0, "blue-heron", "Blue Heron")
    assert str(uuid.UUID(made.value["id"])) == made.value["id"]
    assert (again.code, again.value["error"]["code"]) == (1, "tenant_exists")
    assert again.err.strip() == f"error: {again.value['error']['detail']} (tenant_exists)"
    assert "blue-heron" in shell("tenants", "list").out


def test_a_tenant_can_be_dedicated_from_the_start(shell: Shell) -> None:
    made = shell("tenants", "create", "Grey Heron", "--isolation", "dedicated", "--json")

    assert (made.code, made.value["isolation"]) == (0, "dedicated")
    assert shell("tenants", "create", "White Heron", "--isolation", "much").code == 2


def test_a_tenant_is_named_by_slug_or_id(shell: Shell, acme: str) -> None:
    listed = shell("tenants", "list", "--json").value["items"]
    identifier = next(one["id"] for one in listed if one["slug"] == acme)

    assert shell("sources", "list", "--tenant", identifier, "--json").code == 0
    missing = shell("sources", "list", "--tenant", "nobody")
    assert (missing.code, missing.out) == (1, "")
    assert missing.err.strip() == "error: There is no tenant 'nobody'; `carrel tenants list` shows them. (not_found)"


def test_a_key_is_shown_once_and_revoked_for_good(shell: Shell, acme: str) -> None:
    made = shell("keys", "create", "--tenant", acme, "--scope", "search,ask", "--name", "reader", "--json").value
    listed = shell("keys", "list", "--tenant", acme, "--json")
    revoked = shell("keys", "revoke", made["key"], "--tenant", acme, "--json")
    again = shell("keys", "revoke", made["id"], "--tenant", acme)

    assert made["key"].startswith("ck_")
    assert made["scopes"] == ["ask", "search"]
    assert made["key"] not in listed.out
    assert "reader" in [one["name"] for one in listed.value["items"]]
    assert (revoked.code, revoked.value) == (0, {"id": made["id"], "revoked": True})
    assert again.code == 1


def test_an_operator_key_needs_no_tenant(shell: Shell) -> None:
    made = shell("keys", "create", "--operator", "--json")

    assert made.code == 0
    assert made.value["key"].startswith("ck_")
    assert shell("keys", "revoke", made.value["id"], "--operator").code == 0


def test_operator_keys_are_listed_newest_first_without_secrets_and_apart_from_tenants_keys(
    shell: Shell, acme: str
) -> None:
    former, latter = (
        shell("keys", "create", "--operator", "--name", name, "--json").value for name in ("night", "day")
    )
    shell("keys", "revoke", former["id"], "--operator")
    listed = shell("keys", "list", "--operator", "--json")
    ours = {one["id"]: one for one in listed.value["items"] if one["id"] in {former["id"], latter["id"]}}

    assert [(one["name"], one["revoked_at"] is None) for one in ours.values()] == [("day", True), ("night", False)]
    assert former["key"] not in listed.out
    assert latter["key"] not in listed.out
    assert latter["id"] not in shell("keys", "list", "--tenant", acme, "--json").out


@pytest.mark.parametrize(
    "words",
    [
        ("keys", "create"),
        ("keys", "create", "--operator", "--tenant", "acme"),
        ("keys", "create", "--operator", "--scope", "ask"),
        ("keys", "create", "--tenant", "acme"),
        ("keys", "create", "--tenant", "acme", "--scope", "fly"),
        ("keys", "list"),
        ("keys", "list", "--operator", "--tenant", "acme"),
        ("keys", "revoke", "not-a-key", "--operator"),
        ("search", "anything"),
        ("search", "anything", "--tenant", "acme", "--limit", "0"),
        ("ingest", "/nowhere", "--tenant", "acme", "--source", "x"),
        ("fly",),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_usage(shell: Shell, words: tuple[str, ...]) -> None:
    said = shell(*words, "--json")

    assert said.code == 2
    assert said.err
    assert said.value["error"]["code"] == "usage"


def test_sources_and_bots_are_made_by_name(shell: Shell, acme: str) -> None:
    assert shell("sources", "create", "runbooks", "--tenant", acme, "--json").value["name"] == "runbooks"
    assert shell("sources", "create", "runbooks", "--tenant", acme, "--json").value["error"]["code"] == "source_exists"
    bot = shell("bots", "create", "oncall", "--tenant", acme, "--source", "runbooks", "--json").value
    assert len(bot["source_ids"]) == 1
    assert shell("bots", "create", "other", "--tenant", acme, "--source", "nothing").code == 1
    assert "oncall" in shell("bots", "list", "--tenant", acme).out


@pytest.mark.parametrize("words", [("formats",), ("models", "list"), ("migrate",), ("doctor",)], ids=" ".join)
def test_with_json_stdout_is_one_value(shell: Shell, words: tuple[str, ...]) -> None:
    said = shell(*words, "--json")

    assert (said.code, isinstance(said.value, dict)) == (0, True)


def test_other_weights_are_not_installed(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"no weights")

    said = shell("models", "install", tmp_path / "model.safetensors", "--json")

    assert (said.code, said.value["error"]["code"]) == (1, "wrong_model")


@pytest.mark.parametrize("words", [("tenants", "list"), ("doctor",), ("serve", "--port", "0"), ("work",)], ids=" ".join)
def test_a_bad_setting_ends_with_one_sentence_that_names_it(shell: Shell, words: tuple[str, ...]) -> None:
    said = shell(*words, CARREL_DATABASE__CONNECTIONS="many")

    assert (said.code, said.out) == (1, "")
    assert re.fullmatch(r"error: CARREL_DATABASE__CONNECTIONS: [^\n]+ \(settings\)\n", said.err)


def test_a_misspelt_setting_stops_it_with_one_sentence(shell: Shell) -> None:
    said = shell("tenants", "list", CARREL_DATABASE_URL="postgresql://a:b@c/d")

    assert (said.code, said.out) == (1, "")
    assert said.err == (
        "error: CARREL_DATABASE_URL: there is no such setting; did you mean CARREL_DATABASE__URL? (settings)\n"
    )


def test_the_doctor_finds_nothing_wrong(shell: Shell) -> None:
    shell("keys", "create", "--operator")

    said = shell("doctor")

    assert (said.code, said.err) == (0, "Nothing is wrong.\n")
    assert re.search(r"ok +database +PostgreSQL 18\.\d+ answers, with pgvector", said.out)
    assert len(re.findall(r"^\w+ +database ", said.out, re.MULTILINE)) == 1
    assert re.search(r"ok +walls ", said.out)
    assert re.search(r"ok +answers +No answer of the last day had to do without its model", said.out)
    assert re.search(r"note +worker +No worker lives", said.out)
    assert re.search(r"note +mail +Mail is sent to nobody", said.out)


def test_the_doctor_finds_an_installation_that_sends_no_mail(shell: Shell) -> None:
    silent = shell("doctor", "--json", CARREL_ENVIRONMENT="production")
    mailing = shell(
        "doctor",
        "--json",
        CARREL_ENVIRONMENT="production",
        CARREL_MAIL__KIND="smtp",
        CARREL_MAIL__HOST="mail.example",
        CARREL_MAIL__SENDER="carrel@mail.example",
    )
    marks = [[one["mark"] for one in said.value["remarks"] if one["about"] == "mail"] for said in (silent, mailing)]
    assert marks == [["wrong"], ["ok"]]


def test_the_doctor_knows_who_brings_the_schema_up(endpoint: Endpoint, shell: Shell) -> None:
    fresh = replace(endpoint, database="unmigrated", owner="unmigrated_owner", app="unmigrated_app")
    bootstrap(fresh)
    addresses = {"CARREL_DATABASE__URL": fresh.app_url, "CARREL_DATABASE__OWNER_URL": fresh.owner_url}

    developing = Shell(shell.home, addresses)("doctor")
    producing = Shell(shell.home, addresses)("doctor", CARREL_ENVIRONMENT="production")

    assert (developing.code, producing.code) == (0, 1)
    assert "note" in next(line for line in developing.out.splitlines() if " schema " in line)
    assert "run `carrel migrate`" in next(line for line in producing.out.splitlines() if " schema " in line)


def test_the_doctor_says_so_when_the_database_is_down(shell: Shell) -> None:
    said = shell("doctor", "--json", CARREL_DATABASE__URL="postgresql://a:hunter2@127.0.0.1:1/b")

    wrong = [one for one in said.value["remarks"] if one["mark"] == "wrong"]
    assert (said.code, said.value["ok"]) == (1, False)
    assert [one["about"] for one in wrong] == ["database"]
    assert "CARREL_DATABASE__URL" in wrong[0]["sentence"]
    assert "hunter2" not in said.out
    assert any(one["about"] == "parsers" for one in said.value["remarks"])


def test_a_key_is_printed_in_one_line_however_long_it_is(shell: Shell, acme: str) -> None:
    said = shell("keys", "create", "--tenant", acme, "--scope", "search")
    assert any(re.fullmatch(r"ck_[0-9a-f]{32}_[0-9a-f]{64}_[0-9a-f]{8}", line) for line in said.out.splitlines())
