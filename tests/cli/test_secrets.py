"""Provider credentials, the audit log and the master key at the terminal."""

import asyncio
import io
import signal
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from carrel.adapters.postgres import Endpoint
from carrel.cli.__main__ import run
from carrel.domain.access import for_job
from carrel.domain.ids import CredentialId, TenantId
from carrel.operate.seal import Sealer
from carrel.tenancy.credentials import Credentials
from carrel.tenancy.vault import Vault
from carrel.wiring.master_keys import MasterKeyFiles
from cli.conftest import NAME
from cli.shell import Shell
from support.raw import connected
from support.rounds import rounds
from support.stand import a_database

TEXT = "sk-zqTerminalNeverShowsThis-tail"
TENANT = ("--tenant", "nobody")


@pytest.fixture(scope="module")
def here(shell: Shell) -> tuple[str, TenantId]:
    """A tenant's slug and id."""
    made = shell("tenants", "create", f"t-{uuid.uuid4().hex[:12]}", "--json").value
    return made["slug"], TenantId(uuid.UUID(made["id"]))


def apart(endpoint: Endpoint) -> Endpoint:
    """The shell's own database."""
    return replace(endpoint, database=NAME, owner=f"{NAME}_owner", app=f"{NAME}_app")


def kept(shell: Shell, slug: str) -> CredentialId:
    name = str(uuid.uuid4())
    said = shell("credentials", "add", name, "--tenant", slug, "--provider", "openai", "--json", stdin=f"{TEXT}\n")
    assert said.code == 0, said.err
    assert TEXT not in said.out + said.err
    return CredentialId(uuid.UUID(said.value["id"]))


async def opened(shell: Shell, endpoint: Endpoint, tenant: TenantId, credential: CredentialId) -> str:
    """As a process opens it that was started now."""
    masters = MasterKeyFiles(shell.home / "secrets").present
    async with a_database(apart(endpoint)) as database:
        credentials = Credentials(database, Vault(masters), pepper=b"")
        return (await credentials.access(for_job(tenant, None), credential)).secret.reveal()


def test_a_credential_is_kept_listed_and_removed(shell: Shell, here: tuple[str, TenantId]) -> None:
    slug, _ = here
    identifier = kept(shell, slug)
    listed = shell("credentials", "list", "--tenant", slug, "--json")
    assert [(one["id"], one["last_four"]) for one in listed.value["items"]] == [(str(identifier), "tail")]
    assert TEXT not in listed.out
    removed = shell("credentials", "remove", listed.value["items"][0]["name"], "--tenant", slug, "--json")
    assert removed.value == {"id": str(identifier), "removed": True}
    again = shell("credentials", "remove", str(identifier), "--tenant", slug)
    assert (again.code, "not_found" in again.err) == (1, True)
    found = shell("audit", "list", "--tenant", slug, "--object", str(identifier), "--from", "2020-01-01", "--json")
    assert [event["action"] for event in found.value["items"]] == ["credential.deleted", "credential.created"]
    assert "credential.created" in shell("audit", "list", "--tenant", slug, "--action", "credential.created").out


ADD = ("credentials", "add", "main", *TENANT, "--provider", "openai")
WRONG = {
    "no secret": (ADD, ""),
    "an empty line": (ADD, " \n"),
    "a long secret": (ADD, "a" * 8193),
    "a secret with NUL": (ADD, "with\x00nul"),
    "a secret as an argument": ((*ADD, TEXT), TEXT),
    "a secret as an option": ((*ADD, "--secret", TEXT), TEXT),
    "an act that is none": (("audit", "list", *TENANT, "--action", "nothing"), ""),
    "an actor that is no id": (("audit", "list", *TENANT, "--actor", "me"), ""),
    "an anchor of nobody": (("audit", "verify", "--anchor", f"1:{'0' * 64}"), ""),
    "an anchor without a hash": (("audit", "verify", *TENANT, "--anchor", "1"), ""),
    "an anchor without a position": (("audit", "verify", *TENANT, "--anchor", f"x:{'0' * 64}"), ""),
    "an anchor before the first": (("audit", "verify", *TENANT, "--anchor", f"0:{'0' * 64}"), ""),
    "an anchor that is no number": (("audit", "verify", *TENANT, "--anchor", f"1:{'g' * 64}"), ""),
}


@pytest.mark.parametrize(("arguments", "stdin"), WRONG.values(), ids=WRONG)
def test_what_is_called_wrongly_ends_before_anything_is_opened(
    arguments: tuple[str, ...], stdin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    assert run(arguments) == 2


async def test_verify_says_what_a_superuser_changed(
    shell: Shell, endpoint: Endpoint, here: tuple[str, TenantId]
) -> None:
    slug, tenant = here
    kept(shell, slug)
    async with a_database(apart(endpoint)) as database:
        await Sealer(database, margin=0).run()
    (whole,) = shell("audit", "verify", "--tenant", slug, "--json").value["items"]
    assert (whole["holds"], whole["break"]) == (True, None)
    anchor = f"{whole['seals']}:{whole['head']}"
    assert shell("audit", "verify", "--tenant", slug, "--anchor", anchor).code == 0
    async with connected(apart(endpoint).superuser_url) as superuser:
        await superuser.execute("update audit_events set result = 'refused' where tenant_id = $1", tenant)
    said = shell("audit", "verify")
    assert (said.code, f"{slug}: broken at position 1" in said.out) == (1, True)
    broken = shell("audit", "verify", "--tenant", slug, "--json")
    assert (broken.code, broken.value["items"][0]["break"]["fault"]) == (1, "changed")


async def test_a_rotation_that_is_killed_anywhere_goes_on(
    shell: Shell, endpoint: Endpoint, here: tuple[str, TenantId]
) -> None:
    slug, tenant = here
    secrets, credential = shell.home / "secrets", kept(shell, slug)
    before = (secrets / "master_key").read_bytes()
    for attempt in range(rounds(2, 40)):
        rotating = shell.begin("secrets", "rotate")
        await asyncio.sleep(0.5 + attempt % 20 * 0.1)
        rotating.send_signal(signal.SIGKILL)
        rotating.communicate(timeout=30)
        assert await opened(shell, endpoint, tenant, credential) == TEXT
    rotated = shell("secrets", "rotate", "--json")
    assert (rotated.code, rotated.value["new"], rotated.value["unreadable"]) == (0, True, [])
    assert (secrets / "master_key").read_bytes() != before
    assert shell("secrets", "retire", "--json").value["retired"] >= 1
    assert _keys(secrets) == ["master_key"]
    assert await opened(shell, endpoint, tenant, credential) == TEXT


def _keys(secrets: Path) -> list[str]:
    """Without drafts that were killed before they had a name."""
    named = ("master_key", "master_key.new")
    return sorted(path.name for path in secrets.iterdir() if path.name in named or ".former." in path.name)
