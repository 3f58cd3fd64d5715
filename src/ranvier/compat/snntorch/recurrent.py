"""snnTorch's recurrent neurons, and `LeakyParallel`, which runs a whole sequence."""

from typing import Any

import torch
from torch import Tensor, nn

from ranvier.compat.rows import lend
from ranvier.compat.snntorch.neurons import COMMON, LEARNED, STATES, Leaky, SpikingNeuron, Synaptic
from ranvier.compat.snntorch.rules import LeakyRule, RectifiedRule
from ranvier.compat.snntorch.surrogate import NONE, core_of
from ranvier.nn.recurrent import Recurrent


class RecurrentOneToOne(nn.Module):
    """Multiply the input by V."""

    def __init__(self, V: Any):
        super().__init__()
        self.V = V

    def forward(self, x: Tensor) -> Tensor:
        return self.V * x


WIRES: dict[str, Any] = {"V": 1.0, "all_to_all": True, "linear_features": None, "conv2d_channels": None}
WIRES |= {"kernel_size": None}


class _Recurrent(SpikingNeuron):
    """Base class: the spikes of the last step pass through `recurrent`, and are added to the input."""

    recurrent: Any
    spk: Any

    def _numbers(self, given: dict[str, Any]) -> None:
        super()._numbers(given)
        for name in WIRES:
            if name != "V":
                setattr(self, name, given[name])
        self.learn_recurrent = given["learn_recurrent"]
        if given["all_to_all"]:
            self.recurrent = _wires(type(self).__name__, given)
            self.recurrent.requires_grad_(bool(self.learn_recurrent))
        else:
            V = torch.as_tensor(given["V"], dtype=torch.get_default_dtype())
            if self.learn_recurrent:
                self.V = nn.Parameter(V.clone())
            else:
                self.register_buffer("V", V.clone())
            self.recurrent = RecurrentOneToOne(self.V)
        self.register_buffer("spk", torch.zeros(0), persistent=False)

    def _take(self, given: dict[str, Any]) -> None:
        super()._take(given)
        if self.spk.numel() == 0 and self.mem.numel():  # a membrane was given without its spikes
            self.spk = torch.zeros_like(self.mem)

    def forward(self, input_: Tensor, *states: Tensor | None, **named: Tensor | None) -> Any:
        spk, *rest = states or (None,)
        self._take({"spk": named.pop("spk", spk), **dict(zip(self.state, rest, strict=False)), **named})
        back = self.recurrent(self.spk if self.spk.numel() else torch.zeros_like(input_))
        z, _ = self._run((input_ + back).unsqueeze(0), ())
        self.spk = z[0]
        return z[0] if self.init_hidden and not self.output else (z[0], *(getattr(self, k) for k in self.state))

    def scan(self, input_: Tensor, *states: Tensor | None) -> tuple[Tensor, ...]:
        spk, *rest = states or (None,)
        self._take({"spk": spk, **dict(zip(self.state, rest, strict=False))})
        if self.inhibition:
            raise ValueError(f"{type(self).__name__}: inhibition needs one step at a time; call the layer in a loop")
        empty = torch.zeros(input_.shape[1:], dtype=input_.dtype, device=input_.device)
        kept = {k: getattr(self, k) for k in ("spk", *self.state)}
        before = {k: v if v.numel() else empty for k, v in kept.items()}
        core = self._core(input_)
        with self._lent(core, input_):
            loop = Recurrent(core, self.recurrent)
            z, after, traces = loop.run(input_, {"z": before["spk"], **{k: before[k] for k in self.state}}, self.state)
        self.spk = z[-1]
        for k in self.state:
            setattr(self, k, after[k])
        return (z, *(traces[k] for k in self.state))

    def reset_mem(self) -> Any:
        self.spk = torch.zeros_like(self.spk)
        rest = SpikingNeuron.reset_mem(self)
        return (self.spk, *(rest if isinstance(rest, tuple) else (rest,)))

    def detach_hidden(self) -> None:
        super().detach_hidden()
        self.spk = self.spk.detach()


