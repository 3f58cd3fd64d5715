"""PySNN's neurons: one call is one step, and the state stays in buffers until `reset_state()`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.compat.pysnn import functional
from ranvier.nn.neurons.traced import fires, waits

UPDATES = {
    "trace": {"linear": functional.linear_trace_update, "exponential": functional.exponential_trace_update},
    "thresh": {"linear": functional.linear_thresh_update, "exponential": functional.exponential_thresh_update},
    "voltage": {
        "linear": functional.lif_linear_voltage_update,
        "exponential": functional.lif_exponential_voltage_update,
    },
}


def _update(kind: str, update_type: str, *decays: Tensor) -> Any:
    """Return the update function of this name; linear ones check that decays per step are in [0, 1]."""
    if update_type not in UPDATES[kind]:
        raise ValueError(f"Unsupported update type {update_type!r}; there are {list(UPDATES[kind])}")
    if update_type == "linear" and any(bool(((d < 0) | (d > 1)).any()) for d in decays):
        raise ValueError("Decays for linear updates should be in the interval [0, 1]; for a time constant use "
                         "update_type='exponential'")  # fmt: skip
    return UPDATES[kind][update_type]


class BaseInput(nn.Module):
    """Base class of inputs, with the state `trace` and `spikes`."""

    trace: Tensor
    spikes: Tensor
    dt: Tensor

    def __init__(self, cells_shape: Sequence[int], dt: float):
        super().__init__()
        _positive(dt)
        self.register_buffer("trace", torch.zeros(*cells_shape))
        self.register_buffer("spikes", torch.zeros(*cells_shape, dtype=torch.bool))
        self.register_buffer("dt", torch.tensor(float(dt)))

    def reset_state(self) -> None:
        """Set trace and spikes to 0."""
        self.trace.zero_()
        self.spikes.zero_()

    def no_grad(self) -> None:
        """Set requires_grad of all parameters to False."""
        self.requires_grad_(False)

    def init_neuron(self) -> None:
        """Call `no_grad`, then `reset_state`."""
        self.no_grad()
        self.reset_state()

    def convert_input(self, x: Tensor) -> Tensor:
        """Return x in the dtype of the trace."""
        return x.to(self.trace.dtype)

    def update_trace(self, x: Tensor) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define update_trace(x)")

    def forward(self, x: Tensor) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define forward(x)")


class Input(BaseInput):
    """An input layer that computes a trace of its input: forward(x [*cells_shape]) -> (x, trace)."""

    alpha_t: Tensor
    tau_t: Tensor

    def __init__(self, cells_shape: Sequence[int], dt: float, alpha_t: Any, tau_t: Any, update_type: str = "linear"):
        super().__init__(cells_shape, dt)
        self.register_buffer("alpha_t", alpha_t * torch.ones(*cells_shape))
        self.register_buffer("tau_t", tau_t * torch.ones(*cells_shape))
        self._trace_update = _update("trace", update_type, self.tau_t)
        self.init_neuron()

    def update_trace(self, x: Tensor) -> None:
        self._trace_update(self.trace, self.convert_input(x), self.alpha_t, self.tau_t, self.dt)

    @torch.no_grad()
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.update_trace(x)
        self.spikes.copy_(x.bool())
        return x, self.trace.clone()


LONG = ("alpha_v", "alpha_t", "dt", "duration_refrac", "store_trace")
SHORT = ("dt", "duration_refrac", "store_trace")


class BaseNeuron(nn.Module):
    """Base class of all neurons. It accepts both published signatures:

    (cells_shape, thresh, v_rest, alpha_v, alpha_t, dt, duration_refrac, store_trace=False), of PySNN's documentation,
    (cells_shape, thresh, v_rest, dt, duration_refrac, store_trace=False), of PySNN's released code.

    duration_refrac is a time in the unit of dt and must be a multiple of dt (otherwise ValueError). `refrac_counts` is
    the refractory time that is left. State: v_cell, spikes, trace, refrac_counts, thresh.
    """

    v_rest: Tensor
    dt: Tensor
    duration_refrac: Tensor
    thresh_center: Tensor
    spikes: Tensor
    v_cell: Tensor
    trace: Tensor
    refrac_counts: Tensor
    complete_trace: Tensor | None

    def __init__(self, cells_shape: Sequence[int], thresh: Any, v_rest: float, *args: Any, **kwargs: Any):
        super().__init__()
        names = LONG if len(args) > len(SHORT) or "alpha_v" in kwargs or "alpha_t" in kwargs else SHORT
        if len(args) > len(names) or kwargs.keys() - set(names[len(args) :]):
            raise TypeError(f"BaseNeuron takes cells_shape, thresh, v_rest and {names}, got {args} and {kwargs}")
        given = {"store_trace": False, **dict(zip(names, args, strict=False)), **kwargs}
        if missing := [n for n in names if n not in given]:
            raise TypeError(f"BaseNeuron: {missing} not given")
        dt, duration = float(given["dt"]), float(given["duration_refrac"])
        _positive(dt)
        if duration < 0:
            raise ValueError(f"duration_refrac should be non-negative, got {duration!r}")
        if abs(duration / dt - round(duration / dt)) > 1e-6 * max(1.0, duration / dt):
            raise ValueError(f"dt does not fit an integer amount of times in duration_refrac: {duration!r} / {dt!r}")
        for name in ("alpha_v", "alpha_t"):
            if name in given:
                self.register_buffer(name, torch.as_tensor(given[name], dtype=torch.float32))
        cells = tuple(cells_shape)
        for name, value in (("v_rest", v_rest), ("dt", dt), ("duration_refrac", duration)):
            self.register_buffer(name, torch.tensor(float(value)))
        self.register_buffer("thresh_center", torch.as_tensor(thresh, dtype=torch.float32).clone())
        self.register_buffer("spikes", torch.zeros(cells, dtype=torch.bool))
        for name in ("v_cell", "trace", "refrac_counts"):
            self.register_buffer(name, torch.zeros(cells))
        self.thresh = nn.Parameter(torch.zeros(cells), requires_grad=False)
        self.register_buffer(
            "complete_trace", torch.zeros(*cells, 1, dtype=torch.bool) if given["store_trace"] else None
        )

    def _wait(self) -> Tensor:
        """Return the refractory time that is left, in whole steps. Rounded steps reach exactly 0; a time may not."""
        return (self.refrac_counts / self.dt).round()

    @torch.no_grad()
    def spiking(self) -> Tensor:
        """Return which cells are at or above their threshold and not refractory; a copy."""
        self.spikes.copy_(fires(self.v_cell, self.thresh, self._wait()) > 0)
        return self.spikes.clone()

    @torch.no_grad()
    def refrac(self, spikes: Tensor) -> None:
        """Count down the refractory periods. Neurons that spiked start a new one, and their voltage becomes v_rest."""
        steps = (self.duration_refrac / self.dt).round()
        self.refrac_counts.copy_(waits(self.convert_spikes(spikes), self._wait(), steps) * self.dt)
        self.v_cell.copy_(torch.where(spikes.bool(), self.v_rest, self.v_cell))

    def concat_trace(self, x: Tensor) -> None:
        """Append the spikes x to `complete_trace`."""
        if self.complete_trace is not None:
            self.complete_trace = torch.cat([self.complete_trace, x.bool().unsqueeze(-1)], -1)

    def fold(self, x: Any) -> Tensor:
        """Join a list of tensors along the last axis, the synapses, and sum over this axis. A tensor in the shape of
        the cells is the input of one synapse, and is returned unchanged.
        """
        x = torch.cat(list(x), -1) if isinstance(x, (list, tuple)) else x
        cells = self.v_cell.shape
        if x.shape == cells:
            return x
        if x.shape[:-1] != cells:
            raise ValueError(f"{type(self).__name__}: input must be {(*cells, 'synapses')}, got {tuple(x.shape)}")
        return x.sum(-1)

    def unfold(self, x: Tensor) -> Tensor:
        """Return x reshaped to (last axis, all other axes)."""
        return x.reshape(x.shape[-1], *x.shape[:-1])

    def convert_spikes(self, spikes: Tensor) -> Tensor:
        """Return spikes in the dtype of the voltage."""
        return spikes.to(self.v_cell.dtype)

    def reset_state(self) -> None:
        """Set the voltage to rest, and spikes, refractory counts and traces to 0. The threshold is not changed."""
        self.v_cell.copy_(self.v_rest.expand_as(self.v_cell))
        for state in (self.spikes, self.refrac_counts, self.trace):
            state.zero_()
        if self.complete_trace is not None:
            self.complete_trace = torch.zeros_like(self.spikes).unsqueeze(-1)

    def reset_thresh(self) -> None:
        """Set the threshold to its resting value."""
        self.thresh.data.copy_(self.thresh_center.expand_as(self.thresh))

    def no_grad(self) -> None:
        """Set requires_grad of all parameters to False."""
        self.requires_grad_(False)

    def init_neuron(self) -> None:
        """Call `no_grad`, `reset_state` and `reset_thresh`."""
        self.no_grad()
        self.reset_state()
        self.reset_thresh()

    def update_trace(self, x: Tensor) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define update_trace(x)")

    def update_voltage(self, x: Tensor) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define update_voltage(x)")

    def update_thresh(self, x: Tensor) -> None:
        """Do nothing: the threshold is fixed."""

    def forward(self, x: Any) -> tuple[Tensor, Tensor]:
        raise NotImplementedError(f"{type(self).__name__} must define forward(x)")

    def _after_voltage(self) -> tuple[Tensor, Tensor]:
        """Compute the rest of a step: spikes, trace, threshold, refractory period."""
        spikes = self.spiking()
        self.update_trace(spikes)
        self.update_thresh(spikes)
        self.refrac(spikes)
        self.concat_trace(spikes)
        return spikes, self.trace.clone()

    def _cellwise(self, **values: Any) -> None:
        """Register each constant as a buffer with one value per cell."""
        for name, value in values.items():
            self.register_buffer(name, value * torch.ones(self.v_cell.shape))


class IFNeuron(BaseNeuron):
    """Integrate and fire: forward(x [*cells_shape, synapses]) -> (spikes, trace)."""

    alpha_v: Tensor
    alpha_t: Tensor
    tau_t: Tensor

    def __init__(self, cells_shape: Sequence[int], thresh: Any, v_rest: float, alpha_v: Any, alpha_t: Any, dt: float,
                 duration_refrac: float, tau_t: Any, update_type: str = "linear",
                 store_trace: bool = False):  # fmt: skip
        super().__init__(cells_shape, thresh, v_rest, dt, duration_refrac, store_trace)
        self._cellwise(alpha_v=alpha_v, alpha_t=alpha_t, tau_t=tau_t)
        self._trace_update = _update("trace", update_type, self.tau_t)
        self.init_neuron()

    def update_trace(self, x: Tensor) -> None:
        self._trace_update(self.trace, self.convert_spikes(x), self.alpha_t, self.tau_t, self.dt)

    def update_voltage(self, x: Tensor) -> None:
        functional.if_voltage_update(self.v_cell, x, self.alpha_v, self._wait())

    @torch.no_grad()
    def forward(self, x: Any) -> tuple[Tensor, Tensor]:
        self.update_voltage(self.fold(x))
        return self._after_voltage()


class LIFNeuron(IFNeuron):
    """Leaky integrate and fire: forward(x [*cells_shape, synapses]) -> (spikes, trace)."""

    tau_v: Tensor

    def __init__(self, cells_shape: Sequence[int], thresh: Any, v_rest: float, alpha_v: Any, alpha_t: Any, dt: float,
                 duration_refrac: float, tau_v: Any, tau_t: Any, update_type: str = "linear",
                 store_trace: bool = False):  # fmt: skip
        super().__init__(
            cells_shape, thresh, v_rest, alpha_v, alpha_t, dt, duration_refrac, tau_t, update_type, store_trace
        )
        self._cellwise(tau_v=tau_v)
        self._voltage_update = _update("voltage", update_type, self.tau_v)

    def update_voltage(self, x: Tensor) -> None:
        wait = self._wait()
        self.v_cell.copy_(self._voltage_update(self.v_cell, self.v_rest, x, self.alpha_v, self.tau_v, self.dt, wait))


class AdaptiveLIFNeuron(LIFNeuron):
    """`LIFNeuron` whose threshold rises with its spikes and relaxes to 0, as in PySNN."""

    alpha_thresh: Tensor
    tau_thresh: Tensor

    def __init__(self, cells_shape: Sequence[int], thresh: Any, v_rest: float, alpha_v: Any, alpha_t: Any, dt: float,
                 duration_refrac: float, tau_v: Any, tau_t: Any, alpha_thresh: Any, tau_thresh: Any,
                 update_type: str = "linear", store_trace: bool = False):  # fmt: skip
        super().__init__(cells_shape, thresh, v_rest, alpha_v, alpha_t, dt, duration_refrac, tau_v, tau_t, update_type,
                         store_trace)  # fmt: skip
        self._cellwise(alpha_thresh=alpha_thresh, tau_thresh=tau_thresh)
        self._thresh_update = _update("thresh", update_type, self.tau_thresh)

    def update_thresh(self, x: Tensor) -> None:
        self._thresh_update(self.thresh.data, self.convert_spikes(x), self.alpha_thresh, self.tau_thresh, self.dt)

    def reset_state(self) -> None:
        """Reset the state as in `BaseNeuron`, and set the threshold to its resting value."""
        super().reset_state()
        self.reset_thresh()


class FedeNeuron(IFNeuron):
    """Leaky integrate and fire whose input is reduced by presynaptic traces: forward(x, pre_trace) -> (spikes,
    trace).
    """

    tau_v: Tensor

    def __init__(self, cells_shape: Sequence[int], thresh: Any, v_rest: float, alpha_v: Any, alpha_t: Any, dt: float,
                 duration_refrac: float, tau_v: Any, tau_t: Any, store_trace: bool = False):  # fmt: skip
        super().__init__(
            cells_shape, thresh, v_rest, alpha_v, alpha_t, dt, duration_refrac, tau_t, "exponential", store_trace
        )
        self._cellwise(tau_v=tau_v)

    def update_voltage(self, x: Tensor, pre_trace: Tensor) -> None:  # type: ignore[override]
        functional.fede_voltage_update(
            self.v_cell, self.v_rest, x, self.alpha_v, self.tau_v, self.dt, self._wait(), pre_trace
        )

    @torch.no_grad()
    def forward(self, x: Any, pre_trace: Any) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        x, pre_trace = (torch.cat(list(a), -1) if isinstance(a, (list, tuple)) else a for a in (x, pre_trace))
        self.update_voltage(x, pre_trace)
        return self._after_voltage()


def _positive(dt: float) -> None:
    if not dt > 0:
        raise ValueError(f"dt must be positive, got {dt!r}")
