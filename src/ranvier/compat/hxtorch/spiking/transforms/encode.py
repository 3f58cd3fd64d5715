"""Encoders: values to spikes."""

from torch import Tensor, nn

from ranvier.hardware.record import coordinate_bins, pixel_times, time_bins


class PixelsToSpikeTimes(nn.Module):
    """Pixels p to spike times tau log(p / (p - threshold)), clamped to [0, t_max]: a leaky membrane with input p would
    cross the threshold then.
    """

    def __init__(self, tau: float = 20.0, threshold: float = 0.2, t_max: float = 1.0, epsilon: float = 1e-7):
        super().__init__()
        self._how = dict(tau=tau, threshold=threshold, t_max=t_max, epsilon=epsilon)

    def forward(self, pic: Tensor) -> Tensor:
        return pixel_times(pic, **self._how)


class SpikeTimesToDense(nn.Module):
    """Times [*shape] to an integer tensor [size, *shape] with 1 in the bin of each time."""

    def __init__(self, bin_width: float, size: int = 100):
        super().__init__()
        self._bin_width, self._size = bin_width, size

    def forward(self, spike_times: Tensor) -> Tensor:
        return time_bins(spike_times, self._bin_width, self._size)


class SpikeTimesToSparseTensor(SpikeTimesToDense):
    """`SpikeTimesToDense` with a sparse tensor as result."""

    def forward(self, spike_times: Tensor) -> Tensor:
        return super().forward(spike_times).to_sparse()


class CoordinatesToSpikes(nn.Module):
    """Values [B, C] in [0, 1] to one spike each, dense [seq_length, B, C], with a bias channel if `t_bias` is given."""

    def __init__(self, seq_length: int, t_early: float, t_late: float, dt: float = 1e-6, t_bias: float | None = None):
        super().__init__()
        self._how = dict(steps=seq_length, early=t_early, late=t_late, dt=dt, bias=t_bias)

    def forward(self, coordinates: Tensor) -> Tensor:
        return coordinate_bins(coordinates, **self._how)  # type: ignore[arg-type]
