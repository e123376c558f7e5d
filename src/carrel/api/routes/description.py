"""The surface describes itself: for programs and for people."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

from carrel.api.pages import STYLE, render
from carrel.api.security import GuardedRoute

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)


@router.get("/openapi.json", name="openapi_document")
async def openapi_document(request: Request) -> JSONResponse:
    return JSONResponse(request.app.openapi())


@router.get("/docs", name="docs")
async def docs(request: Request) -> HTMLResponse:
    return HTMLResponse(render(request.app.openapi()))


@router.get("/docs/style.css", name="docs_style")
async def docs_style() -> PlainTextResponse:
    return PlainTextResponse(STYLE, media_type="text/css")
