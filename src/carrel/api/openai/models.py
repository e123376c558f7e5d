"""Models: bots by their names, `carrel` for all that the credential may read, and the embedder."""

from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel

from carrel.api.openai.lists import Identified, seconds
from carrel.api.schemas.types import is_identifier
from carrel.api.security import GuardedRoute, MayRead
from carrel.api.state import App
from carrel.domain.access import Principal
from carrel.domain.errors import NotFound
from carrel.domain.ids import BotId
from carrel.domain.library import Bot
from carrel.wiring import Application

router = APIRouter(prefix="/openai/v1/models", tags=["openai"], route_class=GuardedRoute)

EVERYTHING: Final = "carrel"
_PAGE: Final = 200
_LONG_AGO: Final = 1735689600  # 2025-01-01: what has no beginning of its own must name one


class NoSuchModel(NotFound):
    """Foreign, absent and invisible look the same here too."""

    default_code = "model_not_found"

    def __init__(self) -> None:
        super().__init__()
        self.detail = "There is no such model that you may use: GET /openai/v1/models lists them."


class ModelView(Identified):
    """`id` is what requests name: a bot's name, or its id where the name is taken; `bot_id` is good as well."""

    object: Literal["model"] = "model"
    created: int
    owned_by: str
    bot_id: UUID | None = None


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelView]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which bot answers, None for none in particular; `name` is told as it was asked for."""

    name: str
    bot: BotId | None


@router.get("")
async def openai_list_models(principal: MayRead, app: App) -> ModelList:
    """The bots that the credential sees; `carrel`, which reads all that it may read; and the embedder."""
    data, cursor = [_everything(), _embedder(app)], None
    while True:
        page = await app.bots.listed(principal, limit=_PAGE, cursor=cursor)
        data += [_view(bot) for bot in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return ModelList(data=data)


@router.get("/{model:path}")
async def openai_get_model(principal: MayRead, app: App, model: str) -> ModelView:
    """One model, by name or by a bot's id."""
    if model == EVERYTHING:
        return _everything()
    if model == app.embeddings.name:
        return _embedder(app)
    return _view(await _bot(principal, app, model))


async def chosen(principal: Principal, app: Application, model: str) -> Chosen:
    """Raises NoSuchModel."""
    if model == EVERYTHING:
        return Chosen(model, None)
    return Chosen(model, (await _bot(principal, app, model)).id)


async def _bot(principal: Principal, app: Application, model: str) -> Bot:
    """By id first: no name can hide another bot."""
    if is_identifier(model):
        try:
            return await app.bots.get(principal, BotId(UUID(model)))
        except NotFound as error:
            raise NoSuchModel from error
    found = await app.bots.named(principal, model) if "\x00" not in model else None
    if found is None:
        raise NoSuchModel
    return found


def _view(bot: Bot) -> ModelView:
    is_plain = bot.name != EVERYTHING and not is_identifier(bot.name)
    return ModelView(
        id=bot.name if is_plain else str(bot.id), created=seconds(bot.created_at), owned_by="bot", bot_id=bot.id
    )


def _everything() -> ModelView:
    return ModelView(id=EVERYTHING, created=_LONG_AGO, owned_by="carrel")


def _embedder(app: Application) -> ModelView:
    return ModelView(id=app.embeddings.name, created=_LONG_AGO, owned_by="embedder")
