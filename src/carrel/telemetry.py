"""Logs: one event a line, as JSON or (on a terminal) for the eye, always on stderr."""

import logging
import sys

import structlog

# Also at `debug` they are heard from warnings on: those of providers would tell whole prompts.
_TALKATIVE = (
    "aiobotocore", "alembic", "anthropic", "any_llm", "asyncio", "botocore", "httpcore", "httpcore2", "httpx", "httpx2",
    "mcp", "ollama", "openai", "uvicorn",
)  # fmt: skip


def configure(level: str, *, pretty: bool | None = None) -> None:
    """Our events and the libraries' records in one form. Local variables never stand in a traceback: they hold text."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(shared, pretty=sys.stderr.isatty() if pretty is None else pretty))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for library in _TALKATIVE:
        logging.getLogger(library).setLevel(max(root.level, logging.WARNING))


def request_id() -> str | None:
    """Of the request that is served now; None outside of one."""
    found = structlog.contextvars.get_contextvars().get("request_id")
    return None if found is None else str(found)


def _formatter(shared: list[structlog.typing.Processor], *, pretty: bool) -> logging.Formatter:
    tracebacks = structlog.processors.ExceptionRenderer(
        structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    )
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if pretty
        else [tracebacks, structlog.processors.JSONRenderer()]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    )
