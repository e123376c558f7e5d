"""The embedded PostgreSQL: one server for all processes of one CARREL_HOME, from the wheel's binaries."""

from carrel.adapters.postgres.bootstrap import bootstrap
from carrel.adapters.postgres.embedded import EmbeddedPostgres
from carrel.adapters.postgres.endpoint import Endpoint
from carrel.adapters.postgres.niceness import yield_like_us

__all__ = ["EmbeddedPostgres", "Endpoint", "bootstrap", "yield_like_us"]
