"""Settings of models: what is taken, and one sentence for what is not."""

import pytest
from pydantic import ValidationError

from carrel.settings import Settings, explained
from carrel.wiring.providers import at_hand, offer, own

KEY = "sk-a-secret-that-nobody-may-see"
OPENAI = {"CARREL_MODEL__KIND": "openai", "CARREL_MODEL__MODEL": "gpt-5-mini", "CARREL_MODEL__API_KEY": KEY}
BEDROCK = {"CARREL_MODEL__KIND": "bedrock", "CARREL_MODEL__MODEL": "amazon.nova-lite-v1:0"}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Settings:
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)
    return Settings()


@pytest.mark.parametrize("settings", [{}], indirect=True)
def test_by_itself_a_deployment_has_the_extractive_model_alone(settings: Settings) -> None:
    assert own(settings) is None
    assert at_hand(settings) == [("extractive", "ready, needs no weights")]
    assert not offer(settings).holds("gpt-5-mini")


@pytest.mark.parametrize("settings", [{**OPENAI, "CARREL_MODEL__ALLOWED": "gpt-5, o/3:x"}], indirect=True)
def test_what_bots_may_name_is_the_model_and_those_that_are_allowed(settings: Settings) -> None:
    assert [name for name, _ in at_hand(settings)] == [
        "openai:gpt-5-mini",
        "openai:gpt-5",
        "openai:o/3:x",
        "extractive",
    ]
    assert all(offer(settings).holds(name) for name in ("gpt-5-mini", "gpt-5", "o/3:x", "extractive"))
    assert not offer(settings).holds("gpt-4")


@pytest.mark.parametrize("settings", [OPENAI], indirect=True)
def test_a_key_is_shown_nowhere(settings: Settings) -> None:
    account = own(settings)

    assert account is not None
    assert account.account.secret is not None
    assert account.account.secret.reveal() == KEY
    assert KEY not in f"{settings!r} {account!r} {at_hand(settings)}"


@pytest.mark.parametrize("settings", [{**BEDROCK, "CARREL_MODEL__REGION": "us-gov-west-1"}], indirect=True)
def test_bedrock_needs_no_key(settings: Settings) -> None:
    account = own(settings)

    assert account is not None
    assert (account.account.secret, account.account.region) == (None, "us-gov-west-1")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"CARREL_MODEL__KIND": "gpt"},
            "CARREL_MODEL: name its kind: openai, anthropic, ollama, bedrock or extractive.",
        ),
        ({"CARREL_MODEL__KIND": "openai"}, "CARREL_MODEL__MODEL: it is needed."),
        (
            {"CARREL_MODEL__KIND": "openai", "CARREL_MODEL__MODEL": "gpt-5-mini"},
            "CARREL_MODEL: set CARREL_MODEL__API_KEY, or CARREL_MODEL__BASE_URL of a server that needs no key.",
        ),
        ({"CARREL_MODEL__KIND": "anthropic", "CARREL_MODEL__MODEL": "x"}, "CARREL_MODEL__API_KEY: "),
        ({**OPENAI, "CARREL_MODEL__MODEL": "two words"}, "CARREL_MODEL__MODEL: write a model's name as its provider"),
        ({**OPENAI, "CARREL_MODEL__ALLOWED": "a, two words"}, "CARREL_MODEL__ALLOWED: write a model's name as its"),
        ({**OPENAI, "CARREL_MODEL__BASE_URL": "models.example"}, "CARREL_MODEL__BASE_URL: write it as https://"),
        ({**OPENAI, "CARREL_MODEL__BASE_URL": "https://u:p@m.example"}, "CARREL_MODEL__BASE_URL: write it as https://"),
        (
            {**OPENAI, "CARREL_MODEL__REGION": "eu-central-1"},
            "CARREL_MODEL__REGION: the kind that is chosen has no such setting.",
        ),
        ({**BEDROCK, "CARREL_MODEL__REGION": "Frankfurt"}, "CARREL_MODEL__REGION: write it as eu-central-1."),
        ({"CARREL_PROVIDERS__ALLOWED": "10.0.0.1/8"}, "CARREL_PROVIDERS__ALLOWED: write names and networks"),
        ({"CARREL_PROVIDERS__PORTS": "http"}, "CARREL_PROVIDERS__PORTS: write ports with commas between them"),
        ({"CARREL_PROVIDERS__PORTS": "65536"}, "CARREL_PROVIDERS__PORTS: write ports with commas between them"),
        (
            {"CARREL_PRICES": "cheap"},
            'CARREL_PRICES: write JSON as {"openai:gpt-5-mini": {"input": 0.25, "output": 2}}.',
        ),
        ({"CARREL_PRICES": '{"openai:x": {"input": -1, "output": 0}}'}, "CARREL_PRICES: write JSON as "),
    ],
)
def test_what_is_wrong_is_one_sentence_that_names_the_variable(
    given: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as refused:
        Settings()

    assert explained(refused.value).startswith(sentence)
    assert KEY not in explained(refused.value)
