"""Settings of another issuer's logins: what would weaken the proof of a token stops the process."""

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from carrel.domain.errors import Unauthenticated
from carrel.settings import NoLogin, Settings, explained
from carrel.wiring.login import issuer
from support.issuer import AUDIENCE, an_issuer

GOOD = {
    "CARREL_LOGIN__KIND": "oidc",
    "CARREL_LOGIN__ISSUER": "https://login.example.org/realms/main",
    "CARREL_LOGIN__AUDIENCE": "carrel",
}


def read(monkeypatch: pytest.MonkeyPatch, settings: Mapping[str, str]) -> Settings:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return Settings(_env_file=None)  # type: ignore[call-arg]


def test_nobody_is_trusted_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, {})
    assert isinstance(settings.login, NoLogin)
    assert issuer(settings) is None


def test_an_issuer_is_set_by_two_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    trusted = issuer(read(monkeypatch, GOOD))
    assert trusted is not None
    assert trusted.name == GOOD["CARREL_LOGIN__ISSUER"]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ISSUER", "login.example.org", "write it as https"),
        ("ISSUER", "ftp://login.example.org", "write it as https"),
        ("ISSUER", "https://user@login.example.org", "write it as https"),
        ("ISSUER", "https://login.example.org/?realm=main", "write it as https"),
        ("ISSUER", "http://login.example.org", "must be one that CARREL_LOGIN__ALLOWED names"),
        ("AUDIENCE", " ", "it is needed"),
        ("ALGORITHMS", "HS256", "asymmetric"),
        ("ALGORITHMS", "RS256,none", "asymmetric"),
        ("ALGORITHMS", ",", "asymmetric"),
        ("ALLOWED", "10.0.0.1/8", "names and networks"),
        ("KIND", "saml", ""),
    ],
)
def test_a_bad_value_is_one_sentence(monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as refused:
        read(monkeypatch, {**GOOD, f"CARREL_LOGIN__{name}": value.strip()})
    assert explained(refused.value).startswith("CARREL_LOGIN")
    assert sentence in explained(refused.value)


async def test_what_was_set_is_what_proves(monkeypatch: pytest.MonkeyPatch) -> None:
    with an_issuer() as standing:
        said = {
            **GOOD,
            "CARREL_LOGIN__ISSUER": standing.url,
            "CARREL_LOGIN__AUDIENCE": AUDIENCE,
            "CARREL_LOGIN__ALLOWED": "127.0.0.1",
            "CARREL_LOGIN__GROUPS_CLAIMS": "teams, roles",
            "CARREL_LOGIN__EMAIL_CLAIM": "mail",
        }
        trusted = issuer(read(monkeypatch, said))
        assert trusted is not None
        claims: dict[str, Any] = {
            "teams": ["a"],
            "roles": "b",
            "groups": ["c"],
            "mail": "ada@example.org",
            "email_verified": True,
        }
        login = await trusted.prove(standing.token(**claims))
        assert login.groups == {"a", "b"}
        assert login.email == "ada@example.org"
        with pytest.raises(Unauthenticated):
            await trusted.prove(standing.token(algorithm="PS256"))
