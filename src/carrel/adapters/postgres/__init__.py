"""The embedded PostgreSQL: one server for all processes of one CARREL_HOME, from the wheel's binaries."""

from carrel.adapters.postgres.bootstrap import bootstrap
from carrel.adapters.postgres.embedded import EmbeddedPostgres
from carrel.adapters.postgres.endpoint import Endpoint

__all__ = ["EmbeddedPostgres", "Endpoint", "bootstrap"]
