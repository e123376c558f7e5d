"""The tour, through the same doors as everybody."""

import pytest

from cli.shell import Shell

ORGANISATIONS = ["forgecraft", "roadkeep", "northbeam"]


@pytest.mark.slow
def test_the_tour_shows_three_answers_a_refusal_and_a_wall_and_can_be_repeated(shell: Shell) -> None:
    first = shell("demo", "--tour", "--json", seconds=120)
    again = shell("demo", "--tour", seconds=120)

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
