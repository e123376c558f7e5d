"""`carrel eval`: how well questions whose answers are known find them, and what is answered."""

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from carrel.cli.options import Json
from carrel.cli.rooms import in_application
from carrel.cli.terminal import REFUSED, note, out, say_json
from carrel.domain.errors import Conflict, Invalid

if TYPE_CHECKING:
    from carrel.cli.hired import HiredWorker
    from carrel.cli.set_tenants import Filled
    from carrel.evaluate.facts import FactFindings
    from carrel.evaluate.pipeline import Findings
    from carrel.evaluate.sets import LabelledSet
    from carrel.wiring import Application

app = typer.Typer()

_NAMED: Final = 8
_EXAMPLE: Final = "Example: carrel eval ./scifact ./clapnq     |     carrel eval ./runbooks --foreign ./scifact --json"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The findings about one set, what went wrong with its documents, and how long it took."""

    findings: "Findings"
    filled: "Filled"
    asking_seconds: float


@app.command("eval", epilog=_EXAMPLE)
def evaluate(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[SET_DIR]...", help="Folders with corpus.jsonl, queries.jsonl and qrels.tsv."),
    ] = None,
    *,
    demo: Annotated[
        bool, typer.Option("--demo", help="The demo's organisations: answers, refusals, follow-ups.")
    ] = False,
    foreign: Annotated[
        list[Path] | None,
        typer.Option("--foreign", "-f", help="A set whose questions these documents cannot answer. May be repeated."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The most questions to put from each set.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the documents for the next time.")] = False,
    as_json: Json = False,
) -> None:
    """Measure retrieval and refusal on labelled sets, through the journeys that everybody's questions go.

    Each set becomes a tenant of its own, `eval-NAME`, by uploads and a worker. Rankings are judged by document, for
    hybrid, dense and lexical search. Refusal is judged where questions without an answer are known: by "answerable"
    in the set, or by --foreign. Groundedness is judged on answers in which a number or a name was swapped. With --demo
    the demo's questions are put too: what was found, answered, refused and said, and how follow-up questions fared.
    A folder of Markdown files is a set too: each file is asked for by its first heading.
    Exit 1 if a document of a set could not be read.
    """
    from carrel.evaluate.metrics import demand_metrics

    if not folders and not demo:
        raise Invalid("Name a set's folder, or --demo.", code="set_missing")
    demand_metrics()
    sets, others = _loaded(folders or [], limit), _loaded(foreign or [], limit)
    done, facts = in_application(lambda carrel: _evaluated(carrel, sets, others, keep=keep, demo=demo))
    _tell(done, facts, as_json=as_json)
    bad = [one.filled for one in done if one.filled.bad]
    for place in bad:
        _complain(place)
    if bad:
        raise typer.Exit(REFUSED)


def _tell(done: Sequence[Evaluated], facts: "FactFindings | None", *, as_json: bool) -> None:
    from carrel.evaluate.report import facts_markdown, facts_shape, markdown

    if as_json:
        said = {"sets": [shape_of(one) for one in done]}
        say_json({**said, "demo": facts_shape(facts)} if facts else said)
        return
    told = [markdown([one.findings for one in done])] if done else []
    out().print("\n\n".join([*told, facts_markdown(facts)] if facts else told), soft_wrap=True, markup=False)


def _loaded(folders: Sequence[Path], limit: int | None) -> "list[LabelledSet]":
    from carrel.evaluate.sets import load_set

    sets = [load_set(folder) for folder in folders]
    names = [one.name for one in sets]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise Conflict(f"Two sets are named {twice!r}; a set's tenant has the name of its folder.", code="two_sets")
    return [one.sampled(limit) if limit else one for one in sets]


async def _evaluated(
    carrel: "Application", sets: "Sequence[LabelledSet]", foreign: "Sequence[LabelledSet]", *, keep: bool, demo: bool
) -> "tuple[list[Evaluated], FactFindings | None]":
    """One after the other, each in a tenant of its own. Raises what uploading and asking raise."""
    from carrel.cli.hired import hired
    from carrel.cli.set_tenants import filled

    done = []
    async with hired(carrel.desk) as worker:
        for labelled in sets:
            async with filled(carrel, labelled, worker=worker, keep=keep) as place:
                done.append(await measured(carrel, place, labelled, foreign))
        facts = await demonstrated(carrel, worker=worker, keep=keep) if demo else None
    return done, facts


async def demonstrated(carrel: "Application", *, worker: "HiredWorker", keep: bool) -> "FactFindings":
    """The demo's organisations, each in a tenant of its own. Raises what uploading and asking raise."""
    from carrel.cli.progress import counting
    from carrel.cli.set_tenants import filled
    from carrel.cli.tour.corpus import labelled
    from carrel.evaluate.facts import FactEvaluation, facts_put
    from carrel.evaluate.pipeline import Reader

    organisations = labelled()
    async with AsyncExitStack() as stay:
        places = []
        for one in organisations:
            place = await stay.enter_async_context(filled(carrel, one.shelf, worker=worker, keep=keep))
            places.append((one, Reader(place.principal, place.documents)))
        with counting(facts_put(organisations), "Asking the demo") as tell:
            return await FactEvaluation(carrel.asking, carrel.chats, tell=tell).run(places)


async def measured(
    carrel: "Application", place: "Filled", labelled: "LabelledSet", foreign: "Sequence[LabelledSet]"
) -> Evaluated:
    """Raises what asking raises."""
    from carrel.cli.progress import counting
    from carrel.evaluate.pipeline import Evaluation, Reader, questions_put

    began = time.perf_counter()
    with counting(questions_put(labelled, foreign), f"Asking {labelled.name}") as tell:
        reader = Reader(place.principal, place.documents)
        findings = await Evaluation(carrel.asking, tell=tell).run(reader, labelled, foreign)
    return Evaluated(findings, place, time.perf_counter() - began)


def shape_of(one: Evaluated) -> dict[str, object]:
    """What `--json` says of one set."""
    from carrel.evaluate.report import shape

    return {
        **shape(one.findings),
        "tenant": one.filled.tenant.slug,
        "unreadable": [{"key": bad.key, "code": bad.code, "detail": bad.detail} for bad in one.filled.bad],
        "seconds": {"ingest": round(one.filled.seconds, 1), "ask": round(one.asking_seconds, 1)},
    }


def _complain(place: "Filled") -> None:
    for bad in place.bad[:_NAMED]:
        note(f"{bad.key}: {bad.detail} ({bad.code})")
    note(f"{len(place.bad)} documents of {place.tenant.slug} could not be read; the numbers are without them.")
