"""Outliers moved out of the activations and into the weights, so that one scale fits all channels.

As in SmoothQuant (Xiao et al., 2022, arXiv:2211.10438): a channel that is large is divided where it arises, and
multiplied in the weights that read it. In exact arithmetic nothing changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from carrel.adapters.embedders.minilm.parts import Encoder, Layer, Linear, Norm
from carrel.ports.embedder import Vector

TYPICAL = 90  # the percentile, over texts, of a channel's greatest size: one odd text does not decide
SHARE = 0.75  # how much of an outlier moves into the weights
OUTLIER = 3  # times the median channel, after Gelu; there the rule with SHARE makes things worse
TINY = np.float32(1e-6)  # a channel that is always 0 must not be divided by


@dataclass(frozen=True, slots=True)
class Seen:
    """What went into a product: each channel's least and greatest value, as arrays of shape [texts, channels]."""

    low: Vector
    high: Vector

    def typical(self) -> Vector:
        size = np.maximum(np.abs(self.low), np.abs(self.high))
        typical: Vector = np.percentile(size, TYPICAL, axis=0).astype(np.float32)
        return np.maximum(typical, TINY)

    def divided(self, scale: Vector) -> "Seen":
        return Seen(self.low / scale, self.high / scale)


Watched = Mapping[str, Seen]


def smooth(encoder: Encoder, watched: Watched) -> tuple[Encoder, Watched]:
    """An encoder that gives the same vectors, and what will go into its products. Both `watched` are by site."""
    scales: dict[str, Vector] = {}
    for layer in encoder.layers:
        scales |= {linear.site: _balance(linear, watched) for linear in (layer.qkv, layer.out, layer.up)}
        scales[layer.down.site] = _outliers(watched[layer.down.site])
    first, *others = (scales[layer.qkv.site] for layer in encoder.layers)
    layers = zip(encoder.layers, [*others, None], strict=True)
    smoothed = tuple(_smooth(layer, scales, following) for layer, following in layers)
    ranges = {site: seen.divided(scales[site]) for site, seen in watched.items()}
    return replace(encoder, embedded=_divided(encoder.embedded, first), layers=smoothed), ranges


def _balance(linear: Linear, watched: Watched) -> Vector:
    weight = np.maximum(np.abs(linear.weight).max(axis=1), TINY)
    scale = watched[linear.site].typical() ** SHARE / weight ** (1 - SHARE)
    balanced: Vector = scale / np.exp(np.log(scale).mean())
    return balanced


def _outliers(seen: Seen) -> Vector:
    typical = seen.typical()
    excess: Vector = typical / np.float32(OUTLIER * np.median(typical))
    return np.maximum(excess, np.float32(1))


def _smooth(layer: Layer, scales: Mapping[str, Vector], following: Vector | None) -> Layer:
    qkv, out, up, down = (scales[part.site] for part in (layer.qkv, layer.out, layer.up, layer.down))
    # attention hands the values on, scale and all; queries and keys, the other two thirds, are left alone
    values = np.concatenate([np.ones(2 * len(out), np.float32), out])
    return Layer(
        qkv=replace(layer.qkv, weight=layer.qkv.weight * qkv[:, None] / values, bias=layer.qkv.bias / values),
        out=_multiplied(layer.out, out),
        attended=_divided(layer.attended, up),
        up=_multiplied(layer.up, up),
        down=_multiplied(layer.down, down),
        produced=layer.produced if following is None else _divided(layer.produced, following),
        shrink=np.reciprocal(down),
    )


def _multiplied(linear: Linear, scale: Vector) -> Linear:
    return replace(linear, weight=linear.weight * scale[:, None])


def _divided(norm: Norm, scale: Vector) -> Norm:
    return Norm(norm.gamma / scale, norm.beta / scale, restore=scale)
