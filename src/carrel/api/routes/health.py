"""Is it alive, and does it take requests."""

from typing import Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from carrel.api.problems import MEDIA_TYPE, problem
from carrel.api.security import GuardedRoute
from carrel.api.state import App

router = APIRouter(prefix="/health", tags=["health"], route_class=GuardedRoute)


class Live(BaseModel):
    status: Literal["live"] = "live"


class Ready(BaseModel):
    status: Literal["ready"] = "ready"


@router.get("/live", name="live")
async def live() -> Live:
    """200 whenever the server listens; it asks nothing else."""
    return Live()


@router.get("/ready", name="ready", response_model=Ready, responses={503: {}})
async def ready(app: App) -> Ready | JSONResponse:
    """200 when requests can be answered, else 503 with the reasons."""
    found = await app.health.ready()
    if found.ok:
        return Ready()
    said = problem(503, "not_ready", "Requests cannot be answered now.").model_dump()
    return JSONResponse({**said, "reasons": list(found.reasons)}, 503, {"Retry-After": "2"}, MEDIA_TYPE)
