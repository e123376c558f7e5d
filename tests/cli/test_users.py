"""People at the terminal: listed, suspended, resumed."""

import asyncio
import uuid

from carrel.domain.access import for_accounts
from carrel.domain.ids import UserId
from carrel.store import accounts
from carrel.store.transaction import Database
from cli.shell import Shell


def somebody(shell: Shell) -> str:
    """The address of somebody with an account in the shell's database."""
    email = f"{uuid.uuid4().hex}@people.example"

    async def make() -> None:
        database = await Database.connect(shell.environment["CARREL_DATABASE__URL"], connections=2)
        async with database.transaction(for_accounts()) as tx:
            await accounts.add(tx, UserId(uuid.uuid4()), email=email, name="Ada \x1b[31m")
        await database.close()

    asyncio.run(make())
    return email


def test_a_person_is_suspended_and_resumed(shell: Shell) -> None:
    shell("migrate")
    email = somebody(shell)
    listed = shell("users", "list", "--json")
    assert listed.code == 0
    (found,) = [one for one in listed.value["items"] if one["email"] == email]
    assert found["status"] == "active"
    assert "\x1b" not in shell("users", "list").out

    suspended = shell("users", "suspend", email.upper(), "--json")
    assert (suspended.code, suspended.value["status"]) == (0, "suspended")
    resumed = shell("users", "resume", found["id"], "--json")
    assert (resumed.code, resumed.value["status"]) == (0, "active")
    assert f"{email} is suspended." in shell("users", "suspend", email).out


def test_nobody_is_named(shell: Shell) -> None:
    for verb in ("suspend", "resume"):
        said = shell("users", verb, "nobody@people.example", "--json")
        assert (said.code, said.value["error"]["code"]) == (1, "not_found")
        assert "There is nobody 'nobody@people.example'" in said.err
        assert shell("users", verb).code == 2
