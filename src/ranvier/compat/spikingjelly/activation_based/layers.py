"""SpikingJelly's layers with memory: Ranvier's layers with its names and defaults."""

import logging
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import ranvier
from ranvier.compat.spikingjelly.activation_based.base import MultiStepModule, StepModule
from ranvier.compat.spikingjelly.activation_based.carried import Carried
from ranvier.compat.spikingjelly.activation_based.counts import counted, unary
from ranvier.nn.neurons.parametric import leak

log = logging.getLogger("ranvier")


def _of_core(name: str, check: Callable[[str, Any], Any] = lambda name, v: v) -> Any:
    """Return an attribute of the core layer with a published name; it can be read and set."""
    return property(
        lambda self: getattr(self.core, name),
        lambda self, value: setattr(self.core, name, check(type(self).__name__, value)),
    )


def _share(name: str, p: Any) -> float:
    if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0.0 <= p < 1.0:
        raise ValueError(f"{name}: p must lie in [0, 1), got {p!r}")
    return float(p)


class NeuNorm(Carried):
    kept = {"x": ("u", 0.0)}

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
        super().__init__(core, step_mode, {"w": "w"})

    k1 = _of_core("gain")

    @property
    def k0(self) -> float:
        """Decay of the inhibition per step."""
        return float(self.core.field.beta)

    @k0.setter
    def k0(self, value: float) -> None:
        self.core.field = ranvier.LI(beta=value)

    def _before(self, x: Tensor) -> Any:  # the inhibition is shared by all channels: [N, 1, H, W]
        if not isinstance(self.x, Tensor):
            return None if self.x == 0.0 else {"u": x.new_full((x.shape[1], 1, *x.shape[3:]), float(self.x))}
        return {"u": self.x}


class _ThresholdDependent(MultiStepModule):
    def __init__(self, alpha: float, v_th: float, *args: Any, **kwargs: Any):
        features, given = _batch_norm(*args, **kwargs)
        super().__init__(features, threshold=v_th, alpha=alpha, **given)  # type: ignore[call-arg]
        self.alpha, self.v_th = alpha, v_th  # only stored: the initial weight was computed from them


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
        super().__init__(self.layer(features, steps=T, **given), step_mode, {"bn_list.": "norms."})

    T = property(lambda self: self.core.steps)


class BatchNormThroughTime1d(_ThroughTime):
    layer = ranvier.BatchNormThroughTime1d


class BatchNormThroughTime2d(_ThroughTime):
    layer = ranvier.BatchNormThroughTime2d


class BatchNormThroughTime3d(_ThroughTime):
    layer = ranvier.BatchNormThroughTime3d


class _Masked(Carried):
    kept = {"mask": ("mask", None)}
    layer: type

    def __init__(self, p: float, step_mode: str, dropout_spikes: bool):
        if dropout_spikes:
            raise ValueError(
                f"{type(self).__name__}: dropout_spikes=True is not supported; kept values are scaled by 1/(1-p)"
            )
        super().__init__(self.layer(p), step_mode)

    p = _of_core("p", _share)

    def create_mask(self, x: Tensor) -> None:
        """Draw a new mask for steps like x."""
        self.mask = self.core.mask(x)


class Dropout(_Masked):
    layer = ranvier.Dropout

    def __init__(self, p: float = 0.5, step_mode: str = "s", *, dropout_spikes: bool = False):
        super().__init__(p, step_mode, dropout_spikes)


class Dropout2d(_Masked):
    layer = ranvier.Dropout2d

    def __init__(self, p: float = 0.2, step_mode: str = "s", *, dropout_spikes: bool = False):
        super().__init__(p, step_mode, dropout_spikes)


