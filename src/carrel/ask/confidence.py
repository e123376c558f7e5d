"""The curve that makes a confidence of what is seen in a passage: learned from labelled sets, kept as a small file.

Logistic regression (Cox, 1958) on few features. `make calibrate` writes the file; docs/decisions/0016 says what a
confidence means and how it was learned.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

VERSION: Final = 1
FEATURES: Final = ("cosine", "coverage", "unseen", "unknown_name")
_FILE: Final = "confidence.json"

Features = Sequence[float]
"""The numbers of one passage, in the order of `FEATURES`."""


class CurveError(ValueError):
    """A file of another form, or for other features than this code sees."""


@dataclass(frozen=True, slots=True)
class Curve:
    """`enough` is the confidence from which one passage suffices, `beside` the one from which others join it."""

    bias: float
    weights: tuple[float, ...]
    enough: float
    beside: float

    def confidence(self, features: Features) -> float:
        """0 to 1, the same for the same features whoever asks."""
        return logistic(self.bias + sum(w * x for w, x in zip(self.weights, features, strict=True)))


@cache
def stored() -> Curve:
    """What this version of Carrel was delivered with. Raises CurveError."""
    return read((files("carrel.ask") / _FILE).read_text("utf-8"))


def read(text: str) -> Curve:
    """Raises CurveError: a curve for other features would give numbers without a meaning."""
    try:
        content = json.loads(text)
        if content["version"] != VERSION:
            raise CurveError(f"This code reads version {VERSION} of a curve, not {content['version']!r}.")
        weights = content["weights"]
        if tuple(weights) != FEATURES:
            raise CurveError(f"The curve's features are {', '.join(weights)}; this code sees {', '.join(FEATURES)}.")
        curve = Curve(
            bias=_number(content["bias"]),
            weights=tuple(map(_number, weights.values())),
            enough=_number(content["enough"]),
            beside=_number(content["beside"]),
        )
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise CurveError(f"This is not a curve: {error!r}") from error
    if not 0 < curve.beside <= curve.enough < 1:
        raise CurveError("The thresholds must be 0 < beside <= enough < 1.")
    return curve


def written(curve: Curve, source: Mapping[str, object]) -> str:
    """The file's text. `source` says from which data the curve was learned and how well it did; nothing reads it."""
    content = {
        "version": VERSION,
        "bias": round(curve.bias, 4),
        "weights": {name: round(weight, 4) for name, weight in zip(FEATURES, curve.weights, strict=True)},
        "enough": round(curve.enough, 4),
        "beside": round(curve.beside, 4),
        "source": dict(source),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def logistic(log_odds: float) -> float:
    """1 / (1 + exp(-x)), for any x."""
    if log_odds >= 0:
        return 1 / (1 + math.exp(-log_odds))
    power = math.exp(log_odds)
    return power / (1 + power)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise CurveError(f"{value!r} is not a number.")
    return float(value)
