"""SpikingJelly's recurrent cells: the cells of torch with spikes instead of sigmoid and tanh.

They are torch operations, step by step; for kernels use `ranvier.Recurrent`.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.compat.spikingjelly.activation_based import surrogate

Fires = Callable[[Tensor], Tensor]


class SpikingRNNCellBase(nn.Module):
    """Base class of cells: `(x [N, in], state) -> state`. The weights of `linear_ih` and `linear_hh` have
    `gates` * hidden_size rows.
    """

    gates, states_num = 1, 1

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True):
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        self.linear_ih = nn.Linear(input_size, self.gates * hidden_size, bias)
        self.linear_hh = nn.Linear(hidden_size, self.gates * hidden_size, bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for p in self.parameters():
            nn.init.uniform_(p, -(self.hidden_size**-0.5), self.hidden_size**-0.5)

    def weight_ih(self) -> Tensor:
        return self.linear_ih.weight

    def weight_hh(self) -> Tensor:
        return self.linear_hh.weight

    def bias_ih(self) -> Tensor:
        return self.linear_ih.bias

    def bias_hh(self) -> Tensor:
        return self.linear_hh.bias

    def advance(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Run one step: x [N, in] and the states before the step -> the states after it; the first is the output."""
        raise NotImplementedError(f"{type(self).__name__} must define advance(x, *states)")

    def forward(self, x: Tensor, h: Any = None) -> Any:
        states = (x.new_zeros(len(x), self.hidden_size),) * self.states_num if h is None else h
        after = self.advance(x, *(states if isinstance(states, (tuple, list)) else (states,)))
        return after if self.states_num > 1 else after[0]


class SpikingVanillaRNNCell(SpikingRNNCellBase):
    """h = S(W x + b + U h + c), where S is the spike function, W, b are `linear_ih` and U, c are `linear_hh`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        surrogate_function: Fires = surrogate.Erf(),  # noqa: B008
    ):
        super().__init__(input_size, hidden_size, bias)
        self.surrogate_function = surrogate_function

    def advance(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        return (self.surrogate_function(self.linear_ih(x) + self.linear_hh(states[0])),)


class _Gated(SpikingRNNCellBase):
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        surrogate_function1: Fires = surrogate.Erf(),  # noqa: B008
        surrogate_function2: Fires | None = None,
    ):
        super().__init__(input_size, hidden_size, bias)
        self.surrogate_function1, self.surrogate_function2 = surrogate_function1, surrogate_function2

    @property
    def _second(self) -> Fires:
        return self.surrogate_function1 if self.surrogate_function2 is None else self.surrogate_function2


class SpikingGRUCell(_Gated):
    """A GRU with the spike function S: r, z = S(...), n = S(W x + b + r (U h + c)), h = (1 - z) n + z h.

    surrogate_function2: the surrogate of n; by default that of r and z.
    """

    gates = 3

    def advance(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        (h,) = states
        (r, z, n), (ur, uz, un) = self.linear_ih(x).chunk(3, 1), self.linear_hh(h).chunk(3, 1)
        r, z = self.surrogate_function1(r + ur), self.surrogate_function1(z + uz)
        n = self._second(n + r * un)
        return ((1.0 - z) * n + z * h,)


class SpikingLSTMCell(_Gated):
    """An LSTM with the spike function S: i, f, g, o = S(...), c = min(f c + i g, 1), h = o c.

    surrogate_function2: the surrogate of g; by default that of i, f and o.
    """

    gates, states_num = 4, 2

    def advance(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        h, c = states
        i, f, g, o = (self.linear_ih(x) + self.linear_hh(h)).chunk(4, 1)
        i, f, o = (self.surrogate_function1(gate) for gate in (i, f, o))
        c = (f * c + i * self._second(g)).clamp_max(1.0)
        return o * c, c


class SpikingRNNBase(nn.Module):
    """Layers of cells that run a sequence x [T, N, in] -> (output [T, N, hidden], last states [layers, N, hidden]).

    If bidirectional, both directions run on the output of the layer below; their outputs are concatenated.
    """

    cell: type[SpikingRNNCellBase]

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        own = [p for p in inspect.signature(SpikingRNNBase).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        of_cell = list(inspect.signature(cls.cell).parameters.values())[3:]  # the surrogates of the cell
        cls.__signature__ = inspect.Signature([*own, *of_cell])  # type: ignore[attr-defined]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool = True,
        dropout_p: float = 0.0,
        invariant_dropout_mask: bool = False,
        bidirectional: bool = False,
        *args: Any,
        **kwargs: Any,
    ):
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers, self.bias = input_size, hidden_size, num_layers, bias
        self.dropout_p, self.invariant_dropout_mask = dropout_p, invariant_dropout_mask
        self.bidirectional = bidirectional
        wide = hidden_size * (2 if bidirectional else 1)
        sizes = [input_size, *[wide] * (num_layers - 1)]
        self.cells = nn.ModuleList(self.cell(n, hidden_size, bias, *args, **kwargs) for n in sizes)
        if bidirectional:
            self.cells_reverse = nn.ModuleList(self.cell(n, hidden_size, bias, *args, **kwargs) for n in sizes)

    def base_cell(self) -> type[SpikingRNNCellBase]:
        return self.cell

    def states_num(self) -> int:
        return self.cell.states_num

    def forward(self, x: Tensor, states: Any = None) -> tuple[Tensor, Any]:
        directions = [self.cells, self.cells_reverse] if self.bidirectional else [self.cells]
        before = self._before(x, states, len(directions))
        after: list[list[tuple[Tensor, ...]]] = [[] for _ in directions]
        for layer in range(self.num_layers):
            outputs = []
            for d, cells in enumerate(directions):
                state = tuple(s[d * self.num_layers + layer] for s in before)
                y, last = _along(cells[layer], x, state, backwards=d == 1)
                outputs.append(y)
                after[d].append(last)
            x = torch.cat(outputs, -1)
            if self.dropout_p and layer + 1 < self.num_layers:
                mask = torch.ones_like(x[0] if self.invariant_dropout_mask else x)
                x = x * nn.functional.dropout(mask, self.dropout_p, self.training)
        flat = [last for one in after for last in one]
        stacked = tuple(torch.stack([last[k] for last in flat]) for k in range(self.cell.states_num))
        return x, stacked if self.cell.states_num > 1 else next(iter(stacked))

    def _before(self, x: Tensor, states: Any, directions: int) -> tuple[Tensor, ...]:
        if states is None:
            rest = x.new_zeros(directions * self.num_layers, x.shape[1], self.hidden_size)
            return (rest,) * self.cell.states_num
        return tuple(states) if isinstance(states, (tuple, list)) else (states,)


def _along(cell: Any, x: Tensor, state: tuple[Tensor, ...], backwards: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run one cell over time; return the output [T, N, hidden] and the last state."""
    steps = x.unbind(0)
    outputs = []
    for x_t in reversed(steps) if backwards else steps:
        state = cell.advance(x_t, *state)
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if backwards else outputs), state


class SpikingVanillaRNN(SpikingRNNBase):
    cell = SpikingVanillaRNNCell


class SpikingGRU(SpikingRNNBase):
    cell = SpikingGRUCell


class SpikingLSTM(SpikingRNNBase):
    cell = SpikingLSTMCell
