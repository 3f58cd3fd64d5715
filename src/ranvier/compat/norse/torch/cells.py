"""Norse's layers: a `...Cell` runs one step, the others a sequence [T, B, *features], fused. All return (z, state)."""

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ranvier.compat.norse.torch import parameters as own
from ranvier.compat.norse.torch import rules
from ranvier.compat.rows import lend
from ranvier.nn.recurrent import Recurrent
from ranvier.surrogate import superspike


class Row(NamedTuple):
    rule: Any
    parameters: Any
    state: Any
    recurrent_state: Any = None


LIF_ROW = Row(rules.LIFRule, own.LIFParameters, own.LIFFeedForwardState, own.LIFState)
LI_ROW = Row(rules.LIRule, own.LIParameters, own.LIState)
LSNN_ROW = Row(rules.LSNNRule, own.LSNNParameters, own.LSNNFeedForwardState, own.LSNNState)
ADEX_ROW = Row(rules.LIFAdExRule, own.LIFAdExParameters, own.LIFAdExFeedForwardState, own.LIFAdExState)
IAF_ROW = Row(rules.IAFRule, own.IAFParameters, own.IAFFeedForwardState, own.IAFState)
LIFBOX_ROW = Row(rules.LIFBoxRule, own.LIFBoxParameters, own.LIFBoxFeedForwardState)
LIBOX_ROW = Row(rules.LIBoxRule, own.LIBoxParameters, own.LIBoxState)


