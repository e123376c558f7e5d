"""The doctor's facts: what only the adapters know, gathered for the journey that judges it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from carrel.domain.errors import ModelFailed, Refusal
from carrel.operate.doctor import Mark, Patient, Remark, examine
from carrel.settings import Extractive, MiniLM, Settings, Smtp
from carrel.wiring import blobs, embedders, providers
from carrel.wiring.database import addresses, migrates_itself
from carrel.wiring.home import make_home
from carrel.wiring.models import model
from carrel.wiring.parsing import parsing

if TYPE_CHECKING:
    from carrel.adapters.embedders.minilm import Condition


async def doctor(settings: Settings, *, patience: float = 20.0) -> list[Remark]:
    """What is configured, reachable and wrong. Changes nothing, but starts an embedded database that sleeps."""
    embedded = settings.database.url is None
    patient = Patient(
        settings=list(_in_force(settings)),
        database=lambda: _serving_address(settings),
        advice=f"See {settings.folder}/postgres/log."
        if embedded
        else "Is CARREL_DATABASE__URL right, and does it run?",
        migrates_itself=migrates_itself(settings),
        embedder=lambda: _embedder(settings),
        model=lambda: _model(settings),
        blobs=lambda: blobs.remarks(settings),
        sandbox=lambda: _sandbox_report(settings),
    )
    return await examine(patient, patience=patience)


def _in_force(settings: Settings) -> Iterator[Remark]:
    yield Remark(Mark.GOOD, "home", f"Carrel keeps its own things in {settings.folder} (CARREL_HOME).")
    yield Remark(Mark.GOOD, "environment", f"This is {settings.environment} (CARREL_ENVIRONMENT).")
    yield _mail(settings)
    if settings.database.url is None:
        yield Remark(Mark.GOOD, "address", "The database is the embedded one, in the home folder.")
        return
    parts = urlsplit(settings.database.url.get_secret_value())
    where = f"{parts.hostname}:{parts.port or 5432}{parts.path} as {parts.username}"
    yield Remark(Mark.GOOD, "address", f"The database is {where} (CARREL_DATABASE__URL).")


def _mail(settings: Settings) -> Remark:
    if isinstance(settings.mail, Smtp):
        return Remark(Mark.GOOD, "mail", f"Mail is sent by {settings.mail.host}:{settings.mail.port} (CARREL_MAIL__…).")
    mark = Mark.WRONG if settings.environment == "production" else Mark.NOTE
    sentence = f"Mail is sent to nobody: letters are files in {settings.folder / 'outbox'}. Set CARREL_MAIL__KIND=smtp."
    return Remark(mark, "mail", sentence)


@asynccontextmanager
async def _serving_address(settings: Settings) -> AsyncIterator[str]:
    make_home(settings.folder)
    async with addresses(settings) as found:
        yield found.app


async def _embedder(settings: Settings) -> Remark:
    """A provider's is asked once, in earnest: nothing else tells whether key, model and dimension are right."""
    chosen = settings.embedder
    if isinstance(chosen, MiniLM):
        return _weights(await asyncio.to_thread(model, settings))
    try:
        loaded = await embedders.load(settings)
        try:
            await loaded.questions.embed([loaded.questions.tokenize("Does it answer?").ids])
        finally:
            await loaded.close()
    except Refusal as refusal:
        where = f"{chosen.kind}/{chosen.model} at {embedders.place_of(chosen)}"
        return Remark(Mark.WRONG, "embedder", f"{where}: {refusal.detail} ({refusal.code})")
    profile = loaded.texts.profile
    sentence = f"{profile.name} at {embedders.place_of(chosen)} answers with {profile.dimension:,} numbers."
    return Remark(Mark.GOOD, "embedder", sentence)


async def _model(settings: Settings) -> Remark:
    """Asked once, in earnest, as the embedder is: a few tokens tell whether address, key and name are right."""
    if isinstance(settings.model, Extractive):
        return Remark(Mark.GOOD, "model", "Answers are the evidence's own sentences: no model is called.")
    name = f"{settings.model.kind}:{settings.model.model}"
    try:
        await providers.try_out(settings)
    except ModelFailed as failure:
        return Remark(Mark.WRONG, "model", f"{name}: {failure.detail} ({failure.code}, CARREL_MODEL__…)")
    return Remark(Mark.GOOD, "model", f"{name} answers.")


def _weights(found: "Condition") -> Remark:
    if found.built:
        return Remark(Mark.GOOD, "embedder", f"The embedder {found.name} is built and ready.")
    if found.weights is not None:
        return Remark(Mark.NOTE, "embedder", f"The weights of {found.name} are here; the first start builds it.")
    sentence = f"The weights of {found.name} are missing: run `make setup` or `carrel models install FILE`."
    return Remark(Mark.WRONG, "embedder", sentence)


async def _sandbox_report(settings: Settings) -> list[tuple[bool, str]]:
    async with parsing(settings) as parser:
        return [(wall.stands, wall.sentence) for wall in await parser.sandbox_report()]
