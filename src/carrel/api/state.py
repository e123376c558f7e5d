"""The running application, as the routes reach it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request

from carrel.wiring import Application

Opening = Callable[[], AbstractAsyncContextManager[Application]]


def application_of(request: Request) -> Application:
    application = request.app.state.application
    assert isinstance(application, Application)
    return application


async def _application(request: Request) -> Application:
    return application_of(request)


App = Annotated[Application, Depends(_application)]


@asynccontextmanager
async def _beside(chore: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(chore())
        try:
            yield
        finally:
            task.cancel()


def lifespan(
    opening: Opening, beside: Callable[[], Coroutine[Any, Any, None]]
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """The application is open as long as the server runs, and until what nobody reads any more is kept.

    `beside` runs as long, and is cancelled in the end; what answers need is prepared while the server runs already.
    """

    @asynccontextmanager
    async def span(app: FastAPI) -> AsyncIterator[None]:
        async with (
            opening() as application,
            _beside(application.refusals.run),
            _beside(application.watching.run),
            _beside(application.asking.prepare),
            _beside(beside),
        ):
            app.state.application = application
            try:
                yield
            finally:
                await application.turns.drain()

    return span
