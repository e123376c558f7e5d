"""Settings become an application: the one place where choices are made."""

from carrel.settings import Settings
from carrel.telemetry import configure
from carrel.wiring.application import (
    Application,
    Bench,
    Office,
    Parts,
    assemble,
    office,
    running,
    tasks,
    working,
)
from carrel.wiring.database import Base, migrate
from carrel.wiring.embedders import at_hand as embedder_at_hand
from carrel.wiring.examination import doctor
from carrel.wiring.fetching import fetching
from carrel.wiring.home import Secrets, SettingsError, load, secrets_of
from carrel.wiring.models import install_model, model
from carrel.wiring.opened import Opened
from carrel.wiring.parsing import endings, formats
from carrel.wiring.providers import at_hand as models_at_hand
from carrel.wiring.rotation import Rotated, retire, rotate

__all__ = [
    "Application",
    "Base",
    "Bench",
    "Office",
    "Opened",
    "Parts",
    "Rotated",
    "Secrets",
    "Settings",
    "SettingsError",
    "assemble",
    "configure",
    "doctor",
    "embedder_at_hand",
    "endings",
    "fetching",
    "formats",
    "install_model",
    "load",
    "migrate",
    "model",
    "models_at_hand",
    "office",
    "retire",
    "rotate",
    "running",
    "secrets_of",
    "tasks",
    "working",
]
