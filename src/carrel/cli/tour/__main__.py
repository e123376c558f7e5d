"""`python -m carrel.cli.tour --url URL [--tour] [--json]`: `carrel demo` starts it when its server answers."""

import argparse
import asyncio
import sys
from typing import Any

import httpx2

from carrel import wiring
from carrel.cli.rooms import settings_in_force
from carrel.cli.terminal import err, note, out, say_json, say_refusal
from carrel.cli.tour import corpus, visit
from carrel.cli.tour.client import TourError
from carrel.cli.tour.scenes import Stage
from carrel.cli.tour.visit import Guest
from carrel.domain.errors import Refusal


async def _show(url: str, stage: Stage, *, stay: bool) -> dict[str, Any]:
    """Everything in order; what is returned is what `--json` prints. `faults` is empty when all was as it should be."""
    async with (
        wiring.office(settings_in_force()) as office,
        visit.guests(office, url, corpus.organisations()) as arrived,
    ):
        said: dict[str, Any] = {"url": url, "tenants": [_tenant(guest) for guest in arrived], "faults": []}
        await _bring(arrived, stage, said)
        await _ask(arrived, stage, said)
        await _refuse(arrived, stage, said)
        await _lean(arrived, stage, said)
        if stay:
            stage.title("Try it yourself")
            stage.keys(arrived, url, said["questions"][0]["question"])
        return said


async def _bring(arrived: list[Guest], stage: Stage, said: dict[str, Any]) -> None:
    stage.title("Three organisations, one deployment")
    with stage.bars(arrived) as bars:
        for guest in arrived:
            bar = bars[guest.organisation.slug]
            bar.begin()
            failed = await visit.bring(guest, bar)
            said["faults"].extend(f"{guest.name}: {key} failed." for key in failed)


async def _ask(arrived: list[Guest], stage: Stage, said: dict[str, Any]) -> None:
    stage.title("The same questions, each answered from its own documents")
    said["questions"] = []
    for question in corpus.shared_questions():
        answers = await visit.ask_all(arrived, question.text)
        stage.answers(question.text, arrived, answers)
        said["questions"].append({"question": question.text, "answers": answers})
        said["faults"].extend(visit.faults(question, arrived, answers))


async def _refuse(arrived: list[Guest], stage: Stage, said: dict[str, Any]) -> None:
    stage.title("A question that no document answers")
    question = corpus.refused_question()
    answer = await arrived[0].client.ask(question)
    stage.refusal(arrived[0], question, answer)
    said["refusal"] = {"question": question, "answer": answer}
    if answer["status"] != "refused":
        said["faults"].append(f"{question!r} was answered, although no document holds the answer.")


async def _lean(arrived: list[Guest], stage: Stage, said: dict[str, Any]) -> None:
    stage.title("One organisation's key on another's document")
    wall = await visit.lean_on_the_wall(arrived[0], arrived[1])
    stage.wall(arrived[0], arrived[1], wall)
    said["wall"] = {"owner": wall.owner, "stranger": wall.stranger[0], "absent": wall.absent[0]}
    if not wall.stands:
        said["faults"].append("A stranger's key did not get the answer that an absent document gets.")


def _tenant(guest: Guest) -> dict[str, Any]:
    return {
        "slug": guest.organisation.slug,
        "name": guest.name,
        "key": guest.key,
        "documents": len(guest.organisation.documents),
    }


def _end(url: str, faults: list[str], *, stay: bool) -> int:
    for fault in faults:
        note(f"wrong: {fault}")
    if stay:
        note(f"\nCarrel goes on serving on {url}; Ctrl-C stops it.")
    elif not faults:
        note("\nThe tour showed everything.")
    return 1 if faults else 0


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m carrel.cli.tour")
    options.add_argument("--url", required=True)
    options.add_argument("--tour", action="store_true")
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    try:
        stage = Stage(err() if given.json else out())
        said = asyncio.run(_show(given.url, stage, stay=not given.tour))
    except httpx2.HTTPError as error:
        say_refusal(TourError(f"The server did not answer: {error}."), as_json=given.json)
        sys.exit(1)
    except Refusal as refusal:
        say_refusal(refusal, as_json=given.json)
        sys.exit(1)
    if given.json:
        say_json({"ok": not said["faults"], **said})
    sys.exit(_end(given.url, said["faults"], stay=not given.tour))


if __name__ == "__main__":
    main()
