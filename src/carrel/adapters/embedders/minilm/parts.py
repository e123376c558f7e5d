"""The encoder's numbers: read from the published weights, and grouped as the graph uses them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from carrel.ports.embedder import Vector

LAYERS = 6
POSITIONS = 256  # the model was trained on texts of at most 256 tokens
Tensors = Mapping[str, Vector]


@dataclass(frozen=True, slots=True)
class Linear:
    """`x @ weight + bias`, with a weight of shape [inputs, outputs]. `site` names it within the encoder."""

    site: str
    weight: Vector
    bias: Vector


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer norm. `restore` undoes, for the residual sum, a smoothing that was folded into gamma and beta."""

    gamma: Vector
    beta: Vector
    restore: Vector | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """`qkv` holds query, key and value side by side. `shrink` smooths what Gelu gives."""

    qkv: Linear
    out: Linear
    attended: Norm
    up: Linear
    down: Linear
    produced: Norm
    shrink: Vector | None = None


@dataclass(frozen=True, slots=True)
class Encoder:
    """BERT with the layer norm after each sum."""

    words: Vector
    positions: Vector
    embedded: Norm
    layers: tuple[Layer, ...]


def read(weights: Path) -> Encoder:
    from safetensors.numpy import load_file

    tensors = load_file(weights)
    positions = tensors["embeddings.position_embeddings.weight"][:POSITIONS]
    return Encoder(
        words=tensors["embeddings.word_embeddings.weight"],
        # every text is of the first segment
        positions=positions + tensors["embeddings.token_type_embeddings.weight"][0],
        embedded=_norm(tensors, "embeddings.LayerNorm"),
        layers=tuple(_layer(tensors, number) for number in range(LAYERS)),
    )


def _layer(tensors: Tensors, number: int) -> Layer:
    prefix = f"encoder.layer.{number}"
    inner = [f"{prefix}.attention.self.{part}" for part in ("query", "key", "value")]
    return Layer(
        qkv=_linear(tensors, f"{number}.qkv", *inner),
        out=_linear(tensors, f"{number}.out", f"{prefix}.attention.output.dense"),
        attended=_norm(tensors, f"{prefix}.attention.output.LayerNorm"),
        up=_linear(tensors, f"{number}.up", f"{prefix}.intermediate.dense"),
        down=_linear(tensors, f"{number}.down", f"{prefix}.output.dense"),
        produced=_norm(tensors, f"{prefix}.output.LayerNorm"),
    )


def _linear(tensors: Tensors, site: str, *names: str) -> Linear:
    weight = np.vstack([tensors[f"{name}.weight"] for name in names]).T
    return Linear(site, weight, np.hstack([tensors[f"{name}.bias"] for name in names]))


def _norm(tensors: Tensors, name: str) -> Norm:
    return Norm(tensors[f"{name}.weight"], tensors[f"{name}.bias"])
