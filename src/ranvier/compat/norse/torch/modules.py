"""Norse's containers and encoders."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.compat.norse.torch.cells import LIFBoxCell
from ranvier.compat.norse.torch.parameters import LIFBoxParameters, LIFParameters
from ranvier.nn.fold import samples, sequence


def _stateful(module: nn.Module) -> bool:
    names = inspect.signature(module.forward).parameters
    return "state" in names or isinstance(module, (nn.RNN, nn.GRU, nn.LSTM))


class SequentialState(nn.Sequential):
    """Modules in sequence, with their states: `(x, states) -> (y, states)`. The states are a list with one entry per
    module, None for modules without a state; None as the argument starts from initial states.

    return_hidden: instead of y, return the list of the outputs of all modules with a state.
    """

    def __init__(self, *args: Any, return_hidden: bool = False):
        super().__init__(*args)
        self.return_hidden = return_hidden
        self.stateful_layers = [_stateful(m) for m in self]

    def forward(self, input_tensor: Tensor, state: list | None = None) -> tuple[Any, list]:  # type: ignore[override]
        states = [None] * len(self) if state is None else list(state)
        if len(states) != len(self):
            raise ValueError(f"SequentialState: {len(self)} modules need as many states (or None), got {len(states)}")
        hidden, y = [], input_tensor
        for k, module in enumerate(self):
            if self.stateful_layers[k]:
                y, states[k] = module(y, states[k])
                hidden.append(y)
            else:
                y = module(y)
        return (hidden if self.return_hidden else y), states


class Lift(nn.Module):
    """Apply a module for single steps to sequences [T, B, *features]; a module with a state runs step by step."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.lifted_module = module
        if _stateful(module):
            self.forward = self._with_state

    def forward(self, x: Tensor) -> Any:
        return sequence(self.lifted_module(samples(x)), x.shape[:2])

    def _with_state(self, x: Tensor, state: Any = None) -> Any:
        steps = []
        for x_t in x.unbind(0):
            y, state = self.lifted_module(x_t, state)
            steps.append(y)
        return torch.stack(steps), state


class PoissonEncoder(nn.Module):
    """Spikes [seq_length, *x] with probability dt * f_max * x, for x in [0, 1]."""

    def __init__(self, seq_length: int, f_max: float = 100, dt: float = 0.001):
        super().__init__()
        self.seq_length, self.f_max, self.dt = seq_length, f_max, dt

    def forward(self, x: Tensor) -> Tensor:
        drawn = torch.rand(self.seq_length, *x.shape, device=x.device)
        return (drawn < self.dt * self.f_max * x).to(torch.get_default_dtype())


class SignedPoissonEncoder(PoissonEncoder):
    """`PoissonEncoder` of |x|, with the sign of x in [-1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sign() * super().forward(x.abs())


class ConstantCurrentLIFEncoder(nn.Module):
    """The spikes [seq_length, *x] of LIF neurons whose input current is x at every step."""

    def __init__(self, seq_length: int, p: LIFParameters | None = None, dt: float = 0.001):
        super().__init__()
        self.seq_length, self.p, self.dt = seq_length, p or LIFParameters(), dt

    def forward(self, x: Tensor) -> Tensor:
        same = {k: v for k, v in self.p._asdict().items() if k != "tau_syn_inv"}
        return LIFBoxCell(LIFBoxParameters(**same), self.dt)._run(x.expand(self.seq_length, *x.shape), None)[0]


class SpikeLatencyEncoder(nn.Module):
    """Keep the first spike of each neuron, and remove its later spikes: [T, *features]."""

    def forward(self, input_spikes: Tensor) -> Tensor:
        return input_spikes * (input_spikes.cumsum(0) == 1)


class SpikeLatencyLIFEncoder(ConstantCurrentLIFEncoder):
    """The first spike of `ConstantCurrentLIFEncoder`."""

    def forward(self, x: Tensor) -> Tensor:
        return SpikeLatencyEncoder()(super().forward(x))
