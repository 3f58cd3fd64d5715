"""SpikingJelly's layers with memory, and its attention: core layers with its names and defaults."""

import logging
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

import ranvier
from ranvier.compat.spikingjelly import neuron
from ranvier.compat.spikingjelly.counts import counted, unary
from ranvier.compat.spikingjelly.memory import Carried, MultiStepModule, StepModule, publish

log = logging.getLogger("ranvier")


class NeuNorm(Carried):
    def __init__(
        self,
        in_channels: int,
        height: int,
        width: int,
        k: float = 0.9,
        shared_across_channels: bool = False,
        step_mode: str = "s",
    ):
        core = ranvier.NeuNorm(in_channels, height, width, k=k, shared=shared_across_channels)
        super().__init__(core, step_mode, published={"w": "w"})


class _ThresholdDependent(MultiStepModule):
    def __init__(self, alpha: float, v_th: float, *args: Any, **kwargs: Any):
        features, given = _batch_norm(*args, **kwargs)
        super().__init__(features, threshold=v_th, alpha=alpha, **given)  # type: ignore[call-arg]


def _batch_norm(
    num_features: int,
    eps: float = 1e-5,
    momentum: float | None = 0.1,
    affine: bool = True,
    track_running_stats: bool = True,
) -> tuple[int, dict[str, Any]]:
    more = {"eps": eps, "momentum": momentum, "affine": affine, "track_running_stats": track_running_stats}
    return num_features, more


class ThresholdDependentBatchNorm1d(_ThresholdDependent, ranvier.ThresholdBatchNorm1d): ...


class ThresholdDependentBatchNorm2d(_ThresholdDependent, ranvier.ThresholdBatchNorm2d): ...


class ThresholdDependentBatchNorm3d(_ThresholdDependent, ranvier.ThresholdBatchNorm3d): ...


class _TemporalEffective(MultiStepModule):
    def __init__(self, T: int, *args: Any, **kwargs: Any):
        features, given = _batch_norm(*args, **kwargs)
        super().__init__(features, steps=T, **given)  # type: ignore[call-arg]


class TemporalEffectiveBatchNorm1d(_TemporalEffective, ranvier.TemporalEffectiveBatchNorm1d): ...


class TemporalEffectiveBatchNorm2d(_TemporalEffective, ranvier.TemporalEffectiveBatchNorm2d): ...


class TemporalEffectiveBatchNorm3d(_TemporalEffective, ranvier.TemporalEffectiveBatchNorm3d): ...


class _ThroughTime(Carried):
    layer: type

    def __init__(
        self,
        T: int,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        step_mode: str = "s",
    ):
        features, given = _batch_norm(num_features, eps, momentum, affine, track_running_stats)
        super().__init__(self.layer(features, steps=T, **given), step_mode, published={"bn_list.": "norms."})


class BatchNormThroughTime1d(_ThroughTime):
    layer = ranvier.BatchNormThroughTime1d


class BatchNormThroughTime2d(_ThroughTime):
    layer = ranvier.BatchNormThroughTime2d


class BatchNormThroughTime3d(_ThroughTime):
    layer = ranvier.BatchNormThroughTime3d


class Dropout(Carried):
    def __init__(self, p: float = 0.5, step_mode: str = "s"):
        super().__init__(ranvier.Dropout(p), step_mode)
        self.p = p


class Dropout2d(Carried):
    def __init__(self, p: float = 0.2, step_mode: str = "s"):
        super().__init__(ranvier.Dropout2d(p), step_mode)
        self.p = p


