"""Losses on the traces of a readout layer. Each is built with its settings, then called: `loss()(traces, labels)`.

The arguments of a loss are traces `[T, *batch, C]` (time at `time_axis`, classes last), labels `[*batch]` whole numbers
in [0, C) and optionally lengths `[*batch]` in [1, T]: steps beyond a sample's length do not count. It returns a scalar,
the mean over samples; wrong axes and labels out of range raise a ValueError. A loss can be pickled, and prints its
settings. All losses except `van_rossum` also have the settings

* weights `[C]`, numbers >= 0: a sample of class c counts `weights[c]` times in that mean (None: each counts once);
* ignore_index: samples with this label do not count (None: all count). If no sample counts, the loss is 0.

>>> loss = integral_crossentropy(weights=[1.0, 3.0], ignore_index=-1)
>>> traces = torch.tensor([[[2.0, 0.0], [2.0, 0.0], [9.0, 0.0]]])  # [T=1, B=3, C=2]
>>> loss(traces, torch.tensor([0, 1, -1]))  # (1 * 0.1269 + 3 * 2.1269) / 4
tensor(1.6269)
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ranvier.train.traces import admit, integrate, mean_of, refuse_bad_weights, weigh, within

Loss = Callable[..., Tensor]
Weights = Sequence[float] | Tensor | None


class _Mean:
    """A loss that is the mean of one value per sample."""

    time_axis: int
    weights: Weights
    ignore_index: int | None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name in CHECKS:
                CHECKS[name](type(self).__name__, name, value)

    def __call__(self, traces: Tensor, labels: Tensor, lengths: Tensor | None = None) -> Tensor:
        labels, counts = weigh(type(self).__name__, traces, labels, self.weights, self.ignore_index)
        return mean_of(self.each(traces, labels, lengths), counts)

    def each(self, traces: Tensor, labels: Tensor, lengths: Tensor | None) -> Tensor:
        """Return one value per sample: `[*batch]`."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class integral_crossentropy(_Mean):
    """Cross-entropy of the readout summed over time.

    With `s = sum_t traces / temperature` and `q = (1 - smoothing) * onehot + smoothing / C`:
    `loss = mean over the batch of -sum_c q_c * log_softmax(s)_c`.

    `smoothing` in [0, 1]; `temperature` > 0 divides the sums; with temperature T the sum becomes a mean. `time_axis`,
    `weights` and `ignore_index`: see the docstring of this module.

    >>> loss = integral_crossentropy()
    >>> loss(torch.zeros(20, 4, 10), torch.tensor([0, 1, 2, 3]))  # undecided: log(10)
    tensor(2.3026)
    """

    smoothing: float = 0.0
    time_axis: int = 0
    temperature: float = 1.0
    weights: Weights = None
    ignore_index: int | None = None

    def each(self, traces: Tensor, labels: Tensor, lengths: Tensor | None) -> Tensor:
        total, _ = integrate("integral_crossentropy", traces, labels, lengths, self.time_axis)
        return _crossentropy(total / self.temperature, labels, self.smoothing)


@dataclass(frozen=True, eq=False)
class mse_spikerate(_Mean):
    """Mean squared error between the readout's firing rate and a target rate.

    With `r = mean_t traces` (spikes per step, in [0, 1]; over a sample's own length) and `q` as in
    `integral_crossentropy`: `loss = mean over batch and classes of (r - sparsity * q)^2`: the right class should fire
    at `sparsity`, in spikes per step. Both settings are in [0, 1]; for the others see the docstring of this module.

    >>> traces = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).unsqueeze(1)  # [T=2, B=1, C=2]
    >>> mse_spikerate(sparsity=0.5)(traces, torch.tensor([0]))
    tensor(0.)
    """

    sparsity: float = 0.25
    smoothing: float = 0.0
    time_axis: int = 0
    weights: Weights = None
    ignore_index: int | None = None

    def each(self, traces: Tensor, labels: Tensor, lengths: Tensor | None) -> Tensor:
        total, steps = integrate("mse_spikerate", traces, labels, lengths, self.time_axis)
        classes = total.shape[-1]
        wanted = functional.one_hot(labels, classes).to(total.dtype) * (1 - self.smoothing) + self.smoothing / classes
        return ((total / steps - self.sparsity * wanted) ** 2).mean(-1)


