"""all-MiniLM-L6-v2 without PyTorch: `prepare` gives the Embedder, `install` takes weights from a file."""

from carrel.adapters.embedders.minilm.cache import prepare
from carrel.adapters.embedders.minilm.encoder import MiniLM
from carrel.adapters.embedders.minilm.weights import install

__all__ = ["MiniLM", "install", "prepare"]
