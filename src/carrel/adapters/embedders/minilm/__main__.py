"""The process in which `prepare` builds the model: its memory ends with it."""

import sys
from pathlib import Path

from carrel.adapters.embedders.minilm.cache import Built, build
from carrel.adapters.embedders.minilm.weights import Source

if __name__ == "__main__":
    weights, tokenizer, folder, bits = sys.argv[1:]
    build(Built(Path(folder), int(bits)), Source(Path(weights), Path(tokenizer)))
