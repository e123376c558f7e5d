"""The tour, through the same doors as everybody."""

import signal
from pathlib import Path
from typing import Any, cast

import pytest

from carrel.cli.files import File
from carrel.cli.tour.client import Client
from carrel.cli.tour.corpus import Organisation, SharedQuestion
from carrel.cli.tour.visit import Guest, faults
from cli.shell import Shell, end

ORGANISATIONS = ["forgecraft", "roadkeep", "northbeam"]


@pytest.mark.slow
def test_the_tour_shows_three_answers_a_refusal_and_a_wall_and_can_be_repeated(shell: Shell) -> None:
    first = shell("demo", "--tour", "--json", seconds=170)
    again = shell("demo", "--tour", seconds=170)

    shown = first.value
    assert (first.code, shown["ok"], shown["faults"]) == (0, True, [])
    assert [one["slug"] for one in shown["tenants"]] == ORGANISATIONS
    for question in shown["questions"]:
        given = [question["answers"][slug] for slug in ORGANISATIONS]
        assert len({answer["answer"] for answer in given}) == 3
        assert all(answer["citations"] for answer in given)
    assert shown["refusal"]["answer"]["status"] == "refused"
    assert shown["wall"] == {"owner": 200, "stranger": 404, "absent": 404}
    assert again.code == 0
    assert "The tour showed everything." in again.err
    assert max(len(line) for line in again.out.splitlines()) <= 100


def test_the_demo_goes_on_serving_and_prints_what_to_try(shell: Shell) -> None:
    demo = shell.begin("demo", "--port", "0")
    assert demo.stderr is not None
    lines = iter(demo.stderr.readline, "")
    assert any("goes on serving on http://127.0.0.1:" in line for line in lines)

    said = end(demo, signal.SIGINT)

    assert said.code == 0
    assert "export FORGECRAFT=ck_" in said.out
    assert "/v1/chat -H" in said.out


def a_guest(slug: str) -> Guest:
    organisation = Organisation(slug, slug.title(), (File(Path("a.md"), "a.md"),))
    return Guest(organisation, "ck_", cast("Client", None), documents={"a.md": f"document of {slug}"})


def an_answer(text: str, document: str) -> dict[str, Any]:
    return {"answer": text, "citations": [{"document_id": document}]}


def test_a_tour_that_shows_the_wrong_thing_says_so() -> None:
    acme, rival = a_guest("acme"), a_guest("rival")
    question = SharedQuestion("Which port?", {"acme": "port 1", "rival": "port 2"})
    right = {"acme": an_answer("Port 1.", "document of acme"), "rival": an_answer("Port 2.", "document of rival")}
    wrong = {"acme": an_answer("Port 1.", "document of acme"), "rival": an_answer("Port 1.", "document of acme")}

    assert faults(question, [acme, rival], right) == []
    assert faults(question, [acme, rival], wrong) == [
        "Rival did not find 'port 2' for 'Which port?'.",
        "Rival did not cite its own documents for 'Which port?'.",
        "Two organisations gave the same answer to 'Which port?'.",
    ]
