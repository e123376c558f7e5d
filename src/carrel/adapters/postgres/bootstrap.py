"""Makes roles, database and extension on a running embedded server."""

import subprocess
from pathlib import Path

from carrel.adapters.postgres.endpoint import SUPERUSER, Endpoint
from carrel.adapters.postgres.programs import wheel_programs
from carrel.adapters.postgres.supervisor import ENVIRONMENT
from carrel.domain.errors import Unavailable

SCRIPT = Path(__file__).with_name("bootstrap.sql")
PATIENCE = 30.0


def bootstrap(endpoint: Endpoint) -> None:
    """Idempotent, and safe in several processes at once. `dataclasses.replace(endpoint, database=…)` makes others.

    psql rather than asyncpg: it works the same inside and outside of an event loop, and the script can be read as one.
    """
    psql = [str(wheel_programs() / "psql"), "--no-psqlrc", "--quiet", "--tuples-only", "--no-password"]
    try:
        answer = subprocess.run(
            [*psql, "--set=ON_ERROR_STOP=1", f"--file={SCRIPT}"],
            env=_environment(endpoint),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"The database {endpoint.database} could not be prepared in {PATIENCE:.0f} s.") from error
    if answer.returncode != 0:
        raise Unavailable(_reason(endpoint, answer.stderr.strip()))


def _environment(endpoint: Endpoint) -> dict[str, str]:
    """Passwords travel here, because every user of the machine can read a command line."""
    return ENVIRONMENT | {
        "PGHOST": endpoint.host,
        "PGPORT": str(endpoint.port),
        "PGUSER": SUPERUSER,
        "PGDATABASE": "postgres",
        "PGPASSWORD": endpoint.superuser_password,
        "PGREQUIREAUTH": "scram-sha-256",  # the server proves that it knows the password too
        "PGSSLMODE": "disable",
        "CARREL_DATABASE": endpoint.database,
        "CARREL_OWNER": endpoint.owner,
        "CARREL_OWNER_PASSWORD": endpoint.owner_password,
        "CARREL_APP": endpoint.app,
        "CARREL_APP_PASSWORD": endpoint.app_password,
    }


def _reason(endpoint: Endpoint, said: str) -> str:
    if "password authentication failed" in said:
        return "The embedded PostgreSQL refuses our password: bring credentials.json back from the backup of its data."
    if "Connection refused" in said:
        return (
            f"The embedded PostgreSQL runs but not on this machine's port {endpoint.port}: containers cannot share it, "
            "set CARREL_DATABASE__URL to a server of its own."
        )
    return f"The database {endpoint.database} could not be prepared: {said}"
