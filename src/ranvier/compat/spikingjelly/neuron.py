"""SpikingJelly's neurons by name: the core's neurons with its defaults, its step modes and its hidden memories."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import ranvier
from ranvier.compat.spikingjelly import surrogate
from ranvier.compat.spikingjelly.memory import Carried, MemoryModule, MultiStepModule, publish
from ranvier.nn.filter import value
from ranvier.nn.neurons.parametric import leak
from ranvier.nn.temporal import Temporal

Surrogate = surrogate.SurrogateFunctionBase


def _reset(v_reset: float | None, detach_reset: bool) -> dict[str, Any]:
    """SpikingJelly says by v_reset what kind of reset there is: None subtracts the threshold."""
    return {"reset": "subtract" if v_reset is None else "zero", "detach_reset": detach_reset}


def _slope(function: Surrogate) -> ranvier.surrogate.Surrogate:
    if not isinstance(function, Surrogate):
        raise TypeError(
            f"surrogate_function must be one of ranvier.compat.spikingjelly.surrogate, got {function!r}; a "
            f"slope of your own goes into a core neuron"
        )
    if not function.spiking:
        raise ValueError("a neuron here fires spikes; surrogate_function must have spiking=True")
    return function.core


class BaseNode(Carried):
    """A neuron with hidden memories, `v` and others. Memories stay until `reset()`."""

    def __init__(
        self,
        core: Temporal,
        step_mode: str = "s",
        store_v_seq: bool = False,
        kept: dict[str, tuple[str, float]] | None = None,
        published: dict[str, str] | None = None,
    ):
        super().__init__(core, step_mode, kept or {"v": ("v", 0.0)}, published)
        self.store_v_seq = store_v_seq
        self.register_memory("v_seq", None)

    def multi_step_forward(self, x_seq: Tensor) -> Any:  # type: ignore[override]
        if not self.store_v_seq:
            return super().multi_step_forward(x_seq)
        ticks, membranes = [], []
        for x_t in x_seq.unbind(0):
            ticks.append(super().multi_step_forward(x_t.unsqueeze(0))[0])
            membranes.append(self.v)
        self.v_seq = torch.stack(membranes)
        return torch.stack(ticks)


class IFNode(BaseNode):
    def __init__(
        self,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Surrogate = surrogate.Sigmoid(),  # noqa: B008
        detach_reset: bool = False,
        step_mode: str = "s",
        store_v_seq: bool = False,
    ):
        core = ranvier.RestLIF(
            leak=0.0, threshold=v_threshold, rest=v_reset or 0.0, decay_input=False,
            surrogate=_slope(surrogate_function), **_reset(v_reset, detach_reset),
        )  # fmt: skip
        super().__init__(core, step_mode, store_v_seq, {"v": ("v", v_reset or 0.0)})


class LIFNode(BaseNode):
    def __init__(
        self,
        tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Surrogate = surrogate.Sigmoid(),  # noqa: B008
        detach_reset: bool = False,
        step_mode: str = "s",
        store_v_seq: bool = False,
    ):
        core = ranvier.RestLIF(
            leak=leak(tau), threshold=v_threshold, rest=v_reset or 0.0, decay_input=decay_input,
            surrogate=_slope(surrogate_function), **_reset(v_reset, detach_reset),
        )  # fmt: skip
        super().__init__(core, step_mode, store_v_seq, {"v": ("v", v_reset or 0.0)})


class ParametricLIFNode(BaseNode):
    def __init__(
        self,
        init_tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Surrogate = surrogate.Sigmoid(),  # noqa: B008
        detach_reset: bool = False,
        step_mode: str = "s",
        store_v_seq: bool = False,
    ):
        core = ranvier.ParametricLIF(
            init_tau, threshold=v_threshold, rest=v_reset or 0.0, decay_input=decay_input,
            surrogate=_slope(surrogate_function), **_reset(v_reset, detach_reset),
        )  # fmt: skip
        super().__init__(core, step_mode, store_v_seq, {"v": ("v", v_reset or 0.0)}, {"w": "rate"})

    @property
    def w(self) -> Tensor:
        """logit(1 / tau), learned."""
        return value(self.core, "rate")


class QIFNode(BaseNode):
    def __init__(
        self,
        tau: float = 2.0,
        v_c: float = 0.8,
        a0: float = 1.0,
        v_threshold: float = 1.0,
        v_rest: float = 0.0,
        v_reset: float | None = -0.1,
        surrogate_function: Surrogate = surrogate.Sigmoid(),  # noqa: B008
        detach_reset: bool = False,
        step_mode: str = "s",
        store_v_seq: bool = False,
    ):
        core = ranvier.QIF(
            tau=tau, v_critical=v_c, a=a0, threshold=v_threshold, v_rest=v_rest, v_reset=v_reset or 0.0,
            surrogate=_slope(surrogate_function), **_reset(v_reset, detach_reset),
        )  # fmt: skip
        super().__init__(core, step_mode, store_v_seq, {"v": ("v", v_reset or 0.0)})


class EIFNode(BaseNode):
    def __init__(
        self,
        tau: float = 2.0,
        delta_T: float = 1.0,
        theta_rh: float = 0.8,
        v_threshold: float = 1.0,
        v_rest: float = 0.0,
        v_reset: float | None = -0.1,
        surrogate_function: Surrogate = surrogate.Sigmoid(),  # noqa: B008
        detach_reset: bool = False,
        step_mode: str = "s",
        store_v_seq: bool = False,
    ):
        core = ranvier.EIF(
            tau=tau, delta=delta_T, theta=theta_rh, threshold=v_threshold, v_rest=v_rest, v_reset=v_reset or 0.0,
            surrogate=_slope(surrogate_function), **_reset(v_reset, detach_reset),
        )  # fmt: skip
        super().__init__(core, step_mode, store_v_seq, {"v": ("v", v_reset or 0.0)})


class IzhikevichNode(BaseNode):
    def __init__(
        self,
        tau: float = 2.0,
        v_c: float = 0.8,
        a0: float = 1.0,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        v_rest: float = -0.1,
        w_rest: float = 0.0,
        tau_w: float = 2.0,
        a: float = 0.0,
        b: float = 0.0,
        surrogate_function: Surrogate = surrogate.Sigmoid(),  # noqa: B008
        detach_reset: bool = False,
        step_mode: str = "s",
        store_v_seq: bool = False,
    ):
        core = ranvier.Izhikevich(
            tau=tau, v_critical=v_c, a0=a0, threshold=v_threshold, v_rest=v_rest, v_reset=v_reset or 0.0, tau_w=tau_w,
            a=a, b=b, surrogate=_slope(surrogate_function), **_reset(v_reset, detach_reset),
        )  # fmt: skip
        super().__init__(core, step_mode, store_v_seq, {"v": ("v", v_reset or 0.0), "w": ("w", w_rest)})


class KLIFNode(BaseNode):
    def __init__(
        self,
        scale_reset: bool = False,
        tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Surrogate = surrogate.Sigmoid(),  # noqa: B008
        detach_reset: bool = False,
        step_mode: str = "s",
        store_v_seq: bool = False,
    ):
        core = ranvier.KLIF(
            leak=leak(tau), threshold=v_threshold, rest=v_reset or 0.0, decay_input=decay_input,
            scale_reset=scale_reset, surrogate=_slope(surrogate_function), **_reset(v_reset, detach_reset),
        )  # fmt: skip
        super().__init__(core, step_mode, store_v_seq, {"v": ("v", v_reset or 0.0)}, {"k": "k"})

    @property
    def k(self) -> Tensor:
        """The learned gain."""
        return value(self.core, "k")


class CUBALIFNode(BaseNode):
    def __init__(
        self,
        c_decay: float = 0.5,
        v_decay: float = 0.75,
        v_threshold: float = 0.5,
        v_reset: float | None = 0.0,
        surrogate_function: Surrogate = surrogate.Rect(),  # noqa: B008
    ):
        if v_reset not in (None, 0, 0.0):
            raise ValueError(f"CUBALIFNode: v_reset must be None or 0.0, got {v_reset!r}")
        core = ranvier.CubaLIF(
            alpha=c_decay, beta=v_decay, threshold=v_threshold, surrogate=_slope(surrogate_function),
            **_reset(v_reset, False),
        )  # fmt: skip
        super().__init__(core, kept={"v": ("v", 0.0), "c": ("i", 0.0)})


class LIAFNode(BaseNode):
    """act: any function of a tensor; it gets the charged membrane, less the threshold if threshold_related."""

    def __init__(
        self,
        act: Callable[[Tensor], Tensor],
        threshold_related: bool,
        tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Surrogate = surrogate.Sigmoid(),  # noqa: B008
        detach_reset: bool = False,
        step_mode: str = "s",
        store_v_seq: bool = False,
    ):
        core = ranvier.AnalogLIF(
            leak=leak(tau), threshold=v_threshold, rest=v_reset or 0.0, decay_input=decay_input, act="identity",
            from_threshold=threshold_related, surrogate=_slope(surrogate_function), **_reset(v_reset, detach_reset),
        )  # fmt: skip
        super().__init__(core, step_mode, store_v_seq, {"v": ("v", v_reset or 0.0)})
        self.act, self.threshold_related = act, threshold_related

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


class ComplementaryLIFNode(BaseNode):
    def __init__(
        self,
        tau: float = 2.0,
        v_threshold: float = 1.0,
        surrogate_function: Surrogate = surrogate.Rect(1.0),  # noqa: B008
        step_mode: str = "s",
        store_state_seqs: bool = False,
    ):
        core = ranvier.ComplementaryLIF(leak=leak(tau), threshold=v_threshold, surrogate=_slope(surrogate_function))
        super().__init__(core, step_mode, store_state_seqs, {"v": ("v", 0.0), "m": ("m", 0.0)})


class RAFNode(BaseNode):
    def __init__(
        self,
        b: float = -0.2,
        omega: float = 1.0,
        dt: float = 1.0,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Surrogate = surrogate.Sigmoid(),  # noqa: B008
        detach_reset: bool = False,
        step_mode: str = "s",
        store_v_seq: bool = False,
    ):
        core = ranvier.ResonateAndFire(
            b, omega, dt, threshold=v_threshold, v_reset=v_reset or 0.0, surrogate=_slope(surrogate_function),
            **_reset(v_reset, detach_reset),
        )  # fmt: skip
        super().__init__(core, step_mode, store_v_seq, {"v": ("v", v_reset or 0.0), "u": ("u", 0.0)})


class TernaryIFNode(BaseNode):
    def __init__(
        self,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Surrogate = surrogate.Sigmoid(),  # noqa: B008
        detach_reset: bool = False,
        step_mode: str = "s",
        store_v_seq: bool = False,
    ):
        core = ranvier.TernaryLIF(
            leak=0.0, decay_input=False, threshold=v_threshold, rest=v_reset or 0.0,
            surrogate=_slope(surrogate_function), **_reset(v_reset, detach_reset),
        )  # fmt: skip
        super().__init__(core, step_mode, store_v_seq, {"v": ("v", v_reset or 0.0)})


class TernaryLIFNode(BaseNode):
    def __init__(
        self,
        tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Surrogate = surrogate.Sigmoid(),  # noqa: B008
        detach_reset: bool = False,
        step_mode: str = "s",
        store_v_seq: bool = False,
    ):
        core = ranvier.TernaryLIF(
            leak=leak(tau), decay_input=decay_input, threshold=v_threshold, rest=v_reset or 0.0,
            surrogate=_slope(surrogate_function), **_reset(v_reset, detach_reset),
        )  # fmt: skip
        super().__init__(core, step_mode, store_v_seq, {"v": ("v", v_reset or 0.0)})


class ILIFNode(BaseNode):
    def __init__(
        self,
        tau: float = 4.0 / 3.0,
        v_threshold: float = 1.0,
        surrogate_function: surrogate.MultiLevelSpikeCount = surrogate.MultiLevelSpikeCount(4),  # noqa: B008
        detach_reset: bool = False,
        step_mode: str = "s",
        store_v_seq: bool = False,
    ):
        if not isinstance(surrogate_function, surrogate.MultiLevelSpikeCount):
            raise TypeError(f"ILIFNode: surrogate_function must be a MultiLevelSpikeCount, got {surrogate_function!r}")
        core = ranvier.IntegerLIF(
            leak=leak(tau), threshold=v_threshold, levels=surrogate_function.max_spike_count, detach_reset=detach_reset
        )
        super().__init__(core, step_mode, store_v_seq)


class HalfThresholdIFNode(BaseNode):
    """`IFNode` with soft reset whose membrane begins at half the threshold."""

    def __init__(
        self,
        v_threshold: float = 1.0,
        surrogate_function: Surrogate = surrogate.Sigmoid(),  # noqa: B008
        detach_reset: bool = False,
        step_mode: str = "s",
        store_v_seq: bool = False,
    ):
        core = ranvier.RestLIF(
            leak=0.0, threshold=v_threshold, decay_input=False, surrogate=_slope(surrogate_function),
            **_reset(None, detach_reset),
        )  # fmt: skip
        super().__init__(core, step_mode, store_v_seq, {"v": ("v", v_threshold / 2)})


class GatedLIFNode(Carried):
    def __init__(
        self,
        T: int,
        inplane: int | None = None,
        init_linear_decay: float | None = None,
        init_v_subreset: float | None = None,
        init_tau: float = 0.25,
        init_v_threshold: float = 0.5,
        init_conduct: float = 0.5,
        surrogate_function: Surrogate = surrogate.Sigmoid(),  # noqa: B008
        step_mode: str = "m",
    ):
        if step_mode != "m":
            raise ValueError(f'GatedLIFNode: step_mode must be "m", got {step_mode!r}')
        core = ranvier.GatedLIF(
            T, shape=() if inplane is None else (inplane, 1, 1), linear_decay=init_linear_decay, tau=init_tau,
            v_subreset=init_v_subreset, threshold=init_v_threshold, conduct=init_conduct,
            surrogate=_slope(surrogate_function),
        )  # fmt: skip
        names = {k: f"membrane.{k}" for k in ("alpha", "gamma", "tau", "linear_decay", "v_subreset")}
        names |= {"v_threshold": "membrane.threshold", "beta": "beta", "conduct": "conduct"}
        super().__init__(core, "m", published=names)

    def supported_step_mode(self) -> tuple[str, ...]:
        return ("m",)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:  # type: ignore[override]
        self.reset()  # every call is a sequence of its own: it has T ticks
        return super().multi_step_forward(x_seq)


class PSN(MultiStepModule, ranvier.PSN):
    def __init__(self, T: int, surrogate_function: Surrogate = surrogate.ATan()):  # noqa: B008
        super().__init__(T, surrogate=_slope(surrogate_function))
        publish(self, {"weight": "weight", "bias": "bias"})


class MaskedPSN(Carried):
    def __init__(
        self,
        k: int,
        T: int,
        lambda_init: float = 0.0,
        surrogate_function: Surrogate = surrogate.ATan(),  # noqa: B008
        step_mode: str = "s",
    ):
        core = ranvier.MaskedPSN(k, T, masking=lambda_init, surrogate=_slope(surrogate_function))
        super().__init__(core, step_mode, published={"weight": "weight", "bias": "bias", "_lambda_": "masking"})

    @property
    def lambda_(self) -> Tensor:
        """How far the mask is in force: 0 not at all, 1 fully."""
        return value(self.core, "masking")

    @lambda_.setter
    def lambda_(self, to: float) -> None:
        value(self.core, "masking").fill_(float(to))


class SlidingPSN(Carried):
    def __init__(
        self,
        k: int,
        exp_init: bool = True,
        surrogate_function: Surrogate = surrogate.ATan(),  # noqa: B008
        step_mode: str = "s",
    ):
        core = ranvier.SlidingPSN(k, exponential=exp_init, surrogate=_slope(surrogate_function))
        super().__init__(core, step_mode, published={"weight": "weight", "bias": "bias"})


def _greatest(v: Tensor) -> Tensor:
    at = v.abs().argmax(0, keepdim=True)
    return v.gather(0, at)[0]


DECODE: dict[str | None, Callable[[Tensor], Any]] = {
    None: lambda v: list(v.unbind(0)),
    "max-mem": lambda v: v.amax(0),
    "max-abs-mem": _greatest,
    "mean-mem": lambda v: v.mean(0),
    "last-mem": lambda v: v[-1],
    "last_mem": lambda v: v[-1],
}


class NonSpikingBaseNode(MultiStepModule, MemoryModule):
    """A membrane without spikes over a sequence, read out by `decode`; every call begins anew."""

    def __init__(self, core: Temporal, decode: str | None):
        MemoryModule.__init__(self, "m")
        if decode not in DECODE:
            raise ValueError(f"decode must be one of {list(DECODE)}, got {decode!r}")
        self.core, self.decode = core, decode
        self.register_memory("v", 0.0)

    def multi_step_forward(self, x_seq: Tensor) -> Any:  # type: ignore[override]
        flat = x_seq.reshape(len(x_seq), 1, -1)
        v = self.core.scan(flat)[0].reshape(x_seq.shape)
        self.v = v[-1]
        return DECODE[self.decode](v)


class NonSpikingIFNode(NonSpikingBaseNode):
    def __init__(self, decode: str | None = None):
        super().__init__(ranvier.LI(beta=1.0), decode)


class NonSpikingLIFNode(NonSpikingBaseNode):
    def __init__(self, tau: float = 2.0, decode: str | None = None):
        super().__init__(ranvier.Lowpass(tau=-1.0 / math.log1p(-leak(tau)), dt=1.0), decode)