class DropConnectLinear(Carried):
    """state_mode is the name older versions give step_mode."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        p: float = 0.5,
        samples_num: int = 1024,
        invariant: bool = False,
        activation: nn.Module | None = nn.ReLU(),  # noqa: B008
        step_mode: str = "s",
        *,
        state_mode: str | None = None,
    ):
        core = ranvier.DropConnectLinear(
            in_features, out_features, bias=bias, p=p, samples=samples_num, locked=invariant,
            act="identity" if activation is None else type(activation)() if type(activation) is nn.ReLU else activation,
        )  # fmt: skip
        super().__init__(core, state_mode or step_mode, published={"weight": "weight", "bias": "bias"})
        self.activation = activation

    def reset(self) -> None:
        super().reset()
        if callable(reset := getattr(self.activation, "reset", None)):
            reset()


class SynapseFilter(Carried):
    def __init__(self, tau: float = 100.0, learnable: bool = False, step_mode: str = "s"):
        core = ranvier.SynapseFilter(tau, learn="tau" if learnable else ())
        super().__init__(core, step_mode, {"out_i": ("i", 0.0)}, {"w": "rate"} if learnable else {})


class Delay(Carried):
    def __init__(self, delay_steps: int, step_mode: str = "s"):
        super().__init__(ranvier.Delay(delay_steps), step_mode)
        self.delay_steps = delay_steps


class VotingLayer(StepModule, ranvier.GroupMean):
    def __init__(self, voting_size: int = 10, step_mode: str = "s"):
        super().__init__(voting_size)
        self.step_mode = step_mode


class PrintShapeModule(StepModule, nn.Module):
    """Its input, unchanged; the shape goes to the log at level DEBUG."""

    def __init__(self, ext_str: str = "PrintShapeModule"):
        super().__init__()
        self.ext_str = ext_str

    def forward(self, x: Tensor) -> Tensor:
        log.debug("%s %s", self.ext_str, tuple(x.shape))
        return x


class _Slots(MultiStepModule, nn.Module):
    """Changes the number of steps in evaluation, or always; in training, else, nothing."""

    def __init__(self, num_slots: int, always_convert: bool = False):
        super().__init__()
        if isinstance(num_slots, bool) or not isinstance(num_slots, int) or num_slots < 1:
            raise ValueError(f"{type(self).__name__}: num_slots must be a whole number >= 1, got {num_slots!r}")
        self.num_slots, self.always_convert = num_slots, always_convert

    def convert(self, x_seq: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x_seq: Tensor) -> Tensor:
        return self.convert(x_seq) if self.always_convert or not self.training else x_seq


class SpikeCountToBinary(_Slots):
    """Counts [T, N, *] -> spikes [T num_slots, N, *]."""

    def convert(self, x_seq: Tensor) -> Tensor:
        return unary(x_seq, self.num_slots)


class TemporalBinSum(_Slots):
    """Spikes [T, N, *] -> counts [ceil(T / num_slots), N, *]."""

    def convert(self, x_seq: Tensor) -> Tensor:
        return counted(x_seq, self.num_slots)


class TemporalWiseAttention(MultiStepModule, ranvier.TemporalAttention):
    def __init__(self, T: int, reduction: int = 16, dimension: int = 4):
        if dimension not in (2, 4):
            raise ValueError(f"TemporalWiseAttention: dimension must be 4 or 2, got {dimension!r}")
        super().__init__(T, reduction)
        self.dimension = dimension
        publish(self, {"sharedMLP.0.": "gate.down.", "sharedMLP.2.": "gate.up."})

    def mix(self, x: Tensor) -> Tensor:
        if x.dim() != self.dimension + 1:
            layout = {2: "[T, N, L]", 4: "[T, N, C, H, W]"}[self.dimension]
            raise ValueError(f"TemporalWiseAttention: expected x with shape {layout}, but got {tuple(x.shape)}")
        return super().mix(x)


class MultiDimensionalAttention(MultiStepModule, ranvier.MultiDimensionalAttention):
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
        super().__init__(
            T, C, reduction=(reduction_t, reduction_c), kernel=kernel_size, axes=tuple(k for k, v in used.items() if v)
        )
        gates = {"ta": "temporal", "ca": "channel"}
        layers = {"sharedMLP.0.": "down.", "sharedMLP.2.": "up."}
        names = {f"{a}.{k}": f"{b}.{v}" for a, b in gates.items() for k, v in layers.items()}
        publish(self, {**names, "sa.conv.": "spatial."})


MakeNode = Callable[..., nn.Module] | None


def _nodes(spiking_neuron: MakeNode, given: dict[str, Any]) -> Callable[[float], nn.Module]:
    """From a threshold to a neuron of sequences; `given` goes to each of them."""
    make = spiking_neuron or neuron.LIFNode

    def node(threshold: float) -> nn.Module:
        own = {"tau": 2.0, "detach_reset": True, **({} if threshold == 1.0 else {"v_threshold": threshold})}
        return make(**{**(own if spiking_neuron is None else {}), **given, "step_mode": "m"})

    return node


class SpikingSelfAttention(MultiStepModule, ranvier.SpikingSelfAttention):
    def __init__(self, dim: int, num_heads: int = 8, spiking_neuron: MakeNode = None, **kwargs: Any):
        super().__init__(dim, num_heads, neuron=_nodes(spiking_neuron, kwargs))
        publish(self, {"qkv_conv_bn.": "qkv.", "proj_conv_bn.": "project."})


class QKAttention(MultiStepModule, ranvier.QKAttention):
    def __init__(
        self, dim: int, num_heads: int = 8, qka_type: str = "token", spiking_neuron: MakeNode = None, **kwargs: Any
    ):
        super().__init__(dim, num_heads, kind=qka_type, neuron=_nodes(spiking_neuron, kwargs))
        publish(self, {"qk_conv_bn.": "qk.", "proj_conv_bn.": "project."})


class TokenQKAttention(QKAttention):
    def __init__(self, dim: int, num_heads: int = 8, spiking_neuron: MakeNode = None, **kwargs: Any):
        super().__init__(dim, num_heads, "token", spiking_neuron, **kwargs)


class ChannelQKAttention(QKAttention):
    def __init__(self, dim: int, num_heads: int = 8, spiking_neuron: MakeNode = None, **kwargs: Any):
        super().__init__(dim, num_heads, "channel", spiking_neuron, **kwargs)


class SpikeDrivenSelfAttention(MultiStepModule, ranvier.SpikeDrivenSelfAttention):
    def __init__(self, dim: int, num_heads: int = 8, spiking_neuron: MakeNode = None, **kwargs: Any):
        super().__init__(dim, num_heads, neuron=_nodes(spiking_neuron, kwargs))
        parts = {"q": "q", "k": "k", "v": "v", "proj": "project"}
        names = {f"{a}_conv.": f"{b}.0." for a, b in parts.items()} | {f"{a}_bn.": f"{b}.1." for a, b in parts.items()}
        publish(self, names)
