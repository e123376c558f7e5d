"""Where a command does its work: the office, or the whole application, opened for one errand."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from carrel.wiring import Application, Office, Settings

T = TypeVar("T")


def settings_in_force() -> "Settings":
    """Also puts the logs in order: a command shows warnings only. Raises SettingsError."""
    from carrel import wiring

    settings = wiring.load()
    wiring.configure("warning" if settings.log_level == "info" else settings.log_level)
    return settings


def in_office(errand: Callable[["Office"], Awaitable[T]]) -> T:
    """Everything but asking; quick to open. Raises the errand's refusals, SettingsError, SchemaError, Unavailable."""
    import asyncio

    from carrel import wiring

    settings = settings_in_force()

    async def visit() -> T:
        async with wiring.office(settings) as office:
            return await errand(office)

    return asyncio.run(visit())


def in_application(errand: Callable[["Application"], Awaitable[T]]) -> T:
    """As `in_office`, and asking as well, for which the embedder is loaded."""
    import asyncio

    from carrel import wiring

    settings = settings_in_force()

    async def visit() -> T:
        async with wiring.running(settings) as application:
            return await errand(application)

    return asyncio.run(visit())
