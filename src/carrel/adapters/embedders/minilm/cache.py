"""The quantized model in HOME/models: built once, by a process that ends, and only loaded afterwards."""

import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from carrel.adapters.embedders.minilm.encoder import MiniLM
from carrel.adapters.embedders.minilm.place import copy, placing
from carrel.adapters.embedders.minilm.tokenizer import WordPieces, marked
from carrel.adapters.embedders.minilm.weights import MODEL, TOKENIZER_SHA256, WEIGHTS_SHA256, Source, find
from carrel.domain.errors import Unavailable

# Static int8 with smoothing. Whatever changes the vectors (graph, rounding, calibration texts) needs a new letter here:
# an index may hold vectors of one name only.
RECIPE = "s"
CALIBRATION = Path(__file__).with_name("calibration.txt")
X86 = frozenset({"x86_64", "AMD64"})
VNNI = frozenset({"avx512_vnni", "avx_vnni", "avxvnni"})
BUILD_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Built:
    """The model as this processor runs it best."""

    folder: Path
    bits: int

    @property
    def name(self) -> str:
        return f"{MODEL}/{WEIGHTS_SHA256[:8]}/int{self.bits}{RECIPE}"

    @property
    def model(self) -> Path:
        return self.folder / f"{MODEL}-int{self.bits}{RECIPE}-{WEIGHTS_SHA256[:8]}.onnx"

    @property
    def tokenizer(self) -> Path:
        return self.folder / f"{MODEL}-{TOKENIZER_SHA256[:8]}.tokenizer.json"

    def exists(self) -> bool:
        return self.model.exists() and self.tokenizer.exists()


@dataclass(frozen=True, slots=True)
class Condition:
    """Which model this processor runs, whether it is built, and where its genuine weights lie, if they are here."""

    name: str
    built: bool
    weights: Path | None


def prepare(home: Path, *, threads: int) -> MiniLM:
    """Builds the model where it is not yet built, which takes about a second, and loads it.

    Any number of processes may call this at once. Raises Unavailable (`model_missing`, `model_not_built`,
    `model_failed`).
    """
    built = _built(home)
    if not built.exists():
        _build_apart(built, find(home))
    return MiniLM(built.model, built.tokenizer, threads=threads, name=built.name)


def look(home: Path) -> Condition:
    """Without building or loading anything."""
    built = _built(home)
    try:
        weights = find(home).weights
    except Unavailable:
        weights = None
    return Condition(built.name, built.exists(), weights)


def build(built: Built, source: Source) -> None:
    """Leaves what another process has built meanwhile. Takes 300 MB of memory: call it in a process that ends."""
    from carrel.adapters.embedders.minilm.parts import read
    from carrel.adapters.embedders.minilm.quantize import quantize

    with placing(built.model) as part:
        if not built.exists():
            copy(source.tokenizer, built.tokenizer)
            model = quantize(read(source.weights), calibration(source.tokenizer), bits=built.bits)
            part.write_bytes(model.SerializeToString())


def calibration(tokenizer: Path) -> list[list[int]]:
    """Texts of many kinds, and fixed: from texts that differ, one name would come to mean two kinds of vectors."""
    pieces = WordPieces(tokenizer)
    return [marked(pieces.tokenize(text).ids) for text in CALIBRATION.read_text(encoding="utf-8").splitlines()]


def weight_bits(machine: str, cpuinfo: str) -> int:
    """x86 without VNNI sums pairs of products in 16 bits, which 8-bit weights can overflow."""
    return 7 if machine in X86 and VNNI.isdisjoint(cpuinfo.split()) else 8


def _built(home: Path) -> Built:
    return Built(home / "models", bits=weight_bits(platform.machine(), _cpuinfo()))


def _cpuinfo() -> str:
    file = Path("/proc/cpuinfo")
    return file.read_text(encoding="utf-8") if file.exists() else ""


def _build_apart(built: Built, source: Source) -> None:
    arguments = (source.weights, source.tokenizer, built.folder, built.bits)
    command = [sys.executable, "-m", "carrel.adapters.embedders.minilm", *map(str, arguments)]
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=True)
    except subprocess.CalledProcessError as error:
        raise _not_built(error.stderr.strip().rpartition("\n")[2] or str(error)) from error
    except subprocess.TimeoutExpired as error:
        raise _not_built(str(error)) from error


def _not_built(reason: str) -> Unavailable:
    return Unavailable(f"The embedding model could not be built: {reason}", code="model_not_built")
