"""all-MiniLM-L6-v2 without PyTorch: `prepare` gives the Embedder, `install` takes weights, `look` says what is here."""

from carrel.adapters.embedders.minilm.cache import Condition, look, prepare
from carrel.adapters.embedders.minilm.encoder import MiniLM
from carrel.adapters.embedders.minilm.weights import install

__all__ = ["Condition", "MiniLM", "install", "look", "prepare"]
