"""The command line: `carrel`, a door like the others. Refusals become exit codes here, and nowhere else."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from carrel.cli import (
    ask,
    audit,
    bots,
    chats,
    credentials,
    demonstrate,
    doctor,
    documents,
    evaluate,
    formats,
    groups,
    ingest,
    keys,
    members,
    migrate,
    models,
    quotas,
    refreshes,
    rotation,
    serve,
    tenants,
    users,
    webhooks,
)
from carrel.cli.terminal import INTERRUPTED, REFUSED, USAGE, say_json, say_refusal
from carrel.domain.errors import Refusal

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Begin with: carrel demo     |     Every command has --help with an example, and --json.",
)
for part in (serve, migrate, demonstrate, ingest, ask, evaluate, doctor, formats):
    app.add_typer(part.app)
app.add_typer(quotas.usage_app)
for name, family in (
    ("tenants", tenants),
    ("keys", keys),
    ("members", members),
    ("groups", groups),
    ("users", users),
    ("credentials", credentials),
    ("webhooks", webhooks),
    ("sources", refreshes),
    ("bots", bots),
    ("chats", chats),
    ("documents", documents),
    ("models", models),
    ("audit", audit),
    ("quotas", quotas),
    ("secrets", rotation),
):
    app.add_typer(family.app, name=name)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"carrel {version('carrel')}")
        raise typer.Exit


@app.callback()
def carrel(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Ask your own documents: many organisations, one deployment, and nobody reads at somebody else's desk.

    Exit codes: 0 done, 1 refused or failed (one line on stderr says why), 2 wrong usage.
    """


def run(arguments: Sequence[str]) -> int:
    """The exit code. With `--json`, stdout holds one value also when something was refused."""
    as_json = "--json" in arguments
    try:
        app(args=list(arguments), prog_name="carrel")
    except Refusal as refusal:
        say_refusal(refusal, as_json=as_json)
        return REFUSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else REFUSED
        if as_json and code == USAGE:
            say_json({"error": {"code": "usage", "detail": "The command line is wrong: see stderr."}})
        return code
    return 0


def main() -> None:
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
