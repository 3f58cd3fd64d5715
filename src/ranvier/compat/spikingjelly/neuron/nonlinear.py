"""Membranes with a voltage-dependent current, and the one that resonates."""

import ranvier
from ranvier.compat.spikingjelly import surrogate
from ranvier.compat.spikingjelly.neuron.node import BaseNode, Surrogate, resetting, slope


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
            surrogate=slope(surrogate_function), **resetting(v_reset, detach_reset),
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
            surrogate=slope(surrogate_function), **resetting(v_reset, detach_reset),
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
            a=a, b=b, surrogate=slope(surrogate_function), **resetting(v_reset, detach_reset),
        )  # fmt: skip
        super().__init__(core, step_mode, store_v_seq, {"v": ("v", v_reset or 0.0), "w": ("w", w_rest)})


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
            b, omega, dt, threshold=v_threshold, v_reset=v_reset or 0.0, surrogate=slope(surrogate_function),
            **resetting(v_reset, detach_reset),
        )  # fmt: skip
        super().__init__(core, step_mode, store_v_seq, {"v": ("v", v_reset or 0.0), "u": ("u", 0.0)})