class Layer(nn.Module):
    """A neuron that is described by a `Row`, with parameters p and dt in seconds; p and dt may be changed at any time.

    Tensors of p with requires_grad get a gradient. The surrogate derivative is 1 / (1 + |u|)^2; `alpha` of p has no
    effect, as in Norse 1.1.0.
    """

    row: ClassVar[Row]
    sequence: ClassVar[bool]
    cut: ClassVar[bool] = False

    def __init__(self, p: Any = None, dt: float = 1e-3, **kwargs: Any):
        super().__init__()
        if kwargs:
            raise TypeError(f"{type(self).__name__}: unknown arguments {sorted(kwargs)}; there are p and dt")
        self.p, self.dt = self.row.parameters() if p is None else p, dt
        self._core()  # raises errors for values out of range

    def _core(self) -> Any:
        method = getattr(self.p, "method", "super")
        if method != "super":
            raise ValueError(f'{type(self).__name__}: method must be "super" (a SuperSpike derivative), got {method!r}')
        given: dict[str, Any] = {"cut": True} if self.cut else {}
        if hasattr(self.p, "alpha"):
            given["surrogate"] = superspike(1.0)
        if hasattr(self.p, "reset_method"):
            given["reset_method"] = self.p.reset_method
        key = repr(given)
        if self.__dict__.get("_made", ("",))[0] != key:
            self.__dict__["_made"] = key, self.row.rule(**given)
        return self.__dict__["_made"][1]

    def _lent(self, core: Any, x: Tensor) -> Any:
        values = {k: getattr(self.p, k) for k in core.params if hasattr(self.p, k)}
        values |= {"dt": self.dt} if "dt" in core.params else {}
        dtype = torch.promote_types(x.dtype, torch.float32)
        return lend(core, {k: _tensor(v, dtype, x.device) for k, v in values.items()})

    def _run(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Run x [T, *step] from a state -> the output, and the state after the last step."""
        shape = x.shape[1:]
        wide = x if len(shape) > 1 else x.reshape(len(x), *(1,) * (2 - len(shape)), *shape)
        core = self._core()
        with self._lent(core, x):
            before = core.initial(wide[0]) if state is None else _named(type(self).__name__, state, core.states, wide)
            y, after, _ = core.run(wide, before)
        if wide is not x:
            y, after = y.reshape(x.shape), {k: v.reshape(shape) for k, v in after.items()}
        return y, self.row.state(**after)

    def forward(self, input_tensor: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        if self.sequence:
            return self._run(input_tensor, state)
        y, state = self._run(input_tensor.unsqueeze(0), state)
        return y[0], state

    def extra_repr(self) -> str:
        return f"p={self.p}, dt={self.dt}"

    def __getstate__(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k != "_made"}


def _named(layer: str, state: Any, names: Any, x: Tensor) -> dict[str, Tensor]:
    found, dtype = {}, torch.promote_types(x.dtype, torch.float32)
    for k in names:
        value = _tensor(getattr(state, k), dtype, x.device)
        if value.dim() and value.numel() != x[0].numel():
            raise ValueError(f"{layer}: state {k!r} is {tuple(value.shape)}, but a step is {tuple(x.shape[1:])}")
        if value.shape != x.shape[1:]:  # to save time: a reshape or expand is slow even if it changes nothing
            value = value.reshape(x.shape[1:]) if value.dim() else value.expand(x.shape[1:])
        found[k] = value
    return found


def _tensor(value: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    if isinstance(value, Tensor) and value.dtype == dtype and value.device == device:
        return value
    return torch.as_tensor(value, dtype=dtype, device=device)


class LIFCell(Layer):
    row, sequence = LIF_ROW, False


class LIF(Layer):
    row, sequence = LIF_ROW, True


class LICell(Layer):
    row, sequence = LI_ROW, False


class LI(Layer):
    row, sequence = LI_ROW, True


class LSNNCell(Layer):
    row, sequence = LSNN_ROW, False


class LSNN(Layer):
    row, sequence = LSNN_ROW, True


class LIFAdExCell(Layer):
    row, sequence = ADEX_ROW, False


class LIFAdEx(Layer):
    row, sequence = ADEX_ROW, True


class IAFCell(Layer):
    row, sequence = IAF_ROW, False


class IAF(Layer):
    row, sequence = IAF_ROW, True


class LIFBoxCell(Layer):
    row, sequence = LIFBOX_ROW, False


class LIBoxCell(Layer):
    row, sequence = LIBOX_ROW, False


class LILinearCell(Layer):
    """A linear map with `input_weights` and without bias, followed by `LICell`."""

    row, sequence = LI_ROW, False

    def __init__(self, input_size: int, hidden_size: int, p: Any = None, dt: float = 1e-3):
        super().__init__(p, dt)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.input_weights = nn.Parameter(torch.randn(hidden_size, input_size) / input_size**0.5)

    def forward(self, input_tensor: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return super().forward(nn.functional.linear(input_tensor, self.input_weights), state)


class RecurrentLayer(Layer):
    """A layer with `input_weights` for its input, and `recurrent_weights` for its spikes of the last step. Without
    `autapses`, no neuron is connected to itself.
    """

    cut = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        p: Any = None,
        input_weights: Tensor | None = None,
        recurrent_weights: Tensor | None = None,
        autapses: bool = False,
        dt: float = 1e-3,
    ):
        super().__init__(p, dt)
        self.input_size, self.hidden_size, self.autapses = input_size, hidden_size, autapses
        drawn = torch.randn(hidden_size, input_size) * (2.0 / hidden_size) ** 0.5
        self.input_weights = nn.Parameter(drawn if input_weights is None else input_weights)
        drawn = torch.randn(hidden_size, hidden_size) * (2.0 / hidden_size) ** 0.5
        weights = drawn if recurrent_weights is None else recurrent_weights
        self.recurrent_weights = nn.Parameter(weights if autapses else weights * (1.0 - torch.eye(hidden_size)))

    def _back(self) -> nn.Module:
        weights = self.recurrent_weights
        back = nn.Linear(self.hidden_size, self.hidden_size, bias=False, device="meta")
        back._parameters["weight"] = weights if self.autapses else weights * (1.0 - torch.eye(len(weights)).to(weights))  # type: ignore[assignment]
        return back

    def forward(self, input_tensor: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        x = input_tensor if self.sequence else input_tensor.unsqueeze(0)
        x = nn.functional.linear(x, self.input_weights)
        core = self._core()
        with self._lent(core, x):
            if state is None:
                before = {"z": torch.zeros_like(x[0]), **core.initial(x[0])}
            else:
                before = {"z": state.z, **_named(type(self).__name__, state, core.states, x)}
            y, after, _ = Recurrent(core, self._back()).run(x, before)
        return y if self.sequence else y[0], self.row.recurrent_state(**after)


class LIFRecurrentCell(RecurrentLayer):
    row, sequence = LIF_ROW, False


class LIFRecurrent(RecurrentLayer):
    row, sequence = LIF_ROW, True


class LSNNRecurrentCell(RecurrentLayer):
    row, sequence = LSNN_ROW, False


class LSNNRecurrent(RecurrentLayer):
    row, sequence = LSNN_ROW, True
