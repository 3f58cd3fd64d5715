"""The nodes of `clock_driven`: those of `activation_based`, and `MultiStep*` nodes, which run sequences [T, N, ...].

A `MultiStep*` node stores its last output as `spike_seq`. Its attribute `v_seq`, the membrane after each step, is
computed when it is read.
"""

from typing import Any

from torch import Tensor

from ranvier.compat.spikingjelly.activation_based import neuron as _neuron
from ranvier.compat.spikingjelly.activation_based.base import MultiStepModule
from ranvier.compat.spikingjelly.activation_based.base import check_backend_library as check_backend  # noqa: F401
from ranvier.compat.spikingjelly.activation_based.neuron import *  # noqa: F403  # pyright: ignore[reportAssignmentType]


def _of_sequences(takes: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a node without the step mode, and with `backend` and `lava_s_cale`, which have no effect
    on Ranvier's kernels.
    """
    own = {k: v for k, v in takes.items() if k not in ("step_mode", "store_v_seq", "backend")}
    return {**own, "backend": "torch", "lava_s_cale": 64}


def _with_inference(takes: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a node with `cupy_fp32_inference` after those of the equation, as in `clock_driven`."""
    steps = {k: v for k, v in takes.items() if k in ("step_mode", "store_v_seq", "backend")}
    return {**{k: v for k, v in takes.items() if k not in steps}, "cupy_fp32_inference": False, **steps}


class _MultiStep(MultiStepModule):
    store_v_seq = False

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        node: Any = self
        self._seen, self._v_seq = (x_seq, dict(node.named_memories())), None
        self.spike_seq = super().multi_step_forward(x_seq)  # type: ignore[misc]
        return self.spike_seq

    @property
    def v_seq(self) -> Tensor | None:
        """The membrane after each step of the last sequence [T, N, ...]."""
        node: Any = self
        if self._v_seq is None and self._seen is not None:
            x_seq, before = self._seen
            after = dict(node.named_memories())
            node._memories.update(before)
            self._v_seq = node.carry(x_seq, ("v",))[1]["v"]
            node._memories.update(after)
        return self._v_seq

    @v_seq.setter
    def v_seq(self, value: Tensor | None) -> None:
        self._v_seq = value

    def reset(self) -> None:
        super().reset()  # type: ignore[misc]
        self._seen = self._v_seq = self.spike_seq = None

    _seen: Any = None
    _v_seq: Any = None
    spike_seq: Any = None


class IFNode(_neuron.IFNode):
    """`activation_based`'s IFNode. cupy_fp32_inference has no effect: in SpikingJelly it chooses a kernel."""

    takes = _with_inference(_neuron.IFNode.takes)


class LIFNode(_neuron.LIFNode):
    """`activation_based`'s LIFNode. cupy_fp32_inference has no effect: in SpikingJelly it chooses a kernel."""

    takes = _with_inference(_neuron.LIFNode.takes)


class MultiStepIFNode(_MultiStep, IFNode):
    takes = _of_sequences(_neuron.IFNode.takes)


class MultiStepLIFNode(_MultiStep, LIFNode):
    takes = _of_sequences(_neuron.LIFNode.takes)


class MultiStepParametricLIFNode(_MultiStep, _neuron.ParametricLIFNode):
    takes = _of_sequences(_neuron.ParametricLIFNode.takes)


class MultiStepEIFNode(_MultiStep, _neuron.EIFNode):
    takes = _of_sequences(_neuron.EIFNode.takes)
