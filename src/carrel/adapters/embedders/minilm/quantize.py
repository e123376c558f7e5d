"""From single precision to static int8: watch the encoder read, smooth its outliers, choose the scales."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import onnx
from numpy.typing import NDArray

from carrel.adapters.embedders.minilm.graph import VENDOR, Draft, Float, encode
from carrel.adapters.embedders.minilm.parts import Encoder, Linear
from carrel.adapters.embedders.minilm.session import Session
from carrel.adapters.embedders.minilm.smooth import TINY, Seen, Watched, smooth
from carrel.ports.embedder import Vector

THREADS = 2
Texts = Sequence[Sequence[int]]


class Watching(Float):
    """Single precision that also gives, for each product, the range of what goes into it."""

    def __init__(self) -> None:
        self.sites: list[str] = []

    def product(self, draft: Draft, x: str, linear: Linear) -> str:
        self.sites.append(linear.site)
        axes = draft.constant(np.array([0, 1]))
        draft.outputs += [draft.add("ReduceMin", x, axes, keepdims=0), draft.add("ReduceMax", x, axes, keepdims=0)]
        return super().product(draft, x, linear)


class Int8:
    """Weights of `bits` bits, a scale for each column; what they multiply has 8 bits and one scale, fixed before."""

    def __init__(self, watched: Watched, bits: int) -> None:
        self._watched = watched
        self._greatest = 2 ** (bits - 1) - 1

    def words(self, draft: Draft, table: Vector) -> str:
        rows, scale = _whole(table, axis=1, greatest=127)
        numbers = draft.add("Cast", draft.add("Gather", draft.constant(rows), "ids"), to=onnx.TensorProto.FLOAT)
        return draft.add("Mul", numbers, draft.add("Gather", draft.constant(scale), "ids"))

    def product(self, draft: Draft, x: str, linear: Linear) -> str:
        x_scale, x_zero = (draft.constant(value) for value in _range(self._watched[linear.site]))
        columns, scale = _whole(linear.weight, axis=0, greatest=self._greatest)
        weight, w_scale = draft.constant(columns), draft.constant(scale[0])
        w_zero = draft.constant(np.zeros(scale.size, np.int8))
        whole = draft.add("QuantizeLinear", x, x_scale, x_zero)
        inputs = (whole, weight, x_scale, w_scale, x_zero, w_zero, draft.constant(linear.bias))
        return draft.add("MatMulIntegerToFloat", *inputs, domain=VENDOR)


def quantize(encoder: Encoder, texts: Texts, *, bits: int) -> onnx.ModelProto:
    """The encoder in int8, calibrated on `texts`: token ids with the model's marks."""
    smoothed, watched = smooth(encoder, watch(encoder, texts))
    return encode(smoothed, Int8(watched, bits))


def watch(encoder: Encoder, texts: Texts) -> Watched:
    watching = Watching()
    encoder, texts = _with_words_of(texts, encoder)
    session = Session(encode(encoder, watching).SerializeToString())
    with ThreadPoolExecutor(THREADS) as pool:
        runs = [outputs[1:] for outputs in pool.map(session.run, texts)]
    ranges = [np.stack(values) for values in zip(*runs, strict=True)]
    lows, highs = ranges[::2], ranges[1::2]
    return {site: Seen(low, high) for site, low, high in zip(watching.sites, lows, highs, strict=True)}


def _with_words_of(texts: Texts, encoder: Encoder) -> tuple[Encoder, Texts]:
    """The other 29,000 words are half of the weights: to write and read them would take as long as the texts do."""
    used = sorted({word for text in texts for word in text})
    places = {word: place for place, word in enumerate(used)}
    return replace(encoder, words=encoder.words[used]), [[places[word] for word in text] for text in texts]


def _whole(table: Vector, *, axis: int, greatest: int) -> tuple[NDArray[np.int8], Vector]:
    """Whole numbers from -greatest to greatest, and the scale of each row or column."""
    reach = np.maximum(table.max(axis=axis, keepdims=True), -table.min(axis=axis, keepdims=True))
    scale: Vector = np.maximum(reach, TINY) / np.float32(greatest)
    numbers = table / scale
    return np.rint(numbers, out=numbers).astype(np.int8), scale


def _range(seen: Seen) -> tuple[Vector, NDArray[np.uint8]]:
    """The scale and the zero of 8 bits that reach from the least to the greatest value; 0 itself is held exactly.

    The extremes count in full: cutting off the rarest values costs more than it gains.
    """
    low, high = min(float(seen.low.min()), 0.0), max(float(seen.high.max()), 0.0)
    scale = max(high - low, float(TINY)) / 255
    return np.array(scale, np.float32), np.array(round(-low / scale), np.uint8)
