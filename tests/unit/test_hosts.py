"""Which names are this deployment's own, and which pages may call it; and how an operator says so."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from carrel.domain.hosts import KnownHosts
from carrel.settings import Settings, explained

KNOWN = KnownHosts(frozenset({"carrel.example", "other.example:8443"}), frozenset({"https://chat.example"}))


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:9", "[::1]", "[::1]:8000"])
def test_the_loopback_is_known_without_being_named(host: str) -> None:
    assert KnownHosts().are_called(host, at=None)


def test_the_address_at_which_a_request_came_in_is_known() -> None:
    assert KnownHosts().are_called("10.1.2.3:8000", at="10.1.2.3")
    assert KnownHosts().are_called("[fd00::1]:8000", at="fd00::1")
    assert not KnownHosts().are_called("10.1.2.4:8000", at="10.1.2.3")
    assert not KnownHosts().are_called("", at=None)


@pytest.mark.parametrize(
    "host",
    [
        "", ":80", "evil.example", "carrel.example.evil.example", "evil-carrel.example", "carrel.example@evil.example",
        "carrel.example/x", "carrel.example?x", "carrel.example#x", "carrel.example:x", "[::1", "::1", "localhost.",
        "localhost, evil.example", "local\thost", "other.example:8444", "0.0.0.0", "127.1", "2130706433",
    ],
)  # fmt: skip
def test_what_only_resembles_a_known_name_is_not_known(host: str) -> None:
    assert not KNOWN.are_called(host, at="10.1.2.3")


@pytest.mark.parametrize(
    ("origin", "may"),
    [
        ("https://carrel.example", True), ("http://carrel.example", True), ("https://chat.example", True),
        ("HTTPS://CHAT.EXAMPLE", True), ("http://localhost:6274", True), ("http://[::1]:1", True),
        ("https://chat.example:444", False), ("http://chat.example", False), ("https://evil.example", False),
        ("null", False), ("", False), ("carrel.example", False), ("file://localhost", False),
        ("https://localhost@evil.example", False), ("https://carrel.example.evil.example", False),
        ("https://chat.example/", False),
    ],
)  # fmt: skip
def test_pages_of_this_host_of_this_machine_and_of_known_origins_may_call(origin: str, *, may: bool) -> None:
    assert KNOWN.may_call(origin, host="carrel.example") is may


def test_settings_name_hosts_and_origins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARREL_MCP__HOSTS", "Carrel.example, other.example:8443,[fd00::1]")
    monkeypatch.setenv("CARREL_MCP__ORIGINS", "https://Chat.example")
    mcp = Settings().mcp
    assert mcp.host_list == ("carrel.example", "other.example:8443", "fd00::1")
    assert mcp.origin_list == ("https://chat.example",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CARREL_MCP__HOSTS", "https://carrel.example"),
        ("CARREL_MCP__HOSTS", "*"),
        ("CARREL_MCP__HOSTS", "*.example"),
        ("CARREL_MCP__ORIGINS", "chat.example"),
        ("CARREL_MCP__ORIGINS", "https://chat.example/"),
        ("CARREL_MCP__ORIGINS", "*"),
        ("CARREL_MCP__ORIGINS", "null"),
    ],
)
def test_what_is_no_host_and_no_origin_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert explained(refused.value).startswith(f"{name}: write ")
