"""Webhooks at the terminal."""

import uuid

import pytest

from cli.shell import Shell

HERE = "http://127.0.0.1:1/hook"


@pytest.fixture(scope="module")
def slug(shell: Shell) -> str:
    return str(shell("tenants", "create", f"t-{uuid.uuid4().hex[:12]}", "--json").value["slug"])


def test_a_webhook_is_added_tried_out_and_removed(shell: Shell, slug: str) -> None:
    made = shell("webhooks", "add", HERE, "--tenant", slug, "--event", "document.ready", "--json").value
    assert made["secret"].startswith("whsec_")
    assert (made["url"], made["events"], made["source_ids"]) == (HERE, ["document.ready"], None)
    listed = shell("webhooks", "list", "--tenant", slug, "--json")
    assert [one["id"] for one in listed.value["items"]] == [made["id"]]
    assert made["secret"] not in listed.out
    tried = shell("webhooks", "test", made["id"], "--tenant", slug, "--json")
    assert (tried.code, tried.value["status"], tried.value["problem"]) == (1, "failed", "address_refused")
    assert "address_refused" in shell("webhooks", "deliveries", made["id"], "--tenant", slug).out
    assert shell("webhooks", "remove", made["id"], "--tenant", slug, "--json").value == {
        "id": made["id"],
        "removed": True,
    }
    again = shell("webhooks", "remove", made["id"], "--tenant", slug)
    assert (again.code, "not_found" in again.err) == (1, True)


def test_without_a_choice_everything_is_told(shell: Shell, slug: str) -> None:
    made = shell("webhooks", "add", HERE, "--tenant", slug, "--json").value
    assert made["events"] == ["document.failed", "document.ready", "quota.threshold", "source.refreshed"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("add", "nothing"), "invalid_url"),
        (("add", HERE, "--event", "webhook.test"), "invalid_event"),
        (("add", HERE, "--source", "nowhere"), "not_found"),
        (("test", "no-id"), "not_found"),
        (("deliveries", "no-id"), "not_found"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_is_wrong_says_so(shell: Shell, slug: str, arguments: tuple[str, ...], code: str) -> None:
    said = shell("webhooks", *arguments, "--tenant", slug)
    assert (said.code, code in said.err) == (1, True)