def _wires(name: str, given: dict[str, Any]) -> nn.Module:
    linear, channels, kernel = (given[k] for k in ("linear_features", "conv2d_channels", "kernel_size"))
    if linear is not None:
        return nn.Linear(linear, linear)
    if channels is None or kernel is None:
        raise TypeError(f"{name}: with all_to_all=True pass linear_features, or conv2d_channels and kernel_size")
    sizes = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
    return nn.Conv2d(channels, channels, sizes, padding=(sizes[0] // 2, sizes[1] // 2))


class RLeaky(_Recurrent, Leaky):
    """`Leaky` whose spikes of the last step return through `recurrent`: (x, spk, mem) -> (spk, mem)."""

    rule = LeakyRule
    erase = {"erase": True}
    takes = {
        "beta": ..., **WIRES, **COMMON, **LEARNED, "learn_recurrent": True, "reset_mechanism": "subtract", **STATES,
        "reset_delay": True,
    }  # fmt: skip

    def init_rleaky(self) -> Any:
        return self.reset_mem()


class RSynaptic(_Recurrent, Synaptic):
    """`Synaptic` whose spikes of the last step return through `recurrent`: (x, spk, syn, mem) -> (spk, syn, mem)."""

    takes = {
        "alpha": ..., "beta": ..., **WIRES, **COMMON, "learn_alpha": False, **LEARNED, "learn_recurrent": True,
        "reset_mechanism": "subtract", **STATES, "reset_delay": True,
    }  # fmt: skip

    def init_rsynaptic(self) -> Any:
        return self.reset_mem()


class LeakyParallel(nn.Module):
    """A linear map and a rectified membrane without reset: x [T, B, input_size] -> spikes [T, B, hidden_size].

    >>> import torch
    >>> LeakyParallel(3, 4, beta=0.9)(torch.rand(5, 2, 3)).shape
    torch.Size([5, 2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        beta: Any = None,
        bias: bool = True,
        threshold: float = 1.0,
        dropout: float = 0.0,
        spike_grad: Any = None,
        surrogate_disable: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        graded_spikes_factor: float = 1.0,
        learn_graded_spikes_factor: bool = False,
        weight_hh_enable: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        if dropout:
            raise ValueError("LeakyParallel: dropout acts between layers, and there is only one; use dropout=0")
        self.hidden_size, self.spike_grad, self.surrogate_disable = hidden_size, spike_grad, surrogate_disable
        self.weight_hh_enable = weight_hh_enable
        if beta is not None:  # a buffer, as published; the decay that is used and learned is rnn.weight_hh_l0
            given = torch.atleast_1d(torch.as_tensor(beta, dtype=torch.get_default_dtype()))
            self.register_buffer("beta", given.detach().clone())
        SpikingNeuron._number(self, "threshold", threshold, learn_threshold)  # type: ignore[arg-type]
        SpikingNeuron._number(self, "graded_spikes_factor", graded_spikes_factor, learn_graded_spikes_factor)  # type: ignore[arg-type]
        self.rnn: Any = nn.RNN(input_size, hidden_size, 1, "relu", bias, device=device, dtype=dtype)
        with torch.no_grad():
            if beta is not None:
                self.rnn.weight_hh_l0.copy_(torch.as_tensor(beta).clamp(0.0, 1.0).expand(hidden_size, hidden_size))
            if not weight_hh_enable:
                self.rnn.weight_hh_l0.mul_(torch.eye(hidden_size))
        if not weight_hh_enable:
            self.rnn.weight_hh_l0.requires_grad_(learn_beta)

    def forward(self, input_: Tensor) -> Tensor:
        slope = NONE if self.surrogate_disable else core_of(self.spike_grad)
        x, beta = self.rnn(input_)[0] if self.weight_hh_enable else self._current(input_), self.rnn.weight_hh_l0
        decay = torch.zeros_like(beta[0]) if self.weight_hh_enable else beta.diagonal()
        core = RectifiedRule(surrogate=slope, shape=(self.hidden_size,)).to(input_.device)
        scalar = {"threshold": self.threshold, "graded": self.graded_spikes_factor}
        with lend(core, {"beta": decay, **{k: torch.as_tensor(v).to(x.dtype) for k, v in scalar.items()}}):
            return core(x)

    def _current(self, x: Tensor) -> Tensor:
        bias = self.rnn.bias_ih_l0 + self.rnn.bias_hh_l0 if self.rnn.bias else None
        return nn.functional.linear(x, self.rnn.weight_ih_l0, bias)
