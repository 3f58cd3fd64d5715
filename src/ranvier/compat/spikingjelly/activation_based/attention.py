"""SpikingJelly's attention layers: Ranvier's layers with its names and defaults."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

import ranvier
from ranvier.compat.spikingjelly.activation_based import neuron
from ranvier.compat.spikingjelly.activation_based.base import MultiStepModule
from ranvier.compat.spikingjelly.activation_based.carried import Carried


class _Whole(MultiStepModule, Carried):
    """A layer that needs a whole sequence; it has no memory between calls."""

    def carry(self, x_seq: Tensor, names: tuple[str, ...] = ()) -> Any:
        self.reset()
        return super().carry(x_seq, names)


class TemporalWiseAttention(_Whole):
    def __init__(self, T: int, reduction: int = 16, dimension: int = 4):
        if dimension not in (2, 4):
            raise ValueError(f"TemporalWiseAttention: dimension must be 4 or 2, got {dimension!r}")
        names = {"sharedMLP.0.": "gate.down.", "sharedMLP.2.": "gate.up."}
        Carried.__init__(self, ranvier.TemporalAttention(T, reduction), "m", names)
        self.dimension = dimension

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:  # type: ignore[override]
        if x_seq.dim() != self.dimension + 1:
            layout = {2: "[T, N, L]", 4: "[T, N, C, H, W]"}[self.dimension]
            raise ValueError(f"TemporalWiseAttention: expected x with shape {layout}, but got {tuple(x_seq.shape)}")
        return super().multi_step_forward(x_seq)


class MultiDimensionalAttention(_Whole):
    def __init__(
        self,
        T: int,
        C: int,
        reduction_t: int = 16,
        reduction_c: int = 16,
        kernel_size: int = 3,
        use_temporal: bool = True,
        use_channel: bool = True,
        use_spatial: bool = True,
    ):
        used = {"temporal": use_temporal, "channel": use_channel, "spatial": use_spatial}
        core = ranvier.MultiDimensionalAttention(
            T, C, reduction=(reduction_t, reduction_c), kernel=kernel_size, axes=tuple(k for k, v in used.items() if v)
        )
        gates = {"ta": (core.temporal, "temporal"), "ca": (core.channel, "channel")}
        layers = {"sharedMLP.0.weight": "down.weight", "sharedMLP.2.weight": "up.weight"}
        names, shapes = {}, {}
        for shown, (gate, own) in gates.items():
            for a, b in layers.items() if gate is not None else ():
                names[f"{shown}.{a}"] = f"{own}.{b}"
                shapes[f"{shown}.{a}"] = (
                    *getattr(core, own).get_parameter(b).shape,
                    1,
                    1,
                    1,
                )  # SpikingJelly uses convolutions of size 1 here, whose weights have three more axes
        Carried.__init__(self, core, "m", names | ({"sa.conv.": "spatial."} if use_spatial else {}), shapes)


MakeNode = Callable[..., nn.Module] | None


def _nodes(spiking_neuron: MakeNode, given: dict[str, Any]) -> Callable[[float], nn.Module]:
    """Return a function that makes a neuron for sequences with a given threshold. `given`: other arguments of the
    neurons.
    """
    make = spiking_neuron or neuron.LIFNode

    def node(threshold: float) -> nn.Module:
        own = {"tau": 2.0, "detach_reset": True, **({} if threshold == 1.0 else {"v_threshold": threshold})}
        return make(**{**(own if spiking_neuron is None else {}), **given, "step_mode": "m"})

    return node


def _under(shown: str) -> Any:
    """Return a property for a submodule that is registered under the published name `shown`."""
    return property(lambda self: self._modules[shown])


def _pair(shown: str) -> Any:
    return property(lambda self: nn.Sequential(self._modules[f"{shown}_conv"], self._modules[f"{shown}_bn"]))


def _rename(module: Any) -> None:
    for own, shown in module.renamed.items():
        module._modules[shown] = module._modules.pop(own)


LIFS = {"attention_neuron": "attn_lif", "project_neuron": "proj_lif"}


class SpikingSelfAttention(MultiStepModule, ranvier.SpikingSelfAttention):
    def __init__(self, dim: int, num_heads: int = 8, spiking_neuron: MakeNode = None, **kwargs: Any):
        super().__init__(dim, num_heads, neuron=_nodes(spiking_neuron, kwargs))
        _rename(self)

    renamed = {"qkv": "qkv_conv_bn", "project": "proj_conv_bn", "qkv_neuron": "qkv_lif", **LIFS}
    qkv, project, qkv_neuron, attention_neuron, project_neuron = map(_under, renamed.values())


class QKAttention(MultiStepModule, ranvier.QKAttention):
    def __init__(
        self, dim: int, num_heads: int = 8, qka_type: str = "token", spiking_neuron: MakeNode = None, **kwargs: Any
    ):
        super().__init__(dim, num_heads, kind=qka_type, neuron=_nodes(spiking_neuron, kwargs))
        _rename(self)
        self.qka_type = qka_type

    renamed = {"qk": "qk_conv_bn", "project": "proj_conv_bn", "qk_neuron": "qk_lif", **LIFS}
    qk, project, qk_neuron, attention_neuron, project_neuron = map(_under, renamed.values())


class TokenQKAttention(QKAttention):
    def __init__(self, dim: int, num_heads: int = 8, spiking_neuron: MakeNode = None, **kwargs: Any):
        super().__init__(dim, num_heads, "token", spiking_neuron, **kwargs)


class ChannelQKAttention(QKAttention):
    def __init__(self, dim: int, num_heads: int = 8, spiking_neuron: MakeNode = None, **kwargs: Any):
        super().__init__(dim, num_heads, "channel", spiking_neuron, **kwargs)


class SpikeDrivenSelfAttention(MultiStepModule, ranvier.SpikeDrivenSelfAttention):
    def __init__(self, dim: int, num_heads: int = 8, spiking_neuron: MakeNode = None, **kwargs: Any):
        super().__init__(dim, num_heads, neuron=_nodes(spiking_neuron, kwargs))
        for shown in ("q", "k", "v", "proj"):
            pair = self._modules.pop("project" if shown == "proj" else shown)
            self.add_module(f"{shown}_conv", pair[0])  # type: ignore[index]
            self.add_module(f"{shown}_bn", pair[1])  # type: ignore[index]
        _rename(self)

    renamed = {
        "shortcut_neuron": "shortcut_lif", "q_neuron": "q_lif", "k_neuron": "k_lif", "v_neuron": "v_lif",
        "attention_neuron": "attn_lif",
    }  # fmt: skip
    shortcut_neuron, q_neuron, k_neuron, v_neuron, attention_neuron = map(_under, renamed.values())
    q, k, v, project = map(_pair, ("q", "k", "v", "proj"))
