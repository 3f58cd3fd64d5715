"""PySNN's learning rules on the layers of `SNNNetwork.layer_state_dict()`."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ranvier.plasticity.reward import eligibility
from ranvier.plasticity.rules import balance

BATCH = {"linear": (0,), "conv2d": (0, 3)}  # the axes over which a change is averaged, by type of connection


class LearningRule:
    """Base class of the learning rules.

    layers: an OrderedDict {name: {"connection": state_dict, "neuron": state_dict, "type": name}}. A rule only reads it,
    so several rules can use the same `layer_state_dict()`.
    """

    def __init__(self, layers: OrderedDict, defaults: dict[str, Any]):
        if not isinstance(layers, OrderedDict):
            raise TypeError(
                f"layers must be an OrderedDict, as layer_state_dict() returns it, got {type(layers).__name__}"
            )
        if type(self) is not LearningRule:  # the base class itself learns nothing, and may be empty
            self.check_layers(layers)
        self.layers, self.defaults = OrderedDict((k, dict(v)) for k, v in layers.items()), dict(defaults)

    def check_layers(self, layers: OrderedDict) -> None:
        """Raise ValueError if there are no layers, TypeError for entries that are not layers."""
        if not layers:
            raise ValueError("layers is empty: add_layer(...) to the network first")
        for name, layer in layers.items():
            if not isinstance(layer, dict) or not {"connection", "neuron", "type"} <= layer.keys():
                raise TypeError(f"layers[{name!r}] must be a dict with connection, neuron and type, got {layer!r}")

    def update_state(self) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define update_state()")

    def step(self, *args: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define step()")

    def reset_state(self) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define reset_state()")

    def pre_mult_post(self, pre: Tensor, post: Tensor, con_type: str) -> Tensor:
        """pre [B, out or 1, in] times post [B, 1, out] -> [B, out, in]; conv2d: [B, out, K, L] times [B, out, H, W]."""
        _known(con_type)
        if con_type == "linear":
            return pre * post.transpose(1, 2)
        return pre * post.flatten(2).unsqueeze(2)

    def reduce_connections(
        self, tensor: Tensor, con_type: str, red_method: Callable[..., Tensor] = torch.mean
    ) -> Tensor:
        """Reduce a change over the batch, and for convolutions also over output positions."""
        return red_method(tensor, BATCH[_known(con_type)])


class MSTDPET(LearningRule):
    """Reward-modulated STDP with eligibility trace. Call `update_state()` at every step, and `step(reward)` whenever
    there is a reward.
    """

    def __init__(self, layers: OrderedDict, a_pre: float, a_post: float, lr: float, e_trace_decay: float):
        super().__init__(layers, {"a_pre": a_pre, "a_post": a_post, "lr": lr, "e_trace_decay": e_trace_decay})
        self.a_pre, self.a_post, self.lr, self.e_trace_decay = a_pre, a_post, lr, e_trace_decay
        for layer in self.layers.values():
            layer["e_trace"] = torch.zeros_like(layer["connection"]["trace"])

    @torch.no_grad()
    def update_state(self) -> None:
        """e_trace = e_trace_decay * e_trace + a_pre * pre trace * post spikes - a_post * pre spikes * post trace."""
        for layer in self.layers.values():
            pre, post, kind = layer["connection"], layer["neuron"], layer["type"]
            up = self.pre_mult_post(pre["trace"], post["spikes"], kind)
            down = self.pre_mult_post(pre["spikes"], post["trace"], kind)
            e = layer["e_trace"]
            e.copy_(eligibility(e, up, down, self.e_trace_decay, self.a_pre, self.a_post))

    @torch.no_grad()
    def step(self, reward: Any) -> None:  # type: ignore[override]
        """weight += lr * reward * (mean of e_trace over the batch)."""
        for layer in self.layers.values():
            weight = layer["connection"]["weight"]
            change = self.reduce_connections(layer["e_trace"], layer["type"])
            weight.add_(self.lr * reward * change.view_as(weight))

    def reset_state(self) -> None:
        """Set the eligibility traces to 0."""
        for layer in self.layers.values():
            layer["e_trace"].zero_()


class FedeSTDP(LearningRule):
    """The homeostatic rule of Paredes-Valles et al.; `step()` learns from the current presynaptic traces."""

    def __init__(self, layers: OrderedDict, lr: float, w_init: float, a: float):
        if not lr > 0:
            raise ValueError(f"lr must be positive, got {lr!r}")
        if not 0 <= a <= 1:
            raise ValueError(f"a must lie in [0, 1], got {a!r}")
        super().__init__(layers, {"lr": lr, "w_init": w_init, "a": a})
        self.lr, self.w_init, self.a = lr, w_init, a

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Add lr times the change by `ranvier.plasticity.rules.balance`, averaged over the batch, to the weight. A
        layer without a positive trace is not changed.
        """
        for layer in self.layers.values():
            trace, weight = layer["connection"]["trace"], layer["connection"]["weight"]
            if not bool((top := trace.max()) > 0):
                continue
            n = trace / top
            up, down = (self.reduce_connections(f, layer["type"]).view_as(weight) for f in (n.exp(), (1 - n).exp()))
            weight.add_(self.lr * balance(up, down, weight, self.w_init, self.a))


def _known(con_type: str) -> str:
    if con_type not in BATCH:
        raise ValueError(f"type of connection must be one of {list(BATCH)}, got {con_type!r}")
    return con_type
