"""Members at the terminal."""

import asyncio
import uuid

import pytest

from carrel.adapters.postgres import Endpoint
from cli.shell import Shell
from support.raw import connected


@pytest.fixture(scope="module")
def acme(shell: Shell) -> str:
    """A tenant's slug."""
    slug: str = shell("tenants", "create", f"Acme {uuid.uuid4().hex[:8]}", "--json").value["slug"]
    return slug


@pytest.fixture
def people(endpoint: Endpoint, shell: Shell, acme: str) -> list[str]:
    """Two owners' addresses, made as rows: nobody registers at the terminal."""

    async def made() -> list[str]:
        addresses = [f"{uuid.uuid4().hex[:12]}@people.example" for _ in range(2)]
        async with connected(endpoint.superuser_url.replace("/carrel", "/terminal")) as superuser:
            for address in addresses:
                await superuser.execute(_MADE, uuid.uuid4(), address, acme)
        return addresses

    return asyncio.run(made())


_MADE = """
    with person as (insert into users (id, email, name, verified_at) values ($1, $2, 'Ada', now()) returning id)
    insert into memberships (tenant_id, user_id, role)
    select t.id, p.id, 'owner' from tenants t, person p where t.slug = $3
"""


def test_members_are_listed_changed_and_removed(shell: Shell, acme: str, people: list[str]) -> None:
    ada, ben = people
    listed = shell("members", "list", "--tenant", acme, "--json").value
    assert {one["email"]: one["role"] for one in listed["items"]} == {ada: "owner", ben: "owner"}
    assert ada in shell("members", "list", "--tenant", acme).out

    changed = shell("members", "change", ada.upper(), "--role", "editor", "--suspend", "--tenant", acme, "--json")
    assert (changed.code, changed.value["role"], changed.value["status"]) == (0, "editor", "suspended")
    back = shell("members", "change", changed.value["id"], "--resume", "--tenant", acme)
    assert (back.code, back.out.strip()) == (0, f"{ada} is editor, active.")

    last = shell("members", "remove", ben, "--tenant", acme, "--json")
    assert (last.code, last.value["error"]["code"]) == (1, "last_owner")
    assert shell("members", "remove", ada, "--tenant", acme).code == 0
    gone = shell("members", "remove", ada, "--tenant", acme)
    assert (gone.code, gone.err.count("carrel members list")) == (1, 1)
    assert shell("members", "change", ben, "--tenant", acme).code == 2


def test_an_invitation_is_sent_and_its_token_is_not_shown(shell: Shell, acme: str) -> None:
    made = shell("members", "invite", " Grace@Invited.Example ", "--role", "admin", "--tenant", acme, "--json")
    assert (made.code, made.value["email"], made.value["role"]) == (0, "grace@invited.example", "admin")
    assert "ci_" not in made.out
    bad = shell("members", "invite", "nobody", "--tenant", acme, "--json")
    assert (bad.code, bad.value["error"]["code"]) == (1, "invalid_email")
    assert shell("members", "invite", "a@b.example", "--role", "king", "--tenant", acme).code == 2
