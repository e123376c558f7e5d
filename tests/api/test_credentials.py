"""Provider credentials over HTTP: written, and never seen again, in whatever is kept or said."""

import re
from typing import Any

import pytest

from api.callers import Caller, CallerMaker
from carrel.operate.seal import Sealer
from support.raw import Raw, connected
from support.stand import Stand

TEXT = "sk-zq9NobodyEverSeesThisAgain-tail"
WISH = {"name": "main", "provider": "openai", "secret": TEXT, "base_url": "https://llm.example/v1"}
SHOWN = {"id", "name", "provider", "base_url", "last_four", "created_at", "rotated_at"}


async def test_the_answers_show_the_last_four_and_the_times(owner: Caller) -> None:
    made = await owner.made("/v1/credentials", WISH)
    assert made.keys() == SHOWN
    assert (made["last_four"], made["base_url"]) == ("tail", "https://llm.example/v1")
    assert (await owner("GET", f"/v1/credentials/{made['id']}")).json() == made
    assert (await owner("GET", "/v1/credentials")).json() == {"items": [made], "next_cursor": None}
    changed = await owner("PATCH", f"/v1/credentials/{made['id']}", json={"secret": "sk-another-secret-9876"})
    assert changed.json() == {**made, "last_four": "9876", "rotated_at": changed.json()["rotated_at"]}


async def test_a_bot_shows_which_credential_it_has(owner: Caller) -> None:
    made = await owner.made("/v1/credentials", WISH)
    bot = await owner.made("/v1/bots", {"name": "Helper", "source_ids": [], "credential_id": made["id"]})
    assert bot["credential_id"] == made["id"]
    assert (await owner("DELETE", f"/v1/credentials/{made['id']}")).status_code == 204
    assert (await owner("GET", f"/v1/bots/{bot['id']}")).json()["credential_id"] is None


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "no secret": ({"secret": None}, "secret", "invalid_type"),
    "an empty secret": ({"secret": ""}, "secret", "too_short"),
    "a long secret": ({"secret": "a" * 8193}, "secret", "too_long"),
    "a secret with NUL": ({"secret": f"{TEXT}\x00"}, "secret", "invalid_text"),
    "a secret that is a list": ({"secret": [TEXT]}, "secret", "invalid_type"),
    "no name": ({"name": " "}, "name", "too_short"),
    "no provider": ({"provider": None}, "provider", "invalid_type"),
    "a provider that is none": ({"provider": "Open AI"}, "provider", "invalid_provider"),
    "an address that is none": ({"base_url": "llm.example"}, "base_url", "invalid_url"),
    "an address with a password": ({"base_url": "https://me:word@llm.example"}, "base_url", "invalid_url"),
    "an unknown field": ({"last_four": "0000"}, "last_four", "unknown_field"),
    "an id": ({"id": "01900000-0000-7000-8000-000000000000"}, "id", "unknown_field"),
}


@pytest.mark.parametrize(("change", "field", "code"), BAD.values(), ids=BAD)
async def test_bad_input_is_refused_and_not_repeated(
    owner: Caller, change: dict[str, Any], field: str, code: str
) -> None:
    answer = await owner("POST", "/v1/credentials", json={**WISH, **change})
    assert answer.status_code == 422
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(field, code)]
    assert TEXT not in answer.text


async def test_an_address_alone_is_not_changed(owner: Caller) -> None:
    made = await owner.made("/v1/credentials", WISH)
    answer = await owner("PATCH", f"/v1/credentials/{made['id']}", json={"base_url": "https://attacker.example"})
    assert (answer.status_code, answer.json()["code"]) == (422, "secret_required")
    fixed = await owner("PATCH", f"/v1/credentials/{made['id']}", json={"provider": "another"})
    assert (fixed.status_code, fixed.json()["errors"][0]["code"]) == (422, "unknown_field")


async def test_a_name_is_taken_once(owner: Caller) -> None:
    await owner.made("/v1/credentials", WISH)
    again = await owner("POST", "/v1/credentials", json=WISH)
    assert (again.status_code, again.json()["code"]) == (409, "credential_exists")


async def test_the_same_request_twice_gives_the_first_answer_and_another_secret_is_another_request(
    owner: Caller,
) -> None:
    once = {"headers": {"Idempotency-Key": "credential-1"}}
    first = await owner("POST", "/v1/credentials", json=WISH, **once)
    again = await owner("POST", "/v1/credentials", json=WISH, headers={"Idempotency-Key": "credential-1"})
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert again.headers["Idempotency-Replayed"] == "true"
    other = {**WISH, "secret": f"{TEXT[:-1]}L"}
    answer = await owner("POST", "/v1/credentials", json=other, headers={"Idempotency-Key": "credential-1"})
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")


async def test_the_secret_stands_nowhere(
    carrel: Stand, owner: Caller, a_caller: CallerMaker, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither in an answer, nor in what was said, nor in any row of any table."""
    answers = [
        await owner("POST", "/v1/credentials", json=WISH, headers={"Idempotency-Key": "everywhere"}),
        await owner("POST", "/v1/credentials", json=WISH, headers={"Idempotency-Key": "everywhere"}),
        await owner("POST", "/v1/credentials", json=WISH),
        await owner("POST", "/v1/credentials", json={**WISH, "name": "", "more": TEXT}),
        await (await a_caller("search"))("POST", "/v1/credentials", json=WISH),
        await owner(
            "POST", "/v1/credentials", content=f'{{"secret": "{TEXT}"', headers={"Content-Type": "application/json"}
        ),
    ]
    made = answers[0].json()
    answers += [
        await owner("PATCH", f"/v1/credentials/{made['id']}", json={"secret": TEXT, "base_url": "nowhere"}),
        await owner("PATCH", f"/v1/credentials/{made['id']}", json={"secret": TEXT}),
        await owner("GET", "/v1/credentials"),
        await owner("GET", "/v1/audit"),
    ]
    await Sealer(carrel.database, margin=0).run()
    said = capfd.readouterr()
    texts = [*(answer.text for answer in answers), *(str(answer.headers) for answer in answers), said.out, said.err]
    async with connected(carrel.endpoint.superuser_url) as superuser:
        texts += [row async for row in _everything(superuser)]
    assert [text for text in texts if _holds(text)] == []
    assert any("openai" in text for text in texts)


def _holds(text: str) -> bool:
    """In clear, or as the bytes of it in hexadecimal."""
    secret = TEXT.removesuffix("tail")
    return secret in text or secret.encode().hex() in text


async def _everything(superuser: Raw) -> Any:
    """Each row of each table as text: what a dump would hold."""
    tables = await superuser.fetch(
        "select relname from pg_class where relnamespace = 'carrel'::regnamespace and relkind = 'r'"
    )
    for (table,) in tables:
        for (row,) in await superuser.fetch(f"select t::text from carrel.{table} t"):
            yield row


def test_the_description_calls_the_secret_a_password_that_is_only_written(door: Any) -> None:
    schemas = door.openapi()["components"]["schemas"]
    assert schemas["NewCredential"]["properties"]["secret"]["format"] == "password"
    assert schemas["NewCredential"]["properties"]["secret"]["writeOnly"] is True
    assert not re.search(r'"secret"', str(schemas["CredentialView"]))
