"""pytorch-spiking's layers."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ranvier.compat.rows import lend
from ranvier.convert import rate
from ranvier.nn import filter


def _last(x: Tensor) -> Tensor:
    """Return the last step of [T, B, N]; zeros [B, N] if there is none."""
    return x[-1] if len(x) else x.sum(0)


class SpikingActivation(rate.SpikingActivation):
    """`ranvier.SpikingActivation` with the signature of pytorch-spiking. x [B, T, N] -> [B, T, N].

    activation: rates in Hz. dt: seconds. initial_state: voltages in [0, 1), broadcastable to [B, N]; None draws them
    again at each call. spiking_aware_training: False trains on rates, without spikes. return_sequences: False returns
    the last step only, [B, N]. All of these may be changed after construction. `initial_state` is a buffer that is not
    saved.

    >>> import torch
    >>> from ranvier.compat.pytorch_spiking import SpikingActivation
    >>> layer = SpikingActivation(torch.relu, dt=0.5, initial_state=torch.zeros(1, 1))
    >>> layer(torch.ones(1, 4, 1)).flatten()
    tensor([0., 2., 0., 2.])
    """

    def __init__(
        self,
        activation: Callable[[Tensor], Tensor],
        dt: float = 0.001,
        initial_state: Tensor | None = None,
        spiking_aware_training: bool = True,
        return_sequences: bool = True,
    ):
        super().__init__(activation, dt, start=initial_state, aware=spiking_aware_training)
        self.register_buffer("start", self.start, persistent=False)  # the original's checkpoints do not have it
        self.return_sequences = return_sequences

    @property
    def initial_state(self) -> Tensor | None:
        return self.start

    @initial_state.setter
    def initial_state(self, value: Tensor | None) -> None:
        self.start = None if value is None else rate.voltage(value)

    @property
    def spiking_aware_training(self) -> bool:
        return self.aware

    @spiking_aware_training.setter
    def spiking_aware_training(self, value: bool) -> None:
        self.aware = value

    def forward(self, inputs: Tensor) -> Tensor:
        y = super().forward(inputs.transpose(0, 1))
        return y.transpose(0, 1) if self.return_sequences else _last(y)


class Lowpass(nn.Module):
    """`ranvier.Lowpass` with the signature of pytorch-spiking; it is always trained. x [B, T, units] -> [B, T, units].

    tau, dt: seconds; changing them after construction has no effect. units: size of the last axis.
    apply_during_training: with False, x is returned unchanged in train mode. initial_level: output before the first
    step, broadcastable to [B, units]. return_sequences: False returns the last step only, [B, units].

    The parameters have their published names: `level_var`, the initial level, and `smoothing_var`, the logit of
    exp(-dt / tau). Both are [1, units] by default.

    >>> import torch
    >>> from ranvier.compat.pytorch_spiking import Lowpass
    >>> Lowpass(tau=1.0, units=1, dt=0.6931472)(torch.ones(1, 3, 1)).flatten().detach()
    tensor([0.5000, 0.7500, 0.8750])
    """

    def __init__(
        self,
        tau: float,
        units: int,
        dt: float = 0.001,
        apply_during_training: bool = True,
        initial_level: Tensor | None = None,
        return_sequences: bool = True,
    ):
        super().__init__()
        if tau <= 0:
            raise ValueError("tau must be a positive number")
        self.tau, self.units, self.dt = tau, units, dt
        self.apply_during_training, self.return_sequences = apply_during_training, return_sequences
        self.smoothing_init = filter.logit_of_decay(tau, dt)
        level = torch.zeros(1, units) if initial_level is None else initial_level.detach().clone()
        self.level_var = nn.Parameter(level)
        self.smoothing_var = nn.Parameter(torch.full((1, units), self.smoothing_init))
        self._filter = (filter.Lowpass(tau, dt),)  # in a tuple, so its parameters are not parameters of this module

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training and not self.apply_during_training:
            return inputs if self.return_sequences else _last(inputs.transpose(0, 1))
        level = self._level(torch.Size((inputs.shape[0], *inputs.shape[2:])))
        with lend(self._filter[0], {"smoothing": self.smoothing_var[0]}) as core:
            y, _ = core.scan(inputs.transpose(0, 1), {"y": level})
        return y.transpose(0, 1) if self.return_sequences else _last(y)

    def _level(self, shape: torch.Size) -> Tensor:
        """Return the initial level in the shape of a batch [B, ..., units]."""
        level = self.level_var
        if level.dim() == 2 and len(level) not in (1, shape[0]):
            raise ValueError(
                f"Lowpass: initial levels are {tuple(level.shape)}, but the batch has {shape[0]} samples; they must be "
                f"[1, units], or have one row for each sample"
            )
        level = level.view(len(level), *[1] * (len(shape) - 2), -1) if level.dim() == 2 else level
        return level.expand(shape)

    def extra_repr(self) -> str:
        return f"tau={self.tau:g}, units={self.units}, dt={self.dt:g}"


class TemporalAvgPool(nn.Module):
    """The mean over an axis, by default time: x [B, T, N] -> [B, N]."""

    def __init__(self, dim: int = 1):
        super().__init__()
        self.dim = dim

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.mean(inputs, dim=self.dim)
