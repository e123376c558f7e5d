"""Where the embedded server is and how to log in."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from carrel.domain.errors import Unavailable

HOST, SUPERUSER = "127.0.0.1", "postgres"


@dataclass(frozen=True)
class Endpoint:
    """Its text never shows a password; the urls hold one."""

    host: str
    port: int
    database: str
    owner: str
    owner_password: str = field(repr=False)
    app: str
    app_password: str = field(repr=False)
    superuser_password: str = field(repr=False)

    @property
    def app_url(self) -> str:
        return self._url(self.app, self.app_password)

    @property
    def owner_url(self) -> str:
        return self._url(self.owner, self.owner_password)

    @property
    def superuser_url(self) -> str:
        return self._url(SUPERUSER, self.superuser_password)

    def _url(self, user: str, password: str) -> str:
        return f"postgresql+asyncpg://{user}:{password}@{self.host}:{self.port}/{self.database}"


def read_endpoint(credentials: Path, *, port: int) -> Endpoint:
    """The database `carrel` of the server on this port."""
    try:
        secrets: dict[str, str] = json.loads(credentials.read_text("ascii"))
        owner, app, superuser = secrets["owner"], secrets["app"], secrets["superuser"]
    except (OSError, ValueError, KeyError) as error:
        raise Unavailable(
            f"The passwords of the embedded PostgreSQL cannot be read: bring {credentials} back from a backup."
        ) from error
    return Endpoint(HOST, port, "carrel", "carrel_owner", owner, "carrel_app", app, superuser)
