"""Losses on the traces of a readout layer. Each maker returns `loss(traces, labels, lengths=None) -> scalar`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from ranvier.train.traces import admit, integrate, within

Loss = Callable[..., Tensor]


def integral_crossentropy(smoothing: float = 0.0, time_axis: int = 0, temperature: float = 1.0) -> Loss:
    """Cross-entropy of the readout summed over time.

    With `s = sum_t traces / temperature` and `q = (1 - smoothing) * onehot + smoothing / C`:
    `loss = mean over the batch of -sum_c q_c * log_softmax(s)_c`.

    Returned function: traces `[T, B, C]` (time at `time_axis`, classes last), labels `[B]` whole numbers in [0, C),
    optionally lengths `[B]` in [1, T] (traces beyond a sample's length do not count) -> scalar. `smoothing` in [0, 1];
    `temperature` > 0 keeps long sums soft: T makes the sum a mean. ValueError on wrong axes or labels out of range.

    >>> loss = integral_crossentropy()
    >>> loss(torch.zeros(20, 4, 10), torch.tensor([0, 1, 2, 3]))  # undecided: log(10)
    tensor(2.3026)
    """
    _refuse_bad_share("integral_crossentropy", "smoothing", smoothing)
    _refuse_not_positive("integral_crossentropy", "temperature", temperature)

    def loss(traces: Tensor, labels: Tensor, lengths: Tensor | None = None) -> Tensor:
        total, _ = integrate("integral_crossentropy", traces, labels, lengths, time_axis)
        return _crossentropy(total / temperature, labels, smoothing)

    return loss


def mse_spikerate(sparsity: float = 0.25, smoothing: float = 0.0, time_axis: int = 0) -> Loss:
    """Mean squared error between the readout's firing rate and a wanted rate.

    With `r = mean_t traces` (spikes per step, in [0, 1]) and `q` as in `integral_crossentropy`:
    `loss = mean over batch and classes of (r - sparsity * q)^2`: the right class should fire at `sparsity`.

    Returned function: traces `[T, B, C]` spikes (time at `time_axis`, classes last), labels `[B]` whole numbers in
    [0, C), optionally lengths `[B]` (a rate is over a sample's own length) -> scalar. Both settings in [0, 1].

    >>> traces = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).unsqueeze(1)  # [T=2, B=1, C=2]
    >>> mse_spikerate(sparsity=0.5)(traces, torch.tensor([0]))
    tensor(0.)
    """
    _refuse_bad_share("mse_spikerate", "sparsity", sparsity)
    _refuse_bad_share("mse_spikerate", "smoothing", smoothing)

    def loss(traces: Tensor, labels: Tensor, lengths: Tensor | None = None) -> Tensor:
        total, steps = integrate("mse_spikerate", traces, labels, lengths, time_axis)
        classes = total.shape[-1]
        wanted = functional.one_hot(labels.long(), classes).to(total.dtype) * (1 - smoothing) + smoothing / classes
        return torch.mean((total / steps - sparsity * wanted) ** 2)

    return loss


def mean_crossentropy(smoothing: float = 0.0, time_axis: int = 0) -> Loss:
    """Cross-entropy of the readout's mean over time: the mean membrane, of each sample over its own length.

    As `integral_crossentropy`, with `s = mean_t traces`; softer, and its scale does not depend on T.

    >>> mean_crossentropy()(torch.zeros(20, 4, 10), torch.tensor([0, 1, 2, 3]))
    tensor(2.3026)
    """
    _refuse_bad_share("mean_crossentropy", "smoothing", smoothing)

    def loss(traces: Tensor, labels: Tensor, lengths: Tensor | None = None) -> Tensor:
        total, steps = integrate("mean_crossentropy", traces, labels, lengths, time_axis)
        return _crossentropy(total / steps, labels, smoothing)

    return loss


def max_crossentropy(smoothing: float = 0.0, time_axis: int = 0) -> Loss:
    """Cross-entropy of the readout's largest value over time: `s = max_t traces`.

    Traces, labels, lengths and `smoothing` as in `integral_crossentropy`. The gradient goes to the step of the maximum.
    Cramer et al., The Heidelberg spiking data sets, IEEE TNNLS 33, 2022.

    >>> traces = torch.tensor([[5.0, 0.0], [0.0, 1.0]]).unsqueeze(1)  # [T=2, B=1, C=2]: maxima 5 and 1
    >>> max_crossentropy()(traces, torch.tensor([0]))
    tensor(0.0181)
    """
    _refuse_bad_share("max_crossentropy", "smoothing", smoothing)

    def loss(traces: Tensor, labels: Tensor, lengths: Tensor | None = None) -> Tensor:
        traces, counted = admit("max_crossentropy", traces, labels, lengths, time_axis)
        traces = traces if counted is None else torch.where(counted, traces, -torch.inf)
        return _crossentropy(traces.amax(0), labels, smoothing)

    return loss


def first_spike_crossentropy(tau: float = 1.0, time_axis: int = 0) -> Loss:
    """Time to first spike: the right class should fire first.

    The first spike of class c comes at step `t_c = sum_t prod_(s <= t) (1 - z_s)`: T if there is none. The loss is
    the cross-entropy of `softmax(-t / tau)`. Through the surrogates behind z it says which spikes would come earlier.

    Returned function: traces `[T, B, C]` spikes in {0, 1}, labels and lengths as in `integral_crossentropy` (beyond a
    sample's length nothing fires). `tau` > 0 in steps. Mostafa, IEEE TNNLS 29, 2018; Göltz et al., Nature MI 3, 2021.

    >>> traces = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]).unsqueeze(1)  # first spikes at steps 1 and 2
    >>> first_spike_crossentropy()(traces, torch.tensor([0]))
    tensor(0.3133)
    """
    _refuse_not_positive("first_spike_crossentropy", "tau", tau)

    def loss(traces: Tensor, labels: Tensor, lengths: Tensor | None = None) -> Tensor:
        traces, counted = admit("first_spike_crossentropy", traces, labels, lengths, time_axis)
        spikes = traces if counted is None else torch.where(counted, traces, 0.0)
        first = torch.cumprod(1.0 - spikes, 0).sum(0)
        return _crossentropy(-first / tau, labels, 0.0)

    return loss


def temporal_crossentropy(share: float = 0.05, aim: float = 1.0, smoothing: float = 0.0, time_axis: int = 0) -> Loss:
    """Temporal efficient training: every step for itself should give the right answer.

    `loss = (1 - share) mean_t CE(traces[t]) + share mean_t mean_c (traces[t] - aim)^2`; the second term holds the
    readout near `aim`, so that no step outshouts the others.

    Traces, labels, lengths and `smoothing` as in `integral_crossentropy`; `share` in [0, 1]. Deng et al., Temporal
    efficient training of spiking neural network via gradient re-weighting, ICLR 2022.

    >>> temporal_crossentropy(share=0.0)(torch.zeros(20, 4, 10), torch.tensor([0, 1, 2, 3]))
    tensor(2.3026)
    """
    _refuse_bad_share("temporal_crossentropy", "share", share)
    _refuse_bad_share("temporal_crossentropy", "smoothing", smoothing)

    def loss(traces: Tensor, labels: Tensor, lengths: Tensor | None = None) -> Tensor:
        traces, counted = admit("temporal_crossentropy", traces, labels, lengths, time_axis)
        traces = traces if counted is None else torch.where(counted, traces, 0.0)
        every = labels.long().expand(traces.shape[:-1])
        classes_last = traces.movedim(-1, 1)
        right = functional.cross_entropy(classes_last, every, label_smoothing=smoothing, reduction="none")
        each = (1 - share) * right + share * ((traces - aim) ** 2).mean(-1)  # [T, *batch]
        if counted is None or lengths is None:
            return each.mean()
        return (torch.where(counted.squeeze(-1), each, 0.0).sum(0) / lengths).mean()

    return loss


def van_rossum(tau: float = 10.0, time_axis: int = 0) -> Loss:
    """Distance of spike trains: both smeared by `exp(-t / tau)`, then compared.

    `d[t] = exp(-1 / tau) d[t - 1] + z[t] - target[t]`;  `loss = mean over the rest of (1 / tau) sum_t d[t]^2`: one
    spike too many, far from all others, counts about 1/2.

    Returned function: traces and targets, spikes of one shape `[T, B, *features]`, optionally lengths `[B]` ->
    scalar. `tau` > 0 in steps. Van Rossum, A novel spike distance, Neural Computation 13, 2001.

    >>> train = torch.zeros(200, 1, 1)
    >>> more = train.clone()
    >>> more[20] = 1.0
    >>> van_rossum(tau=10.0)(more, train)
    tensor(0.5517)
    """
    _refuse_not_positive("van_rossum", "tau", tau)

    def loss(traces: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Tensor:
        from ranvier.nn.neurons.leaky import LI

        if traces.shape != targets.shape or traces.dim() < 3:
            raise ValueError(
                f"van_rossum: wanted traces and targets of one shape [T, B, *features], "
                f"got {list(traces.shape)} and {list(targets.shape)}"
            )
        apart = (traces - targets).movedim(time_axis, 0)
        if lengths is not None:
            counted = within("van_rossum", lengths, apart.shape[1:2], len(apart))
            apart = torch.where(counted.view(*counted.shape, *[1] * (apart.dim() - 2)), apart, 0.0)
        return (LI(beta=math.exp(-1 / tau))(apart) ** 2).sum(0).mean() / tau

    return loss


def _crossentropy(scores: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    return functional.cross_entropy(scores.flatten(0, -2), labels.flatten().long(), label_smoothing=smoothing)


def _refuse_not_positive(function: str, name: str, value: float) -> None:
    if not 0.0 < value < math.inf:
        raise ValueError(f"{function}: {name} must be positive, got {value}")


def _refuse_bad_share(function: str, name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{function}: {name} must lie in [0, 1], got {value}")


# By name, for recipes and the command line.
LOSSES: dict[str, Callable[..., Loss]] = {
    maker.__name__: maker
    for maker in (
        integral_crossentropy, mean_crossentropy, max_crossentropy, first_spike_crossentropy, temporal_crossentropy,
        mse_spikerate, van_rossum,
    )
}  # fmt: skip
