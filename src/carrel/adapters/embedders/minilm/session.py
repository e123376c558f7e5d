"""An onnxruntime session that runs one text at a time: no slower than batches, and no vector depends on others."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np

from carrel.domain.errors import Unavailable
from carrel.ports.embedder import Vector


class Session:
    """`run` may be called by several threads at once; each call uses one. Raises Unavailable (`model_failed`)."""

    def __init__(self, model: Path | bytes) -> None:
        from onnxruntime.capi.onnxruntime_inference_collection import InferenceSession
        from onnxruntime.capi.onnxruntime_pybind11_state import RunOptions, SessionOptions

        options = SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # a plan for every length of text is memory, and no time gained
        with _refusals():
            self._session = InferenceSession(
                model,
                options,
                providers=["CPUExecutionProvider"],
                # the fused kernel takes a quarter of a run, the two that it replaces a twentieth
                disabled_optimizers=["SkipLayerNormFusion"],
            )
        self._resting = RunOptions()
        self._resting.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def run(self, ids: Sequence[int], *, rests: bool = False) -> list[Vector]:
        """One that `rests` gives back afterwards what long texts needed of memory, for which the next has to ask."""
        options = self._resting if rests else None
        with _refusals():
            outputs = self._session.run(None, {"ids": np.array([ids], dtype=np.int64)}, options)
        return cast("list[Vector]", outputs)


@contextmanager
def _refusals() -> Iterator[None]:
    from onnxruntime.capi import onnxruntime_pybind11_state as ort

    try:
        yield
    except (
        ort.Fail,
        ort.InvalidArgument,
        ort.InvalidGraph,
        ort.InvalidProtobuf,
        ort.NoSuchFile,
        ort.NotImplemented,
        ort.RuntimeException,
    ) as error:
        raise Unavailable(f"The embedding model does not run: {error}", code="model_failed") from error
