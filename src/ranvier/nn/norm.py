"""Batch norms for deep spiking networks, on sequences [T, B, C, ...]."""

from typing import Any

import torch
from torch import Tensor, nn

from ranvier.nn.fold import safe_gradient, safe_strides, samples, sequence
from ranvier.nn.length import count, span
from ranvier.nn.neurons.leaky import LI
from ranvier.nn.temporal import Temporal, check_sequence

LAYOUTS = {
    1: ((3, 4), "[T, B, C] or [T, B, C, L]"),
    2: ((5,), "[T, B, C, H, W]"),
    3: ((6,), "[T, B, C, D, H, W]"),
}


class _Norm(Temporal):
    """Base of norms: it checks that x is a sequence with the right number of axes."""

    dimension: int

    def _check(self, x: Any) -> None:
        ranks, layout = LAYOUTS[self.dimension]
        if isinstance(x, Tensor) and x.dim() not in ranks:
            raise ValueError(f"{type(self).__name__}: input must be {layout}, got shape {tuple(x.shape)}")
        check_sequence(self, x)

    def explain(self, x: Any) -> str:
        return "torch operations"


class TemporalBatchNorm(_Norm):
    """Base of batch norms for sequences, whose statistics are taken over time and batch together. The second base class
    of such a layer is one of torch's batch norms.
    """

    def normalise(self, x: Tensor) -> Tensor:
        y = super(Temporal, self).forward(samples(x))  # type: ignore[misc]  # the batch norm's forward
        return sequence(y, x.shape[:2])


class _Threshold(TemporalBatchNorm):
    def __init__(self, num_features: int, threshold: float = 1.0, alpha: float = 1.0, **given: Any):
        super().__init__(num_features, **given)  # type: ignore[call-arg]
        weight: Any = self.weight
        if weight is None:
            raise ValueError(f"{type(self).__name__} sets its weight to alpha threshold, so it needs affine=True")
        nn.init.constant_(weight, alpha * threshold)

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        self._check(x)
        y = self.normalise(x)
        return y, {}, {n: y for n in names}


class ThresholdBatchNorm1d(_Threshold, nn.BatchNorm1d):
    """Threshold-dependent batch norm: statistics over time and batch, and a weight that starts at alpha threshold.

    x [T, B, C] or [T, B, C, L] -> the same shape. num_features: C. threshold: the threshold of the next neuron.
    alpha: 1 for one branch, 1 / sqrt(n) if n branches are added. Other arguments as in torch's batch norm. Zheng et
    al., Going deeper with directly-trained larger spiking neural networks, AAAI 2021.

    >>> import torch, ranvier
    >>> ranvier.ThresholdBatchNorm1d(3, threshold=0.5)(torch.rand(4, 2, 3)).shape
    torch.Size([4, 2, 3])
    """

    dimension = 1


class ThresholdBatchNorm2d(_Threshold, nn.BatchNorm2d):
    """`ThresholdBatchNorm1d` for x [T, B, C, H, W]."""

    dimension = 2


class ThresholdBatchNorm3d(_Threshold, nn.BatchNorm3d):
    """`ThresholdBatchNorm1d` for x [T, B, C, D, H, W]."""

    dimension = 3


class _Effective(TemporalBatchNorm):
    scale: nn.Parameter

    def __init__(self, num_features: int, steps: int, **given: Any):
        super().__init__(num_features, **given)  # type: ignore[call-arg]
        self.steps = count(f"{type(self).__name__}: steps", steps)
        self.scale = nn.Parameter(torch.ones(steps))

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        self._check(x)
        begin, after = span(self, x, state, self.steps)
        scale = self.scale[begin : begin + x.shape[0]].to(x.dtype)
        y = self.normalise(x) * scale.view(-1, *(1,) * (x.dim() - 1))
        return y, after, {n: y for n in names}


class TemporalEffectiveBatchNorm1d(_Effective, nn.BatchNorm1d):
    """Temporal-effective batch norm: statistics over time and batch, then a learned scale for each step, which starts
    at 1.

    x [T, B, C] or [T, B, C, L] -> the same shape, for T up to `steps`. num_features: C. Other arguments as torch's
    batch norm. Duan et al., Temporal effective batch normalization in spiking neural networks, NeurIPS 2022.

    >>> import torch, ranvier
    >>> ranvier.TemporalEffectiveBatchNorm1d(3, steps=4)(torch.rand(4, 2, 3)).shape
    torch.Size([4, 2, 3])
    """

    dimension = 1


