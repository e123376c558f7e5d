"""Secrets in clear text: they do not leave by accident."""

import copy
import json
import logging
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import pytest
import structlog

from carrel.domain.providers import ProviderAccess
from carrel.domain.secret import MasterKeys, Secret, master_id
from carrel.tenancy.credentials import CredentialWish

TEXT = "sk-do-not-show-me-1234"
SECRET = Secret(TEXT)


@dataclass(frozen=True)
class Holder:
    secret: Secret


HOLDERS: dict[str, Any] = {
    "a secret": SECRET,
    "a list": [SECRET],
    "a mapping": {"secret": SECRET},
    "a dataclass": Holder(SECRET),
    "a wish": CredentialWish("n", "p", SECRET),
    "what a provider is called with": ProviderAccess("p", None, SECRET),
}


@pytest.mark.parametrize("held", HOLDERS.values(), ids=HOLDERS)
def test_a_secret_is_not_printed(held: Any) -> None:
    shown = [repr(held), str(held), f"{held}", "{} {!r}".format(*[held] * 2), json.dumps(held, default=str)]
    assert [text for text in shown if TEXT in text] == []


def test_nor_with_a_width() -> None:
    assert TEXT not in f"{SECRET:>40}"


@pytest.mark.parametrize(
    "write",
    [
        json.dumps,
        orjson.dumps,
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        vars,
        bytes,
        list,
        hash,
        lambda secret: secret == Secret(TEXT),
        lambda secret: secret != TEXT,
        lambda secret: secret in (TEXT, "another"),
        lambda secret: asdict(Holder(secret)),
        lambda secret: {secret: 1},
        lambda secret: secret + "",
    ],
)
def test_a_secret_is_neither_written_down_nor_compared(write: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError):
        write(SECRET)


def test_a_secret_does_not_stand_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    structlog.wrap_logger(structlog.PrintLogger(), processors=[structlog.processors.JSONRenderer()]).info(
        "event", secret=SECRET, holder=Holder(SECRET)
    )
    logging.getLogger("carrel.tests").warning("%s", SECRET)
    heard = capsys.readouterr()
    assert "event" in heard.out
    assert TEXT not in heard.out + heard.err


def test_only_reveal_shows_it() -> None:
    assert SECRET.reveal() == TEXT


@pytest.mark.parametrize(("text", "shown"), [(TEXT, "1234"), ("a" * 15, ""), ("abc", ""), ("b" * 12 + "wxyz", "wxyz")])
def test_the_last_four_of_a_short_secret_are_not_shown(text: str, shown: str) -> None:
    assert Secret(text).last_four == shown


def test_master_keys_are_named_by_ids_that_tell_nothing_of_them() -> None:
    keys = MasterKeys(b"one" * 11, (b"two" * 11,))
    assert keys.named(master_id(b"one" * 11)) == b"one" * 11
    assert keys.named(master_id(b"two" * 11)) == b"two" * 11
    assert keys.named(master_id(b"three" * 11)) is None
    assert "one" not in repr(keys)
    assert master_id(b"one" * 11) != master_id(b"two" * 11)
