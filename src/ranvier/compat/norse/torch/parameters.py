"""Norse's parameters and states, as named tuples. Inverse time constants are in 1 / s; any number may be a tensor."""

from typing import Any, NamedTuple

from torch import Tensor

Number = Tensor | float


class LIFParameters(NamedTuple):
    tau_syn_inv: Number = 1.0 / 5e-3
    tau_mem_inv: Number = 1.0 / 1e-2
    v_leak: Number = 0.0
    v_th: Number = 1.0
    v_reset: Number = 0.0
    method: str = "super"
    alpha: float = 100.0


class LIParameters(NamedTuple):
    tau_syn_inv: Number = 1.0 / 5e-3
    tau_mem_inv: Number = 1.0 / 1e-2
    v_leak: Number = 0.0


class LSNNParameters(NamedTuple):
    tau_syn_inv: Number = 1.0 / 5e-3
    tau_mem_inv: Number = 1.0 / 1e-2
    tau_adapt_inv: Number = 1.0 / 800
    v_leak: Number = 0.0
    v_th: Number = 1.0
    v_reset: Number = 0.0
    beta: Number = 1.8
    method: str = "super"
    alpha: float = 100.0


class LIFAdExParameters(NamedTuple):
    adaptation_current: Number = 4.0
    adaptation_spike: Number = 0.02
    delta_T: Number = 0.5
    tau_ada_inv: Number = 2.0
    tau_syn_inv: Number = 1.0 / 5e-3
    tau_mem_inv: Number = 1.0 / 1e-2
    v_leak: Number = 0.0
    v_th: Number = 1.0
    v_reset: Number = 0.0
    method: str = "super"
    alpha: float = 100.0


class IAFParameters(NamedTuple):
    v_th: Number = 1.0
    v_reset: Number = 0.0
    method: str = "super"
    alpha: float = 100.0


def reset_value(z: Any, v: Any, v_th: Any, v_reset: Any) -> Any:
    """Set the membrane to v_reset."""
    return v - z * (v - v_reset)


def reset_subtract(z: Any, v: Any, v_th: Any, v_reset: Any) -> Any:
    """Reduce the membrane by v_th - v_reset."""
    return v - z * (v_th - v_reset)


class LIFBoxParameters(NamedTuple):
    tau_mem_inv: Number = 1.0 / 1e-2
    v_leak: Number = 0.0
    v_th: Number = 1.0
    v_reset: Number = 0.0
    method: str = "super"
    alpha: float = 100.0
    reset_method: Any = reset_value


class LIBoxParameters(NamedTuple):
    tau_mem_inv: Number = 1.0 / 1e-2
    v_leak: Number = 0.0


class LIFFeedForwardState(NamedTuple):
    v: Tensor
    i: Tensor


class LIFState(NamedTuple):
    z: Tensor
    v: Tensor
    i: Tensor


class LIState(NamedTuple):
    v: Tensor
    i: Tensor


class LSNNFeedForwardState(NamedTuple):
    v: Tensor
    i: Tensor
    b: Tensor


class LSNNState(NamedTuple):
    z: Tensor
    v: Tensor
    i: Tensor
    b: Tensor


class LIFAdExFeedForwardState(NamedTuple):
    v: Tensor
    i: Tensor
    a: Tensor


class LIFAdExState(NamedTuple):
    z: Tensor
    v: Tensor
    i: Tensor
    a: Tensor


class IAFFeedForwardState(NamedTuple):
    v: Tensor


class IAFState(NamedTuple):
    z: Tensor
    v: Tensor


class LIFBoxFeedForwardState(NamedTuple):
    v: Tensor


class LIBoxState(NamedTuple):
    v: Tensor
