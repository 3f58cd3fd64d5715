"""What all nodes share: a core neuron, its hidden memories, and SpikingJelly's way of saying reset and slope."""

from typing import Any

import torch
from torch import Tensor

import ranvier
from ranvier.compat.spikingjelly import surrogate
from ranvier.compat.spikingjelly.memory import Carried
from ranvier.nn.temporal import Temporal

Surrogate = surrogate.SurrogateFunctionBase


def resetting(v_reset: float | None, detach_reset: bool) -> dict[str, Any]:
    """SpikingJelly says by v_reset what kind of reset there is: None subtracts the threshold."""
    return {"reset": "subtract" if v_reset is None else "zero", "detach_reset": detach_reset}


def slope(function: Surrogate) -> ranvier.surrogate.Surrogate:
    if not isinstance(function, Surrogate):
        raise TypeError(
            f"surrogate_function must be one of ranvier.compat.spikingjelly.surrogate, got {function!r}; a "
            f"slope of your own goes into a core neuron"
        )
    if not function.spiking:
        raise ValueError("a neuron here fires spikes; surrogate_function must have spiking=True")
    return function.core


class BaseNode(Carried):
    """A neuron with hidden memories, `v` and others. Memories stay until `reset()`."""

    def __init__(
        self,
        core: Temporal,
        step_mode: str = "s",
        store_v_seq: bool = False,
        kept: dict[str, tuple[str, float]] | None = None,
        published: dict[str, str] | None = None,
    ):
        super().__init__(core, step_mode, kept or {"v": ("v", 0.0)}, published)
        self.store_v_seq = store_v_seq
        self.register_memory("v_seq", None)

    def multi_step_forward(self, x_seq: Tensor) -> Any:  # type: ignore[override]
        if not self.store_v_seq:
            return super().multi_step_forward(x_seq)
        steps, membranes = [], []
        for x_t in x_seq.unbind(0):
            steps.append(super().multi_step_forward(x_t.unsqueeze(0))[0])
            membranes.append(self.v)
        self.v_seq = torch.stack(membranes)
        return torch.stack(steps)
