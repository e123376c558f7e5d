"""Which embedder is used, and where its weights come from."""

from pathlib import Path
from typing import TYPE_CHECKING

from carrel.settings import Settings

if TYPE_CHECKING:
    from carrel.adapters.embedders.minilm import Condition


def install_model(settings: Settings, file: Path) -> None:
    """Raises Invalid (`wrong_model`, `model_file_missing`) for anything but the published weights."""
    from carrel.adapters.embedders import minilm

    minilm.install(file, settings.folder)


def model(settings: Settings) -> "Condition":
    """Which embedder is in use, and whether it is ready."""
    from carrel.adapters.embedders import minilm

    return minilm.look(settings.folder)