@dataclass(frozen=True, eq=False)
class mean_crossentropy(_Mean):
    """Cross-entropy of the readout's mean over time, of each sample over its own length.

    It is `integral_crossentropy` with `s = mean_t traces`; the scale of s does not depend on T.

    >>> mean_crossentropy()(torch.zeros(20, 4, 10), torch.tensor([0, 1, 2, 3]))
    tensor(2.3026)
    """

    smoothing: float = 0.0
    time_axis: int = 0
    weights: Weights = None
    ignore_index: int | None = None

    def each(self, traces: Tensor, labels: Tensor, lengths: Tensor | None) -> Tensor:
        total, steps = integrate("mean_crossentropy", traces, labels, lengths, self.time_axis)
        return _crossentropy(total / steps, labels, self.smoothing)


@dataclass(frozen=True, eq=False)
class max_crossentropy(_Mean):
    """Cross-entropy of the readout's largest value over time: `s = max_t traces`.

    The settings are as in `integral_crossentropy`. The gradient goes to the step of the maximum.
    Cramer et al., The Heidelberg spiking data sets, IEEE TNNLS 33, 2022.

    >>> traces = torch.tensor([[5.0, 0.0], [0.0, 1.0]]).unsqueeze(1)  # [T=2, B=1, C=2]: maxima 5 and 1
    >>> max_crossentropy()(traces, torch.tensor([0]))
    tensor(0.0181)
    """

    smoothing: float = 0.0
    time_axis: int = 0
    weights: Weights = None
    ignore_index: int | None = None

    def each(self, traces: Tensor, labels: Tensor, lengths: Tensor | None) -> Tensor:
        traces, counted = admit("max_crossentropy", traces, labels, lengths, self.time_axis)
        traces = traces if counted is None else torch.where(counted, traces, -torch.inf)
        return _crossentropy(traces.amax(0), labels, self.smoothing)


@dataclass(frozen=True, eq=False)
class first_spike_crossentropy(_Mean):
    """Time to first spike: the right class should fire first.

    The first spike of class c comes at step `t_c = sum_t prod_(s <= t) (1 - z_s)`: T if there is none. The loss is
    the cross-entropy of `softmax(-t / tau)`. Its gradient goes through the surrogate derivatives of z and moves spikes
    in time.

    Traces are spikes in {0, 1}; steps beyond a sample's length have no spikes. `tau` > 0 in steps: the smaller it is,
    the more a small difference of times counts; `smoothing` in [0, 1] as in `integral_crossentropy`; for the other
    settings see the docstring of this module. Mostafa, IEEE TNNLS 29, 2018; Göltz et al., Nature MI 3, 2021.

    >>> traces = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]).unsqueeze(1)  # first spikes at steps 1 and 2
    >>> first_spike_crossentropy()(traces, torch.tensor([0]))
    tensor(0.3133)
    """

    tau: float = 1.0
    time_axis: int = 0
    smoothing: float = 0.0
    weights: Weights = None
    ignore_index: int | None = None

    def each(self, traces: Tensor, labels: Tensor, lengths: Tensor | None) -> Tensor:
        traces, counted = admit("first_spike_crossentropy", traces, labels, lengths, self.time_axis)
        spikes = traces if counted is None else torch.where(counted, traces, 0.0)
        first = torch.cumprod(1.0 - spikes, 0).sum(0)
        return _crossentropy(-first / self.tau, labels, self.smoothing)


@dataclass(frozen=True, eq=False)
class temporal_crossentropy(_Mean):
    """Temporal efficient training: the readout should give the right answer at every single step.

    `loss = (1 - share) mean_t CE(traces[t]) + share mean_t mean_c (traces[t] - aim)^2`; the second term keeps the
    readout near `aim`, so that no step dominates the others.

    `share` and `smoothing` are in [0, 1], `aim` is any number; for the other settings see the docstring of this module.
    Deng et al., Temporal efficient training of spiking neural network via gradient re-weighting, ICLR 2022.

    >>> temporal_crossentropy(share=0.0)(torch.zeros(20, 4, 10), torch.tensor([0, 1, 2, 3]))
    tensor(2.3026)
    """

    share: float = 0.05
    aim: float = 1.0
    smoothing: float = 0.0
    time_axis: int = 0
    weights: Weights = None
    ignore_index: int | None = None

    def each(self, traces: Tensor, labels: Tensor, lengths: Tensor | None) -> Tensor:
        traces, counted = admit("temporal_crossentropy", traces, labels, lengths, self.time_axis)
        traces = traces if counted is None else torch.where(counted, traces, 0.0)
        right = _crossentropy(traces, labels.expand(traces.shape[:-1]), self.smoothing)
        each = (1 - self.share) * right + self.share * ((traces - self.aim) ** 2).mean(-1)  # [T, *batch]
        if counted is None or lengths is None:
            return each.mean(0)
        return torch.where(counted.squeeze(-1), each, 0.0).sum(0) / lengths