class TemporalEffectiveBatchNorm2d(_Effective, nn.BatchNorm2d):
    """`TemporalEffectiveBatchNorm1d` for x [T, B, C, H, W]."""

    dimension = 2


class TemporalEffectiveBatchNorm3d(_Effective, nn.BatchNorm3d):
    """`TemporalEffectiveBatchNorm1d` for x [T, B, C, D, H, W]."""

    dimension = 3


class ThroughTime(_Norm):
    plain: type[nn.Module]

    def __init__(self, num_features: int, steps: int, **given: Any):
        super().__init__()
        self.steps = count(f"{type(self).__name__}: steps", steps)
        self.norms = nn.ModuleList(self.plain(num_features, **given) for _ in range(steps))
        for norm in self.norms:
            norm.bias = None  # type: ignore[assignment]  # a bias per step would tell the next neuron which step it is

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        self._check(x)
        begin, after = span(self, x, state, self.steps)
        outputs = [safe_gradient(self.norms[begin + t](safe_strides(x_t))) for t, x_t in enumerate(x.unbind(0))]
        y = torch.stack(outputs) if outputs else x
        return y, after, {n: y for n in names}


class BatchNormThroughTime1d(ThroughTime):
    """Batch norm through time: every step has its own statistics and its own weight; there is no bias.

    x [T, B, C] or [T, B, C, L] -> the same shape, for T up to `steps`. num_features: C. Other arguments as torch's
    batch norm. Kim & Panda, Revisiting batch normalization for training low-latency deep spiking neural networks from
    scratch, Frontiers in Neuroscience 2021.

    >>> import torch, ranvier
    >>> ranvier.BatchNormThroughTime1d(3, steps=4)(torch.rand(4, 2, 3)).shape
    torch.Size([4, 2, 3])
    """

    dimension, plain = 1, nn.BatchNorm1d


class BatchNormThroughTime2d(ThroughTime):
    """`BatchNormThroughTime1d` for x [T, B, C, H, W]."""

    dimension, plain = 2, nn.BatchNorm2d


class BatchNormThroughTime3d(ThroughTime):
    """`BatchNormThroughTime1d` for x [T, B, C, D, H, W]."""

    dimension, plain = 3, nn.BatchNorm3d


class NeuNorm(_Norm):
    """Inhibition by recent spikes: each position is inhibited by the spikes of all channels at this position.

    u = k u + (1 - k) / C^2 (sum of x over channels);  y = x - w u.

    Spikes x [T, B, C, H, W] -> y of the same shape, which may be negative. k in [0, 1] is a decay per step; w is
    learned, one number per channel and position [C, H, W], or with shared=True one per position [1, H, W]. Wu et al.,
    Direct training for spiking neural networks: faster, larger, better, AAAI 2019.

    >>> import torch, ranvier
    >>> ranvier.NeuNorm(2, 3, 3)(torch.ones(4, 1, 2, 3, 3)).shape
    torch.Size([4, 1, 2, 3, 3])
    """

    dimension = 2
    records = ("u", "z")

    def __init__(self, channels: int, height: int, width: int, *, k: float = 0.9, shared: bool = False):
        super().__init__()
        self.places = channels, height, width
        self.field = LI(beta=k)
        self.gain = (1.0 - k) / channels**2
        self.w = nn.Parameter(torch.empty(1 if shared else channels, height, width))
        nn.init.kaiming_uniform_(self.w, a=5**0.5)

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        self._check(x)
        if tuple(x.shape[2:]) != self.places:
            raise ValueError(f"NeuNorm: input must be [T, B, {', '.join(map(str, self.places))}], got {tuple(x.shape)}")
        inner = None if state is None else {"v": state["u"]}
        u, after, _ = self.field.run(self.gain * x.sum(2, keepdim=True), inner)
        y = x - self.w.to(x.dtype) * u
        return y, {"u": after["v"]}, {n: {"u": u, "z": y}[n] for n in names}
