"""The encoder written once as an ONNX graph, in whichever arithmetic is asked for."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from carrel.adapters.embedders.minilm.parts import Encoder, Layer, Linear, Norm
from carrel.ports.embedder import Vector

HEADS = 12
EPSILON = 1e-12
OPSET = 23  # the first with the standard Attention operator
IR_VERSION = 11  # the one that goes with it
VENDOR = "com.microsoft"


class Stream(NamedTuple):
    """What flows between blocks: `smooth` goes into products, `plain` into residual sums."""

    smooth: str
    plain: str


@dataclass(slots=True)
class Draft:
    """A graph in the making. Values are known by their names, as in ONNX."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self.split(operator, *inputs, parts=1, **attributes)[0]

    def split(self, operator: str, *inputs: str, parts: int, **attributes: Any) -> list[str]:
        outputs = [f"v{len(self.nodes)}.{part}" for part in range(parts)]
        self.nodes.append(helper.make_node(operator, inputs, outputs, **attributes))
        return outputs

    def constant(self, value: NDArray[Any]) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def model(self) -> onnx.ModelProto:
        ids = helper.make_tensor_value_info("ids", TensorProto.INT64, [1, "length"])
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self.outputs]
        graph = helper.make_graph(self.nodes, "encoder", [ids], outputs, self.constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(VENDOR, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


class Arithmetic(Protocol):
    """How numbers are held and multiplied. The rest of the graph is the same in every arithmetic."""

    def words(self, draft: Draft, table: Vector) -> str: ...

    def product(self, draft: Draft, x: str, linear: Linear) -> str: ...


class Float:
    """Single precision, as the model was trained."""

    def words(self, draft: Draft, table: Vector) -> str:
        return draft.add("Gather", draft.constant(table), "ids")

    def product(self, draft: Draft, x: str, linear: Linear) -> str:
        return draft.add("Add", draft.add("MatMul", x, draft.constant(linear.weight)), draft.constant(linear.bias))


def encode(encoder: Encoder, arithmetic: Arithmetic) -> onnx.ModelProto:
    """Input `ids`, of shape [1, length] with the model's marks; first output the vector, [1, 384] and of length 1."""
    draft = Draft()
    embedded = draft.add("Add", arithmetic.words(draft, encoder.words), _positions(draft, encoder.positions))
    stream = _normalize(draft, embedded, encoder.embedded)
    for layer in encoder.layers:
        stream = _attend(draft, stream, layer, arithmetic)
        stream = _transform(draft, stream, layer, arithmetic)
    mean = draft.add("ReduceMean", stream.plain, draft.constant(np.array([1])), keepdims=0)
    draft.outputs.insert(0, draft.add("LpNormalization", mean, axis=-1, p=2))
    return draft.model()


def _attend(draft: Draft, stream: Stream, layer: Layer, arithmetic: Arithmetic) -> Stream:
    qkv = arithmetic.product(draft, stream.smooth, layer.qkv)
    heads = draft.split("Split", qkv, parts=3, axis=-1, num_outputs=3)
    context = draft.add("Attention", *heads, q_num_heads=HEADS, kv_num_heads=HEADS)
    attended = arithmetic.product(draft, context, layer.out)
    return _normalize(draft, draft.add("Add", attended, stream.plain), layer.attended)


def _transform(draft: Draft, stream: Stream, layer: Layer, arithmetic: Arithmetic) -> Stream:
    active = draft.add("Gelu", arithmetic.product(draft, stream.smooth, layer.up))
    if layer.shrink is not None:
        active = draft.add("Mul", active, draft.constant(layer.shrink))
    produced = arithmetic.product(draft, active, layer.down)
    return _normalize(draft, draft.add("Add", produced, stream.plain), layer.produced)


def _normalize(draft: Draft, x: str, norm: Norm) -> Stream:
    gamma, beta = draft.constant(norm.gamma), draft.constant(norm.beta)
    smooth = draft.add("LayerNormalization", x, gamma, beta, axis=-1, epsilon=EPSILON)
    if norm.restore is None:
        return Stream(smooth, smooth)
    return Stream(smooth, draft.add("Mul", smooth, draft.constant(norm.restore)))


def _positions(draft: Draft, positions: Vector) -> str:
    length = draft.add("Shape", "ids", start=1)
    zero = draft.constant(np.array([0]))
    return draft.add("Slice", draft.constant(positions), zero, length, zero)