@dataclass(frozen=True, eq=False)
class van_rossum:
    """Van Rossum distance of spike trains: both are filtered with `exp(-t / tau)`, then compared.

    `d[t] = exp(-1 / tau) d[t - 1] + z[t] - target[t]`;  `loss` is the mean of `(1 / tau) sum_t d[t]^2` over all axes
    except time. To this sum, one extra spike far from all others adds about 1/2.

    Call it with traces and targets, spikes of the same shape `[T, B, *features]` (time at `time_axis`), and optionally
    lengths `[B]`. `tau` > 0 in steps. Van Rossum, A novel spike distance, Neural Computation 13, 2001.

    >>> train = torch.zeros(200, 1, 1)
    >>> more = train.clone()
    >>> more[20] = 1.0
    >>> van_rossum(tau=10.0)(more, train)
    tensor(0.5517)
    """

    tau: float = 10.0
    time_axis: int = 0

    def __post_init__(self) -> None:
        CHECKS["tau"]("van_rossum", "tau", self.tau)

    def __call__(self, traces: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Tensor:
        from ranvier.nn.neurons.leaky import LI

        if traces.shape != targets.shape or traces.dim() < 3:
            raise ValueError(
                f"van_rossum: wanted traces and targets of one shape [T, B, *features], "
                f"got {list(traces.shape)} and {list(targets.shape)}"
            )
        apart = (traces - targets).movedim(self.time_axis, 0)
        if lengths is not None:
            counted = within("van_rossum", lengths, apart.shape[1:2], len(apart))
            apart = torch.where(counted.view(*counted.shape, *[1] * (apart.dim() - 2)), apart, 0.0)
        return (LI(beta=math.exp(-1 / self.tau))(apart) ** 2).sum(0).mean() / self.tau


def _crossentropy(scores: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the cross-entropy `[...]` of scores `[..., C]` and labels `[...]`."""
    flat = functional.cross_entropy(
        scores.flatten(0, -2), labels.flatten(), label_smoothing=smoothing, reduction="none"
    )
    return flat.view(labels.shape)


def _refuse_tensor(function: str, name: str, value: Any) -> None:
    if isinstance(value, Tensor):
        raise TypeError(
            f"{function}: {name} is a tensor; make the loss first, then call it: {function}()(traces, labels)"
        )


def _positive(function: str, name: str, value: Any) -> None:
    _refuse_tensor(function, name, value)
    if not 0.0 < value < math.inf:
        raise ValueError(f"{function}: {name} must be positive, got {value}")


def _share(function: str, name: str, value: Any) -> None:
    _refuse_tensor(function, name, value)
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{function}: {name} must lie in [0, 1], got {value}")


def _finite(function: str, name: str, value: Any) -> None:
    _refuse_tensor(function, name, value)
    if not math.isfinite(value):
        raise ValueError(f"{function}: {name} must be a finite number, got {value}")


# The functions that check the settings, by the names of the settings.
CHECKS: dict[str, Callable[[str, str, Any], None]] = {
    "smoothing": _share, "sparsity": _share, "share": _share, "temperature": _positive, "tau": _positive,
    "aim": _finite, "time_axis": _refuse_tensor, "weights": refuse_bad_weights,
}  # fmt: skip

# Losses by name, for recipes and the command line.
LOSSES: dict[str, Callable[..., Loss]] = {
    maker.__name__: maker
    for maker in (
        integral_crossentropy, mean_crossentropy, max_crossentropy, first_spike_crossentropy, temporal_crossentropy,
        mse_spikerate, van_rossum,
    )
}  # fmt: skip
