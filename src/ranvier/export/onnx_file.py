"""A network as an ONNX file."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.export.traced import Traced, pt2
from ranvier.extras import needed


@dataclass(frozen=True)
class Onnx:
    """A network as ONNX: `model` is torch's `ONNXProgram`, `traced` the program from which it was made."""

    model: torch.onnx.ONNXProgram
    traced: Traced

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of its inputs, in order."""
        return self.traced.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of its outputs, in order."""
        return self.traced.outputs

    @property
    def steps(self) -> int | None:
        """The number of steps of its input; None if it is free, or if the program is one single step."""
        return self.traced.steps

    def initial(self, batch: int) -> dict[str, Tensor]:
        """Return the state before the first step: {name of an input: tensor}."""
        return self.traced.initial(batch)

    def save(self, path: str | Path) -> None:
        """Write the file."""
        self.model.save(str(path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Within this block, silence messages of torch, such as that torchvision is missing."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    outer, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = outer


def onnx(net: nn.Module, sample: Any, *, step: bool = False) -> Onnx:
    """Convert a network to ONNX, for whole sequences, or for one step with the state as inputs and outputs.

    Arguments and errors are those of `pt2`. The number of samples is free, and so is the number of steps unless a layer
    fixes it; the loop over time is ONNX's operator Scan. It needs the extra `onnx`; the file runs in onnxruntime and
    others.

    >>> import torch, ranvier, onnxruntime
    >>> net, x = ranvier.Sequential(torch.nn.Linear(3, 4), ranvier.LIF()), torch.rand(10, 2, 3)
    >>> one = ranvier.export.onnx(net, x, step=True)
    >>> run = onnxruntime.InferenceSession(one.model.model_proto.SerializeToString())  # or one.save("step.onnx")
    >>> state = {name: s.numpy() for name, s in one.initial(batch=2).items()}
    >>> y, v = run.run(None, {"x": x[0].numpy(), **state})
    >>> [i.name for i in run.get_inputs()], [o.name for o in run.get_outputs()]
    (['x', 'before.1.v'], ['y', 'after.1.v'])
    """
    with needed("export.onnx"):
        import onnxscript  # noqa: F401
    traced = pt2(net, sample, step=step)
    names = {"input_names": list(traced.inputs), "output_names": list(traced.outputs)}
    with _quiet():
        model = torch.onnx.export(traced.program, dynamo=True, verbose=False, **names)  # type: ignore[arg-type]
    assert model is not None
    return Onnx(model, traced)
