"""The gated neuron: it learns its leak, the weighting of its input, and its reset."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.nn import arguments
from ranvier.nn.length import count, span
from ranvier.nn.neuron import Neuron, Param, State
from ranvier.nn.temporal import Temporal, check_sequence
from ranvier.ops import sigmoid, spike
from ranvier.surrogate import Surrogate


class _Membrane(Neuron):
    """The membrane of the gated neuron; all parameters are logits."""

    alpha, gamma, tau, threshold = Param(0.0), Param(0.0), Param(0.0), Param(0.0)
    linear_decay, v_subreset = Param(0.0), Param(0.0)
    v, z = State(0.0), State(0.0)

    @staticmethod
    def rule(x, v, z, alpha, gamma, tau, threshold, linear_decay, v_subreset):
        linear, subtract = 1.0 - sigmoid(alpha), 1.0 - sigmoid(gamma)
        kept = (1.0 - sigmoid(alpha) * (1.0 - sigmoid(tau))) * v
        v = kept - linear * sigmoid(linear_decay) + x
        v = v - kept * sigmoid(gamma) * z - subtract * sigmoid(v_subreset) * z
        z = spike(v - sigmoid(threshold))
        return z, (v, z)


class GatedLIF(Temporal):
    """Leaky integrate-and-fire with three learned gates: between exponential and linear leak, between weighted and
    plain input, and between reset to zero and reset by subtraction.

    With a = 1 - alpha (1 - tau) and the spike z of the step before:

    v = a v - (1 - alpha) linear_decay + x (1 - beta (1 - conduct[t])) - gamma a v z - (1 - gamma) v_subreset z;
    z = 1 where v >= threshold.

    x [T, B, *features] -> spikes of the same shape, for T up to `steps`. Every parameter is stored and learned as a
    logit, so its value stays between 0 and 1. The arguments are the initial values; the gates alpha, beta and gamma
    start near 1/2. shape: for parameters that differ between neurons, a shape that is broadcastable to the features
    (for one value per channel: shape=(C, 1, 1)). Yao et al., GLIF: a unified gated leaky integrate-and-fire neuron for
    spiking neural networks, NeurIPS 2022.

    >>> import torch, ranvier
    >>> ranvier.GatedLIF(steps=8)(torch.rand(8, 2, 3)).shape
    torch.Size([8, 2, 3])
    """

    records = ("v", "z")

    def __init__(
        self,
        steps: int = 8,
        *,
        shape: Sequence[int] | int = (),
        linear_decay: float | None = None,
        v_subreset: float | None = None,
        tau: float = 0.25,
        threshold: float = 0.5,
        conduct: float = 0.5,
        surrogate: Surrogate | None = None,
    ):
        super().__init__()
        self.steps, shape = count("GatedLIF: steps", steps), arguments.shape("GatedLIF", shape) or ()
        values = {
            "tau": tau,
            "threshold": threshold,
            "linear_decay": threshold / (2 * steps) if linear_decay is None else linear_decay,
            "v_subreset": threshold if v_subreset is None else v_subreset,
        }
        given = {k: torch.full(shape, _logit(k, v)) for k, v in values.items()}
        gates = {k: _gate(shape) for k in ("alpha", "gamma")}
        begin = given | gates
        self.membrane = _Membrane(learn=tuple(begin), surrogate=arguments.surrogate("GatedLIF", surrogate), **begin)  # type: ignore[arg-type]
        self.beta = nn.Parameter(_gate(shape or (1,)))
        self.conduct = nn.Parameter(torch.full((steps, *shape), _logit("conduct", conduct)))

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        check_sequence(self, x)
        begin, after = span(self, x, state, self.steps)
        conduct = torch.sigmoid(self.conduct[begin : begin + x.shape[0]])  # [T, *shape]
        gain = 1.0 - torch.sigmoid(self.beta) * (1.0 - conduct)
        gain = gain.reshape(len(gain), *(1,) * (x.dim() - gain.dim()), *gain.shape[1:])
        inner = None if state is None else {k: state[k] for k in ("v", "z")}
        z, inner, traces = self.membrane.run(x * gain.to(x.dtype), inner, names)
        return z, {**after, **inner}, traces

    def explain(self, x: Any) -> str:
        return self.membrane.explain(x)


def _logit(name: str, value: float) -> float:
    if not isinstance(value, (int, float)) or not 0.0 < value < 1.0:
        raise ValueError(f"GatedLIF: {name} must lie between 0 and 1, both excluded, got {value!r}")
    return math.log(value / (1.0 - value))


def _gate(shape: tuple[int, ...]) -> Tensor:
    return 0.2 * (torch.rand(shape) - 0.5)
