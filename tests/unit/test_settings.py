"""Settings: what is misspelt is named, what belongs to others is left alone."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from carrel.settings import Settings, Smtp, explained, misspelt

SMTP = {
    "CARREL_MAIL__KIND": "smtp",
    "CARREL_MAIL__HOST": "mail.example",
    "CARREL_MAIL__SENDER": "carrel@mail.example",
}
LOGIN = {"CARREL_MAIL__USERNAME": "carrel", "CARREL_MAIL__PASSWORD": "hunter2"}


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("CARREL_DATABASE_URL", "CARREL_DATABASE__URL"),
        ("CARREL_PEPER", "CARREL_PEPPER"),
        ("CARREL_WORKER__LEESE", "CARREL_WORKER__LEASE"),
    ],
)
def test_a_misspelt_setting_is_named_with_the_nearest_one(
    name: str, near: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "secret")
    assert misspelt() == f"{name}: there is no such setting; did you mean {near}?"


def test_a_name_that_is_near_to_nothing_is_named_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARREL_QQQQQQQQQQQQQQQQQQQQ", "1")
    assert misspelt() == "CARREL_QQQQQQQQQQQQQQQQQQQQ: there is no such setting."


def test_a_file_is_looked_at_too_and_other_programs_entries_are_not(nowhere: Path) -> None:
    (nowhere / ".env").write_text("DATABASE_URL=x\nCARREL_HOME=/tmp\ncarrel_worker__lease=5\n")
    assert misspelt() is None
    (nowhere / ".env").write_text("CARREL_HOMES=/tmp\n")
    assert misspelt() == "CARREL_HOMES: there is no such setting; did you mean CARREL_HOME?"


def test_a_whole_group_may_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARREL_WORKER", '{"lease": 5}')
    assert misspelt() is None


@pytest.mark.parametrize("name", ["CARREL_HOME", "CARREL_DATABASE__URL", "CARREL_LOG_LEVEL"])
def test_an_empty_value_is_none_given(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `docker compose` and shell scripts write a setting that they leave open."""
    monkeypatch.delenv(name, raising=False)
    unset = Settings()
    monkeypatch.setenv(name, "")
    assert Settings() == unset


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"CARREL_LIMITS__SEARCH": "60"}, "CARREL_LIMITS__SEARCH: write it as 60/minute"),
        ({"CARREL_LIMITS__TENANT__ASK": "0/day"}, "CARREL_LIMITS__TENANT__ASK: write it as 60/minute"),
        ({"CARREL_LIMITS__KIND": "redis"}, "CARREL_LIMITS: kind `redis` needs CARREL_LIMITS__URL"),
        ({"CARREL_LIMITS__URL": "redis://here"}, "CARREL_LIMITS: kind `redis` needs CARREL_LIMITS__URL"),
        ({"CARREL_LIMITS__KIND": "redis", "CARREL_LIMITS__URL": "http://x"}, "CARREL_LIMITS__URL: write it as redis:"),
        ({"CARREL_QUOTAS__BYTES": "-1"}, "CARREL_QUOTAS__BYTES: "),
        ({"CARREL_OCR__LANGUAGES": "deu,eng"}, "CARREL_OCR__LANGUAGES: write languages with plus signs between them"),
        ({"CARREL_OCR__LANGUAGES": "deu+"}, "CARREL_OCR__LANGUAGES: write languages with plus signs between them"),
    ],
)
def test_a_bad_limit_or_language_is_one_sentence_that_names_the_variable(
    settings: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert explained(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"CARREL_MAIL__KIND": "pigeon"}, "CARREL_MAIL: name its kind: smtp or outbox"),
        ({"CARREL_MAIL__HOST": "mail"}, "CARREL_MAIL: name its kind: smtp or outbox"),
        ({"CARREL_MAIL__KIND": "outbox", "CARREL_MAIL__HOST": "mail"}, "CARREL_MAIL__HOST: "),
        ({"CARREL_MAIL__KIND": "smtp", "CARREL_MAIL__SENDER": "a@b.example"}, "CARREL_MAIL__HOST: "),
        ({**SMTP, "CARREL_MAIL__SENDER": "nobody"}, "CARREL_MAIL__SENDER: write it as carrel@example.org"),
        ({**SMTP, "CARREL_MAIL__SENDER": "a@b.example\nBcc: x@y.example"}, "CARREL_MAIL__SENDER: write it as"),
        ({**SMTP, "CARREL_MAIL__PORT": "0"}, "CARREL_MAIL__PORT: "),
        ({**SMTP, "CARREL_MAIL__TLS": "perhaps"}, "CARREL_MAIL__TLS: "),
        ({**SMTP, "CARREL_MAIL__USERNAME": "x"}, "CARREL_MAIL: give a username and a password, or neither"),
        ({**SMTP, **LOGIN, "CARREL_MAIL__TLS": "none"}, "CARREL_MAIL: a password is not sent in clear"),
        ({"CARREL_PROXIES": "10.0.0.0/99"}, "CARREL_PROXIES: write networks with commas between them"),
        ({"CARREL_PROXIES": "10.0.0.1/8"}, "CARREL_PROXIES: write networks with commas between them"),
        ({"CARREL_PROXIES": "10.0.0.0/8,,"}, "CARREL_PROXIES: write networks with commas between them"),
    ],
)
def test_a_bad_way_of_mail_is_one_sentence_that_names_the_variable(
    settings: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert explained(refused.value).startswith(sentence)
    assert "hunter2" not in explained(refused.value)


def test_mail_goes_into_the_outbox_until_a_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().mail.kind == "outbox"
    for name, value in {**SMTP, **LOGIN, "CARREL_PROXIES": "10.0.0.0/8, fd00::/8"}.items():
        monkeypatch.setenv(name, value)
    mail = Settings().mail
    assert isinstance(mail, Smtp)
    assert (mail.host, mail.port, mail.tls) == ("mail.example", 587, "starttls")
    assert "hunter2" not in repr(Settings())


LONG = "a master key, of thirty-two letters"


@pytest.mark.parametrize(
    ("value", "keys"),
    [("", []), (LONG, [LONG]), (f'["{LONG}", "[{LONG}]"]', [LONG, f"[{LONG}]"]), ("[]", [])],
)
def test_former_master_keys_are_one_or_a_list(value: str, keys: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARREL_FORMER_MASTER_KEYS", value)
    assert Settings().former_keys == keys


@pytest.mark.parametrize("value", ["short", f'["{LONG}", "short"]', f"[{LONG}", "[1]", f'[["{LONG}"]]'])
def test_former_master_keys_that_are_none_are_named_and_not_shown(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARREL_FORMER_MASTER_KEYS", value)
    with pytest.raises(ValidationError) as error:
        Settings()
    sentence = explained(error.value)
    assert sentence.startswith("CARREL_FORMER_MASTER_KEYS: write one key, or a list of them in JSON")
    assert LONG not in sentence


S3_BLOBS = {"CARREL_BLOBS__KIND": "s3", "CARREL_BLOBS__BUCKET": "carrel-bytes"}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"CARREL_BLOBS__BUCKET": "../other"}, "CARREL_BLOBS__BUCKET: write a bucket's name"),
        ({"CARREL_BLOBS__BUCKET": ""}, "CARREL_BLOBS__BUCKET: it is needed."),
        ({"CARREL_BLOBS__PREFIX": "a/../b"}, "CARREL_BLOBS__PREFIX: write a path"),
        ({"CARREL_BLOBS__ENDPOINT": "s3.example.org"}, "CARREL_BLOBS__ENDPOINT: write an address"),
        ({"CARREL_BLOBS__ENDPOINT": "https://u:p@s3.example.org"}, "CARREL_BLOBS__ENDPOINT: write an address"),
        ({"CARREL_BLOBS__ENDPOINT": "http://s3.example.org"}, "CARREL_BLOBS: an endpoint without TLS needs allow_http"),
        ({"CARREL_BLOBS__ACCESS_KEY_ID": "AK"}, "CARREL_BLOBS: give access_key_id and secret_access_key, or neither"),
        ({"CARREL_BLOBS__PATH": "/tmp"}, "CARREL_BLOBS__PATH: the kind that is chosen has no such setting."),
        ({"CARREL_BLOBS__KIND": "gcs"}, "CARREL_BLOBS: name its kind: s3 or local."),
        ({"CARREL_BLOBS__SCRUB_DAYS": "0"}, "CARREL_BLOBS__SCRUB_DAYS: "),
        ({"CARREL_ORIGINS__S3_ENDPOINTS": "minio"}, "CARREL_ORIGINS__S3_ENDPOINTS: write an address"),
    ],
)
def test_a_bucket_that_cannot_be_is_refused(
    wrong: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**S3_BLOBS, **wrong}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert explained(refused.value).startswith(sentence)


def test_blobs_are_in_a_folder_unless_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARREL_BLOBS__PATH", "/srv/blobs")
    assert Settings().blobs.kind == "local"