class DropConnectLinear(Carried):
    """`ranvier.DropConnectLinear` with SpikingJelly's arguments. state_mode: step_mode in older versions."""

    kept = {"dropped_w": ("mask", None), "dropped_b": ("mask_b", None)}

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
        super().__init__(core, state_mode or step_mode, {"weight": "weight", "bias": "bias"})
        if not bias:
            self.register_parameter("bias", None)
        self.in_features, self.out_features, self.activation = in_features, out_features, activation

    p = _of_core("p", _share)
    invariant = _of_core("locked")
    samples_num = _of_core("samples")

    def drop(self, batch_size: int) -> None:
        """Draw the masks for a batch; with invariant=True they are used until `reset()`."""
        masks = self.core._masks(batch_size, self.weight)
        self.dropped_w, self.dropped_b = masks["mask"], masks.get("mask_b")

    def reset_parameters(self) -> None:
        nn.Linear.reset_parameters(self)  # type: ignore[arg-type]

    def _fit(self, value: Tensor, shape: Any) -> Tensor:
        return value

    def _before(self, x: Tensor) -> Any:
        masks = {"mask": self.dropped_w, "mask_b": self.dropped_b}
        return None if self.dropped_w is None else {k: v for k, v in masks.items() if v is not None}

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:  # type: ignore[override]
        act = self.activation
        self.core.act = (lambda y: y) if act is None else act
        return super().multi_step_forward(x_seq)

    def reset(self) -> None:
        super().reset()
        if callable(reset := getattr(self.activation, "reset", None)):
            reset()


class SynapseFilter(Carried):
    """Filter spikes by a synapse with a time constant of tau steps. learnable=True learns w = logit(1 / tau)."""

    kept = {"out_i": ("i", 0.0)}

    def __init__(self, tau: float = 100.0, learnable: bool = False, step_mode: str = "s"):
        core = ranvier.SynapseFilter(tau, learn="tau" if learnable else ())
        super().__init__(core, step_mode, {"w": "rate"} if learnable else {}, {"w": ()})
        self.learnable = learnable

    @property
    def tau(self) -> float:
        return 1.0 + math.exp(-float(self.w if self.learnable else self.core.rate))

    @tau.setter
    def tau(self, value: float) -> None:
        with torch.no_grad():
            (self.w if self.learnable else self.core.rate).fill_(-math.log(1.0 / leak(value) - 1.0))

    @staticmethod
    def js_single_step_forward(x: Tensor, out_i: Tensor, tau: float) -> Tensor:
        """Return the current after one step."""
        return out_i - (1.0 - x) * out_i / tau + x

    @staticmethod
    def js_single_step_forward_learnable(x: Tensor, out_i: Tensor, w: Tensor) -> Tensor:
        return out_i - (1.0 - x) * out_i * w.sigmoid() + x


class Delay(Carried):
    def __init__(self, delay_steps: int, step_mode: str = "s"):
        super().__init__(ranvier.Delay(delay_steps), step_mode)

    @property
    def delay_steps(self) -> int:
        return self.core.reach

    @delay_steps.setter
    def delay_steps(self, value: int) -> None:
        self.__dict__["core"] = ranvier.Delay(value)
        self.reset()

    @property
    def queue(self) -> list[Tensor]:
        """The inputs that have not arrived yet, oldest first."""
        return [] if self.state is None else list(next(iter(self.state.values())).unbind(1))


class VotingLayer(StepModule, ranvier.GroupMean):
    def __init__(self, voting_size: int = 10, step_mode: str = "s"):
        super().__init__(voting_size)
        self.step_mode = step_mode

    @property
    def voting_size(self) -> int:
        return self.votes

    @voting_size.setter
    def voting_size(self, value: int) -> None:
        self.votes = value

    def single_step_forward(self, x: Tensor) -> Tensor:
        return ranvier.GroupMean.forward(self, x)


class PrintShapeModule(StepModule, nn.Module):
    """Return the input unchanged; its shape is logged at level DEBUG."""

    def __init__(self, ext_str: str = "PrintShapeModule"):
        super().__init__()
        self.ext_str = ext_str

    def forward(self, x: Tensor) -> Tensor:
        log.debug("%s %s", self.ext_str, tuple(x.shape))
        return x


class _Slots(MultiStepModule, nn.Module):
    """Changes the number of steps in evaluation mode; in training mode only if always_convert is True."""

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
    """Counts [T, N, *] -> spikes [T * num_slots, N, *]."""

    def convert(self, x_seq: Tensor) -> Tensor:
        return unary(x_seq, self.num_slots)


class TemporalBinSum(_Slots):
    """Spikes [T, N, *] -> counts [ceil(T / num_slots), N, *]."""

    def convert(self, x_seq: Tensor) -> Tensor:
        return counted(x_seq, self.num_slots)
