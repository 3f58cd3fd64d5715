"""Membranes that leak in proportion, and the one that does not."""

from collections.abc import Callable

from torch import Tensor

import ranvier
from ranvier.compat.spikingjelly import surrogate
from ranvier.compat.spikingjelly.neuron.node import BaseNode, Surrogate, resetting, slope
from ranvier.nn.filter import value
from ranvier.nn.neurons.parametric import leak


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
            surrogate=slope(surrogate_function), **resetting(v_reset, detach_reset),
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
            surrogate=slope(surrogate_function), **resetting(v_reset, detach_reset),
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
            surrogate=slope(surrogate_function), **resetting(v_reset, detach_reset),
        )  # fmt: skip
        super().__init__(core, step_mode, store_v_seq, {"v": ("v", v_reset or 0.0)}, {"w": "rate"})

    @property
    def w(self) -> Tensor:
        """logit(1 / tau), learned."""
        return value(self.core, "rate")


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
            scale_reset=scale_reset, surrogate=slope(surrogate_function), **resetting(v_reset, detach_reset),
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
            alpha=c_decay, beta=v_decay, threshold=v_threshold, surrogate=slope(surrogate_function),
            **resetting(v_reset, False),
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
            from_threshold=threshold_related, surrogate=slope(surrogate_function), **resetting(v_reset, detach_reset),
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
        core = ranvier.ComplementaryLIF(leak=leak(tau), threshold=v_threshold, surrogate=slope(surrogate_function))
        super().__init__(core, step_mode, store_state_seqs, {"v": ("v", 0.0), "m": ("m", 0.0)})


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
            leak=0.0, threshold=v_threshold, decay_input=False, surrogate=slope(surrogate_function),
            **resetting(None, detach_reset),
        )  # fmt: skip
        super().__init__(core, step_mode, store_v_seq, {"v": ("v", v_threshold / 2)})
